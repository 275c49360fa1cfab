#include "quern/Formats/Encoder.h"

#include "quern/Formats/IntReader.h"
#include "quern/Support/Half.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

using namespace quern::formats;

/// The least and greatest value of packed integers.
static std::pair<int, int> limits(const PackedInts &ints) {
  int low = ints.isSigned ? -(1 << (ints.bits() - 1)) : 0;
  return {low - ints.offset, low + (1 << ints.bits()) - 1 - ints.offset};
}

static float clampMagnitude(float value, float greatest) { return std::clamp(value, -greatest, greatest); }

/// Writes a number in its kind; returns what a reader will see. Powers of two are rounded up, to cover.
static float writeNumber(ScaleKind kind, float value, uint8_t *to) {
  switch (kind) {
  case ScaleKind::F16: {
    uint16_t bits = quern::floatToHalf(clampMagnitude(value, 65504.0f));
    std::memcpy(to, &bits, 2);
    return quern::halfToFloat(bits);
  }
  case ScaleKind::BF16: {
    uint16_t bits = quern::floatToBfloat(clampMagnitude(value, 0x1.fep127f));
    std::memcpy(to, &bits, 2);
    return quern::bfloatToFloat(bits);
  }
  case ScaleKind::F32:
    std::memcpy(to, &value, 4);
    return value;
  case ScaleKind::E8M0: {
    int exponent = 0; // value = fraction * 2^exponent, fraction in [0.5, 1)
    float fraction = std::frexp(std::fabs(value), &exponent);
    if (fraction == 0.5f)
      --exponent;
    *to = value == 0 ? 0 : uint8_t(std::clamp(exponent + 127, 0, 254));
    return quern::e8m0ToFloat(*to);
  }
  }
  return 0;
}

/// The scale s of least magnitude with [low, high] inside [s * least, s * greatest]; positive unless a negative one is
/// allowed and finer. What the grid cannot reach at any scale (the side on which it ends at zero) is left out.
static float coveringScale(float low, float high, int least, int greatest, bool mayBeNegative) {
  auto cover = [&](float below, float above) {
    float scale = greatest > 0 ? above / float(greatest) : 0.0f;
    return std::max(least < 0 ? below / float(least) : 0.0f, scale);
  };
  float positive = cover(std::min(low, 0.0f), std::max(high, 0.0f));
  if (!mayBeNegative)
    return positive;
  float negative = cover(std::min(-high, 0.0f), std::max(-low, 0.0f));
  bool reachesLess = (low < 0 && least >= 0) || (high > 0 && greatest <= 0); // then only the other sign is safe
  bool reachesMore = (high > 0 && least >= 0) || (low < 0 && greatest <= 0);
  return reachesLess || (negative < positive && !reachesMore) ? -negative : positive;
}

/// Whether a group's number can be negative.
static bool canBeNegative(const Scale &scale) {
  return scale.sub ? limits(*scale.sub).first < 0 : scale.kind != ScaleKind::E8M0;
}

Encoder::Encoder(const FormatSpec &format)
    : spec(format), codeWriter(spec.codes), values(spec.table.begin(), spec.table.end()) {
  IntReader codes(spec.codes);
  if (values.empty())
    for (unsigned raw = 0; raw < 1u << spec.codes.bits(); ++raw)
      values.push_back(codes.value(uint8_t(raw)));
  least = *std::min_element(values.begin(), values.end());
  greatest = *std::max_element(values.begin(), values.end());
}

/// Writes one number for each group, as near as can be from the side away from zero; returns what readers will see.
std::vector<float> Encoder::encodeNumbers(const Scale &scale, float unit, const std::vector<float> &wanted,
                                          uint8_t *block) const {
  std::vector<float> got(wanted.size());
  if (!scale.sub) {
    for (size_t j = 0; j < wanted.size(); ++j)
      got[j] = unit * writeNumber(scale.kind, wanted[j] / unit, block + scale.byte + j * scale.stride);
    return got;
  }
  auto [low, high] = limits(*scale.sub);
  std::vector<uint8_t> factors;
  auto [smallest, largest] = std::minmax_element(wanted.begin(), wanted.end());
  float super = coveringScale(*smallest, *largest, low, high, scale.kind != ScaleKind::E8M0);
  super = unit * writeNumber(scale.kind, super / unit, block + scale.byte);
  for (size_t j = 0; j < wanted.size(); ++j) {
    float exact = super != 0 ? wanted[j] / super : 0.0f;
    // The slack keeps what was meant to be whole from being pushed to the next integer by the number's own rounding.
    float away = std::copysign(std::ceil(std::fabs(exact) - 1.0f / 128), exact);
    int factor = std::clamp(int(away), low, high);
    factors.push_back(uint8_t(factor + scale.sub->offset));
    got[j] = super * float(factor);
  }
  IntWriter(*scale.sub).write(factors.data(), block);
  return got;
}

/// The offsets that are added to the groups' grids.
std::vector<float> Encoder::encodeMinimums(const std::vector<Range> &ranges, uint8_t *block) const {
  std::vector<float> minimums;
  float sign = spec.minimumAdded ? 1.0f : -1.0f;
  for (Range range : ranges) {
    float scale = (range.high - range.low) / float(greatest - least);
    float minimum = sign * (range.low - scale * float(least));
    minimums.push_back(canBeNegative(*spec.minimum) ? minimum : std::max(minimum, 0.0f));
  }
  std::vector<float> offsets = encodeNumbers(*spec.minimum, 1.0f, minimums, block);
  for (float &offset : offsets)
    offset *= sign;
  return offsets;
}

/// The raw code nearest to value / scale; of equals the first.
unsigned Encoder::nearestCode(float value, float scale) const {
  unsigned best = 0;
  float bestError = std::numeric_limits<float>::infinity();
  for (unsigned raw = 0; raw < values.size(); ++raw)
    if (float error = std::fabs(scale * float(values[raw]) - value); error < bestError)
      best = raw, bestError = error;
  return best;
}

void Encoder::encodeBlock(const float *weights, uint8_t *block) const {
  std::memset(block, 0, spec.bytes);
  std::vector<Range> ranges;
  for (unsigned g = 0; g < spec.groups(); ++g) {
    auto [low, high] = std::minmax_element(weights + g * spec.group, weights + (g + 1) * spec.group);
    ranges.push_back({*low, *high});
  }
  std::vector<float> offsets(ranges.size(), 0.0f), scales;
  if (spec.minimum)
    offsets = encodeMinimums(ranges, block);
  for (size_t g = 0; g < ranges.size(); ++g)
    scales.push_back(coveringScale(ranges[g].low - offsets[g], ranges[g].high - offsets[g], least, greatest,
                                   canBeNegative(spec.scale) && !spec.minimum));
  scales = encodeNumbers(spec.scale, spec.unit, scales, block);
  std::vector<uint8_t> codes;
  for (unsigned k = 0; k < spec.block; ++k)
    codes.push_back(uint8_t(nearestCode(weights[k] - offsets[k / spec.group], scales[k / spec.group])));
  codeWriter.write(codes.data(), block);
}

void Encoder::encodeRow(const float *row, int64_t count, uint8_t *out) const {
  for (int64_t done = 0; done < count; done += spec.block, out += spec.bytes)
    encodeBlock(row + done, out);
}

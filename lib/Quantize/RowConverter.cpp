#include "quern/Quantize/RowConverter.h"

#include "quern/Import/CheckNumbers.h"
#include "quern/Support/Half.h"

#include <bit>
#include <cstring>

using namespace quern;
using namespace quern::quantize;

template <float (*widen)(uint16_t)> static void widenAll(const std::byte *row, uint64_t count, float *out) {
  for (uint64_t i = 0; i < count; ++i) {
    uint16_t bits;
    std::memcpy(&bits, row + 2 * i, sizeof bits);
    out[i] = widen(bits);
  }
}

template <uint16_t (*narrow)(float)> static void narrowAll(const float *row, uint64_t count, std::byte *out) {
  for (uint64_t i = 0; i < count; ++i) {
    uint16_t bits = narrow(row[i]);
    std::memcpy(out + 2 * i, &bits, sizeof bits);
  }
}

static bool allFinite(const float *row, uint64_t count) {
  uint32_t bad = 0; // no early way out: a vector loop
  for (uint64_t i = 0; i < count; ++i)
    bad |= (std::bit_cast<uint32_t>(row[i]) & 0x7f800000) == 0x7f800000;
  return !bad;
}

Result<RowConverter> RowConverter::create(const ElementType &from, const ElementType &to) {
  RowConverter converter(from, to);
  if (from.spec)
    converter.decoder.emplace(*from.spec);
  if (to.spec) {
    QUERN_ASSIGN(Quantizer quantizer, Quantizer::create(*to.spec));
    converter.quantizer = std::move(quantizer);
  }
  return converter;
}

/// Whether a row of the type, made from `wide`, holds no infinity and no NaN, in scales or elements.
static bool storedFinite(const std::byte *row, uint64_t columns, const ElementType &type, const float *wide) {
  if (type.spec)
    return import::finiteScales(row, columns / type.block, *type.spec);
  float limit = type.name == "F16" ? 65520 : 0x1.ffp127f; // from here on, f16 and bf16 round to infinity
  uint32_t bad = 0;
  for (uint64_t i = 0; type.name != "F32" && i < columns; ++i)
    bad |= wide[i] >= limit || wide[i] <= -limit;
  return !bad;
}

Status RowConverter::convert(const std::byte *row, uint64_t columns, const float *importance,
                             std::vector<float> &scratch, std::byte *out) const {
  scratch.resize(columns);
  float *wide = scratch.data();
  if (decoder)
    decoder->decodeRow(reinterpret_cast<const uint8_t *>(row), int64_t(columns), wide);
  else if (from.name == "F32")
    std::memcpy(wide, row, columns * sizeof(float));
  else
    (from.name == "F16" ? widenAll<halfToFloat> : widenAll<bfloatToFloat>)(row, columns, wide);
  if (!allFinite(wide, columns))
    return fail("has a value that is infinite or no number");
  if (quantizer)
    quantizer->quantizeRow(wide, int64_t(columns), importance, reinterpret_cast<uint8_t *>(out));
  else if (to.name == "F32")
    std::memcpy(out, wide, columns * sizeof(float));
  else
    (to.name == "F16" ? narrowAll<floatToHalf> : narrowAll<floatToBfloat>)(wide, columns, out);
  if (!storedFinite(out, columns, to, wide))
    return fail("has values that are too large for " + to.name);
  return {};
}

// Activations quantized in f32, or rounded to bf16, step by step as the contract of `dq.quantize` says.
#include "quern/Reference/Rows.h"
#include "quern/Support/Half.h"

#include <algorithm>
#include <cmath>

using namespace quern::reference;

static void quantizeGroup(std::span<const double> x, int8_t *codes, float &scale) {
  float largest = 0;
  for (double value : x)
    largest = std::max(largest, std::fabs(float(value)));
  scale = largest / 127.0f;
  float inverse = scale != 0.0f ? 1.0f / scale : 0.0f;
  for (double value : x) {
    float code = std::nearbyint(float(value) * inverse); // the default rounding mode: half to even
    // 1 / d overflows where all of a group is below 2^-121; converted by x86's vector instructions, its codes are zero.
    *codes++ = std::isfinite(code) ? int8_t(code) : int8_t(0);
  }
}

static Act8Rows sized(const Rows &rows) {
  Act8Rows out;
  out.count = rows.count;
  out.width = rows.width;
  out.codes.resize(rows.count * rows.width);
  out.scales.resize(rows.count * out.groups());
  out.sums.resize(rows.count * out.sumsOfRow());
  return out;
}

static void addSums(Act8Rows &rows) {
  for (int64_t t = 0; t < rows.count; ++t)
    for (int64_t k = 0; k < rows.width; ++k)
      rows.sums[t * rows.sumsOfRow() + k / kAct8Sum] += rows.codes[t * rows.width + k];
}

Act8Rows quern::reference::quantize(const Rows &rows) {
  Act8Rows out = sized(rows);
  for (int64_t t = 0; t < rows.count; ++t) {
    int8_t *codes = out.codes.data() + t * rows.width;
    for (int64_t group = 0; group < out.groups(); ++group) {
      int64_t first = group * kAct8Group, length = std::min(kAct8Group, rows.width - first);
      quantizeGroup(rows.row(t).subspan(first, length), codes + first, out.scales[t * out.groups() + group]);
    }
  }
  addSums(out);
  return out;
}

Act8Rows quern::reference::quantizeByRow(const Rows &rows) {
  Act8Rows out = sized(rows);
  for (int64_t t = 0; t < rows.count; ++t) {
    float low = 0, high = 0;
    for (double value : rows.row(t)) {
      low = std::min(low, float(value));
      high = std::max(high, float(value));
    }
    float scale = (high - low) / 255.0f, divisor = scale != 0 ? scale : 1.0f;
    auto zero = int(std::nearbyint(std::clamp(-low / divisor, 0.0f, 255.0f))); // rounds half to even
    for (int64_t k = 0; k < rows.width; ++k) {
      int code = int(std::nearbyint(float(rows.row(t)[k]) / divisor)) + zero;
      out.codes[t * rows.width + k] = int8_t(std::clamp(code, 0, 255) - 128);
    }
    std::fill_n(out.scales.begin() + t * out.groups(), out.groups(), scale);
    out.zeros.push_back(zero - 128);
  }
  addSums(out);
  return out;
}

Rows quern::reference::roundToBfloat(const Rows &rows) {
  Rows out = rows;
  for (double &value : out.values)
    value = bfloatToFloat(floatToBfloat(float(value)));
  return out;
}

Rows quern::reference::dequantize(const Act8Rows &rows) {
  Rows out(rows.count, rows.width);
  for (int64_t t = 0; t < rows.count; ++t)
    for (int64_t k = 0; k < rows.width; ++k)
      out.row(t)[k] = rows.row(t).scales[k / kAct8Group] * float(rows.row(t).codes[k] - rows.row(t).zero);
  return out;
}

// What the slow reference computes with: rows of activations in double precision, and rows quantized as compiled code
// quantizes them. Free of MLIR.
#ifndef QUERN_REFERENCE_ROWS_H
#define QUERN_REFERENCE_ROWS_H

#include <cstdint>
#include <span>
#include <vector>

namespace quern::reference {

/// Activations, [count, width] row-major.
struct Rows {
  int64_t count = 0, width = 0;
  std::vector<double> values;

  Rows() = default;
  Rows(int64_t count, int64_t width) : count(count), width(width), values(count * width) {}
  std::span<double> row(int64_t t) { return {values.data() + t * width, size_t(width)}; }
  std::span<const double> row(int64_t t) const { return {values.data() + t * width, size_t(width)}; }
};

inline constexpr int64_t kAct8Group = 32; ///< activations that share a scale
inline constexpr int64_t kAct8Sum = 16;   ///< activations whose codes are summed together

/// One row of `!dq.act8<32>`: x[k] = scales[k / 32] * codes[k]. Of `!dq.act8<row>` all scales are the same, and
/// x[k] = scale * (codes[k] - zero): codes and zero point less 128, so that codes are signed bytes.
struct Act8Row {
  std::span<const int8_t> codes;
  std::span<const float> scales;
  std::span<const int32_t> sums; ///< of 16 codes each
  int32_t zero = 0;
};

/// Rows of `!dq.act8<32>` or `!dq.act8<row>`. A last group that is not whole is filled up with zeros, which have no
/// codes here.
struct Act8Rows {
  int64_t count = 0, width = 0;
  std::vector<int8_t> codes; ///< [count, width]
  std::vector<float> scales; ///< [count, ceil(width / 32)]
  std::vector<int32_t> sums; ///< [count, ceil(width / 16)]
  std::vector<int32_t> zeros; ///< [count] of `!dq.act8<row>`, less 128; else empty

  int64_t groups() const { return (width + kAct8Group - 1) / kAct8Group; }
  int64_t sumsOfRow() const { return (width + kAct8Sum - 1) / kAct8Sum; }
  Act8Row row(int64_t t) const {
    return {{codes.data() + t * width, size_t(width)},
            {scales.data() + t * groups(), size_t(groups())},
            {sums.data() + t * sumsOfRow(), size_t(sumsOfRow())},
            zeros.empty() ? 0 : zeros[t]};
  }
};

/// Quantizes rows as compiled code does: each value rounded to f32, then, in f32, d = max|x| / 127 over a group of 32
/// and q = x * (1 / d) rounded half to even (all zero where d is zero).
Act8Rows quantize(const Rows &rows);

/// Quantizes rows as ONNX's DynamicQuantizeLinear quantizes a tensor of one row: `!dq.act8<row>`.
Act8Rows quantizeByRow(const Rows &rows);

/// Rows of bf16: each value rounded to f32, then to the nearest bf16, ties to even.
Rows roundToBfloat(const Rows &rows);

/// The numbers that quantized rows stand for, rounded to f32.
Rows dequantize(const Act8Rows &rows);

} // namespace quern::reference

#endif // QUERN_REFERENCE_ROWS_H

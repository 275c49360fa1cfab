// Every rounding of compiled code, as docs/numerics.md fixes it. Rows hold f32 numbers.
#ifndef QUERN_LIB_REFERENCE_EXACTARITHMETIC_H
#define QUERN_LIB_REFERENCE_EXACTARITHMETIC_H

#include "Arithmetic.h"

#include <array>
#include <cmath>

namespace quern::reference {

class ExactArithmetic : public Arithmetic {
public:
  ExactArithmetic(MultiplyAdd kind, unsigned threads) : Arithmetic(threads), kind(kind) {}

  Rows multiply(const Rows &x, std::span<const float> weights, int64_t n) const override;
  Rows multiply(const Act8Rows &x, const SplitWeight &weights, int64_t n) const override;
  void addBias(Rows &rows, std::span<const float> bias) const override;
  void addRows(Rows &rows, const Rows &other) const override;
  Rows rmsNorm(const Rows &x, std::span<const float> gain, float eps) const override;
  Rows swiglu(const Rows &gate, const Rows &up) const override;
  Rows rotaryAngles(const Ids &positions, int64_t headDim, double theta, std::span<const float> factors) const override;
  Rows rotary(const Rows &x, const Rows &angles, bool interleaved) const override;
  void attend(std::span<const double> query, const KeyValueCache::Layer &cache, int64_t count, int64_t kvHead,
              const AttentionShape &shape, std::span<double> out) const override;

private:
  using Lanes = std::array<float, 16>; ///< partial sums by index modulo 16

  float multiplyAdd(float a, float b, float c) const {
    if (kind == MultiplyAdd::Fused)
      return std::fmaf(a, b, c);
    float product = a * b;
    return product + c;
  }
  float exp(float x) const;
  template <int64_t piece> float foldRow(const Act8Row &x, const SplitWeight &weights, int64_t row) const;
  static float treeSum(Lanes lanes);

  MultiplyAdd kind;
};

} // namespace quern::reference

#endif // QUERN_LIB_REFERENCE_EXACTARITHMETIC_H

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
  Rows multiplyPairs(const Rows &x, std::span<const float> weights, int64_t n) const override;
  Rows multiply(const Act8Rows &x, const SplitWeight &weights, int64_t n) const override;
  void subtractZeros(Rows &product, const Act8Rows &x, std::span<const double> sums) const override;
  void addBias(Rows &rows, std::span<const float> bias) const override;
  void addRows(Rows &rows, const Rows &other) const override;
  Rows rmsNorm(const Rows &x, std::span<const float> gain, float eps) const override;
  Rows swiglu(const Rows &gate, const Rows &up) const override;
  Rows rotaryAngles(const Ids &positions, int64_t headDim, double theta, std::span<const float> factors) const override;
  Rows rotary(const Rows &x, const Rows &angles, bool interleaved) const override;
  void attend(std::span<const double> query, const KeyValueCache::Layer &layer, int64_t count, int64_t kvHead,
              const AttentionShape &shape, std::span<double> out) const override;

private:
  using Lanes = std::array<float, 16>; ///< partial sums by index modulo 16

  float multiplyAdd(float a, float b, float c) const {
    if (kind == MultiplyAdd::Fused)
      return std::fmaf(a, b, c);
    float product = a * b;
    return product + c;
  }
  /// A query head as whole numbers for a Q8_0 cache.
  struct Query {
    std::vector<int32_t> codes;
    std::vector<float> scales; ///< of 32 each
  };
  /// Head `kvHead` of a layer's cache.
  struct HeadCache {
    const KeyValueCache::Layer &layer;
    int64_t kvHead;
    const AttentionShape &shape;

    int64_t at(int64_t j) const { return (j * shape.kvHeads + kvHead) * shape.headDim; }
    Act8Row keyCodes(int64_t j) const { return layer.keyCodes.row(j * shape.kvHeads + kvHead); }
    Act8Row valueCodes(int64_t j) const { return layer.valueCodes.row(j * shape.kvHeads + kvHead); }
  };
  static Query quantizeQuery(std::span<const double> query);
  float score(std::span<const double> query, const HeadCache &cache, int64_t j) const;
  float score(const Query &query, const HeadCache &cache, int64_t j) const;
  /// The values of keys first, first + 1, ... times their weights.
  std::vector<float> weighNumbers(const HeadCache &cache, int64_t first, std::span<const float> weights) const;
  static std::vector<float> weighBytes(const HeadCache &cache, int64_t first, std::span<const float> weights);
  float exp(float x) const;
  template <int64_t piece> float foldRow(const Act8Row &x, const SplitWeight &weights, int64_t row) const;
  static float treeSum(Lanes lanes);

  MultiplyAdd kind;
};

} // namespace quern::reference

#endif // QUERN_LIB_REFERENCE_EXACTARITHMETIC_H

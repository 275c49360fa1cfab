// What the evaluator asks of an arithmetic: each op of the graph on rows, shapes being checked already.
#ifndef QUERN_LIB_REFERENCE_ARITHMETIC_H
#define QUERN_LIB_REFERENCE_ARITHMETIC_H

#include "WeightCache.h"
#include "quern/Reference/Evaluator.h"
#include "quern/Reference/ExactFold.h"

namespace quern::reference {

struct AttentionShape {
  int64_t kvHeads, headDim;
  double scale;
  CachePrecision cache = CachePrecision::F16; ///< to which keys and values are rounded as they enter the cache
};

class Arithmetic {
public:
  explicit Arithmetic(unsigned threads) : threads(threads) {}
  virtual ~Arithmetic() = default;

  /// x times the transpose of weights [n, x.width]: [T, n].
  virtual Rows multiply(const Rows &x, std::span<const float> weights, int64_t n) const = 0;
  /// The same on rows and weights that hold bf16 numbers.
  virtual Rows multiplyPairs(const Rows &x, std::span<const float> weights, int64_t n) const = 0;
  /// The same on quantized rows and weights: dot products exact, then the fold over pieces.
  virtual Rows multiply(const Act8Rows &x, const SplitWeight &weights, int64_t n) const = 0;
  /// Takes the zero points of `!dq.act8<row>` rows, times the sums of the rows of weights, from such a product.
  virtual void subtractZeros(Rows &product, const Act8Rows &x, std::span<const double> sums) const = 0;

  virtual void addBias(Rows &rows, std::span<const float> bias) const = 0;
  virtual void addRows(Rows &rows, const Rows &other) const = 0;
  virtual Rows rmsNorm(const Rows &x, std::span<const float> gain, float eps) const = 0;
  virtual Rows swiglu(const Rows &gate, const Rows &up) const = 0;
  /// Cosines, then sines, of each position's angles: [T, headDim]. `factors` may be empty.
  virtual Rows rotaryAngles(const Ids &positions, int64_t headDim, double theta,
                            std::span<const float> factors) const = 0;
  virtual Rows rotary(const Rows &x, const Rows &angles, bool interleaved) const = 0;
  /// One query head over the first `count` positions of its key-value head, into `out`.
  virtual void attend(std::span<const double> query, const KeyValueCache::Layer &cache, int64_t count, int64_t kvHead,
                      const AttentionShape &shape, std::span<double> out) const = 0;

protected:
  unsigned threads;
};

/// Everything in double precision.
std::unique_ptr<Arithmetic> makeDoubleArithmetic(unsigned threads);
/// Every rounding of compiled code, as docs/numerics.md fixes it; values of rows are f32 numbers.
std::unique_ptr<Arithmetic> makeExactArithmetic(MultiplyAdd kind, unsigned threads);

/// Keys or values as a Q8_0 cache keeps them: a row of head_dim for each head, scales rounded to f16.
Act8Rows quantizeForCache(const Rows &rows, int64_t headDim);

/// What a step adds to the cache; the codes are those of a Q8_0 cache.
struct Appended {
  const Rows &key, &value;
  Act8Rows keyCodes = {}, valueCodes = {};
};

void append(const Appended &appended, const AttentionShape &shape, KeyValueCache::Layer &cache);

/// Appends keys and values to the cache, then attends. Fails if a position does not follow what the cache holds.
Result<Rows> attention(const Arithmetic &arithmetic, const Rows &query, const Appended &appended, const Ids &positions,
                       const AttentionShape &shape, KeyValueCache::Layer &cache);

} // namespace quern::reference

#endif // QUERN_LIB_REFERENCE_ARITHMETIC_H

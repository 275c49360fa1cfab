// Weights of the source files, decoded when first asked for and then kept.
#ifndef QUERN_LIB_REFERENCE_WEIGHTCACHE_H
#define QUERN_LIB_REFERENCE_WEIGHTCACHE_H

#include "quern/Reference/Evaluator.h"

#include "dialects/DQ/DQ.h"
#include "quern/Transforms/StoredRows.h"

namespace quern::reference {

/// A weight of a mapped file, [rows, width]; a vector is one row. Elements are f32, f16, bf16 or of a block format.
class Weight {
public:
  int64_t rows, width;

  bool isBlock() const { return spec != nullptr; }
  /// Decodes one row to f32: the values of `dq.dequantize`.
  void decodeRow(int64_t row, float *out) const;

private:
  friend class WeightCache;
  std::span<const uint8_t> bytes;
  transforms::StoredRows::Room room; ///< of `bytes`, where the file does not hold them as they are wanted
  const formats::FormatSpec *spec = nullptr; ///< null for float elements
  mlir::Type element;

  int64_t rowBytes() const { return int64_t(bytes.size()) / rows; }
  void splitRow(int64_t row, int64_t piece, int16_t *codes, float *scales, float *addends) const;
};

/// A block weight taken apart for exact dot products: w[n, k] = scales[n, k / piece] * codes[n, k] + addends[n, k /
/// piece].
struct SplitWeight {
  int64_t piece = 0;          ///< weights that share a scale: 16 or 32
  std::vector<int16_t> codes;  ///< [rows, width]
  std::vector<float> scales;  ///< [rows, width / piece]
  std::vector<float> addends; ///< [rows, width / piece]; empty if the format has no minimums
};

class WeightCache {
public:
  WeightCache(WeightSource source, unsigned threads) : source(std::move(source)), threads(threads) {}

  /// The weight as stored. Errors name the weight.
  Result<const Weight *> stored(dq::SourceOp op);
  /// The weight decoded to f32, [rows, width].
  Result<std::span<const float>> floats(dq::SourceOp op);
  /// A vector of i32.
  Result<std::vector<int32_t>> integers(dq::SourceOp op);
  /// A weight of a block format, taken apart.
  Result<const SplitWeight *> split(dq::SourceOp op);
  /// The sum of each row of a weight decoded to f32, in ascending order.
  Result<std::span<const double>> sums(dq::SourceOp op);

private:
  WeightSource source;
  unsigned threads;
  std::map<mlir::Operation *, Weight> weights;
  std::map<mlir::Operation *, std::vector<float>> decoded;
  std::map<mlir::Operation *, SplitWeight> apart;
  std::map<mlir::Operation *, std::vector<double>> rowSums;
};

/// Runs `body(first, last)` on shares of [0, count), on up to `threads` threads, and waits for them.
void parallelFor(int64_t count, unsigned threads, llvm::function_ref<void(int64_t, int64_t)> body);

/// The elements [T, n] of a product of the rows x, made by `element(t, row)`, on several threads. A row of weights
/// serves all rows of activations while it is in the processor's cache.
template <typename RowsT, typename ElementT>
Rows forElements(const RowsT &x, int64_t n, unsigned threads, ElementT element) {
  Rows out(x.count, n);
  parallelFor(n, threads, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row)
      for (int64_t t = 0; t < x.count; ++t)
        out.row(t)[row] = element(t, row);
  });
  return out;
}

/// The exact dot product of bytes. A length known to the compiler becomes a few vector instructions.
template <int64_t length> int32_t exactDot(const int16_t *a, const int8_t *b) {
  int32_t sum = 0;
  for (int64_t i = 0; i < length; ++i)
    sum += a[i] * int16_t(b[i]);
  return sum;
}

} // namespace quern::reference

#endif // QUERN_LIB_REFERENCE_WEIGHTCACHE_H

// A constant of one of upstream's `quant` types as a stored weight: a block format that holds its integers less zero
// points and its scales exactly, and the bytes in that format.
#ifndef QUERN_LIB_TRANSFORMS_QUANTWEIGHT_H
#define QUERN_LIB_TRANSFORMS_QUANTWEIGHT_H

#include "dialects/DQ/DQ.h"
#include "quern/Support/Result.h"

#include "mlir/Dialect/Quant/IR/QuantTypes.h"

namespace quern::transforms {

/// Scales and zero points of a quantized matrix [N, K]: one of each for every `rows` x `columns` of it.
struct QuantGrid {
  int64_t rows, columns, width; ///< `width` is how many of them lie side by side
  std::vector<float> scales;
  std::vector<int64_t> zeros;

  size_t at(int64_t n, int64_t k) const { return size_t(n / rows * width + k / columns); }
  /// Of a matrix [n, k] with elements `type`: per-tensor, per-axis and sub-channel types.
  static Result<QuantGrid> get(mlir::quant::QuantizedType type, int64_t n, int64_t k);
};

struct QuantWeight {
  dq::BlockType element;
  std::vector<char> bytes;
};

/// `values` are the storage integers of a matrix [N, K]. Fails for types whose numbers no format of ours holds exactly.
Result<QuantWeight> toQuantWeight(mlir::RankedTensorType type, llvm::ArrayRef<int16_t> values);

} // namespace quern::transforms

#endif // QUERN_LIB_TRANSFORMS_QUANTWEIGHT_H

// Rows of f32 as sums of two rows of f16, which tensor cores multiply by weights of f16: exact products of a number's
// first and next 11 bits.
#ifndef QUERN_LIB_CODEGEN_GPU_SPLITROWS_H
#define QUERN_LIB_CODEGEN_GPU_SPLITROWS_H

#include "quern/Codegen/GPU.h"

namespace quern::codegen {

/// x = scale * (high + low) for each number of a row, with one power of two as the scale of the row: high is x / scale
/// rounded to the nearest f16, low what is left of it, rounded likewise. The row's greatest magnitude is 2^14 to 2^15
/// scales, so that high is finite; the sum is off by 2^-23 of x and 2^-39 of the greatest at the most. No scale is below
/// 2^-126, with which the least numbers of f32 are split as well. An infinity becomes what is no number, as which it
/// spoils its row alone.
struct SplitRows {
  int64_t width; ///< a multiple of 4

  static constexpr int64_t kParts = 2; ///< high and low
  int64_t rowBytes() const { return kParts * width * 2; }
  int64_t warps() const; ///< of a block
  std::string name() const { return "split_" + std::to_string(width); }
};

/// Arguments: x (f32 [T, width]), then halves (f16 [T, kParts, width]) and scales (f32 [T]). Grid: x = T.
mlir::gpu::GPUFuncOp emitSplitRows(mlir::gpu::GPUModuleOp module, const SplitRows &rows);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_SPLITROWS_H

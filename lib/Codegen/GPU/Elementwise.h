// Kernels that make each number of a row of one or two others.
#ifndef QUERN_LIB_CODEGEN_GPU_ELEMENTWISE_H
#define QUERN_LIB_CODEGEN_GPU_ELEMENTWISE_H

#include "quern/Codegen/GPU.h"

namespace quern::codegen {

/// What such a kernel makes of rows of f32.
enum class Elementwise {
  RoundToBfloat, ///< the nearest bf16, ties to even
  Sum,           ///< a + b
  Swiglu,        ///< silu(a) * b
};

inline constexpr int64_t kElementwiseThreads = 128; ///< of a block, each with a number

/// `round_bf16_<width>`, `sum_<width>` or `swiglu_<width>`.
std::string elementwiseName(Elementwise kind, int64_t width);

/// Arguments: a (f32 [T, width]), of two rows also b, then out (f32, or bf16, [T, width]), which may be a where both
/// are f32. Grid: x = width / kElementwiseThreads, rounded up; y = T.
mlir::gpu::GPUFuncOp emitElementwise(mlir::gpu::GPUModuleOp module, Elementwise kind, int64_t width);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_ELEMENTWISE_H

// The kernel that rounds rows of f32 to bf16.
#ifndef QUERN_LIB_CODEGEN_GPU_ROUNDROWS_H
#define QUERN_LIB_CODEGEN_GPU_ROUNDROWS_H

#include "quern/Codegen/GPU.h"

namespace quern::codegen {

inline constexpr int64_t kRoundThreads = 128; ///< of a block, each with a number

/// `round_bf16_<width>`; arguments: x (f32 [T, width]), out (bf16 [T, width]). Grid: x = width / kRoundThreads, rounded
/// up; y = T.
std::string roundRowsName(int64_t width);
mlir::gpu::GPUFuncOp emitRoundRows(mlir::gpu::GPUModuleOp module, int64_t width);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_ROUNDROWS_H

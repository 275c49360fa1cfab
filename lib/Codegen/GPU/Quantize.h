// The kernel that quantizes activations, in the arithmetic of `dq.quantize`.
#ifndef QUERN_LIB_CODEGEN_GPU_QUANTIZE_H
#define QUERN_LIB_CODEGEN_GPU_QUANTIZE_H

#include "quern/Codegen/GPU.h"

namespace quern::codegen {

/// `quantize_<rows>x<width>`, or `quantize_<width>` for a number of rows that is known when it is launched (0).
std::string quantizeName(int64_t rows, int64_t width);

/// Blocks of the kernel for each row.
int64_t quantizeBlocks(int64_t width);

/// Appends the kernel for x [rows, width] of f32 to `module`. Its arguments are pointers to x and to the codes, scales
/// and sums that `emitMatvec` reads, all of which it writes; what fills rows up is zero.
mlir::gpu::GPUFuncOp emitQuantize(mlir::gpu::GPUModuleOp module, int64_t rows, int64_t width, const GpuTarget &target);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_QUANTIZE_H

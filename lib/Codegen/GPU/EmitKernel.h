// The frame of a kernel: a gpu.func of pointers, and how to launch it.
#ifndef QUERN_LIB_CODEGEN_GPU_EMITKERNEL_H
#define QUERN_LIB_CODEGEN_GPU_EMITKERNEL_H

#include "lib/Codegen/Common/Emitter.h"
#include "quern/Codegen/GPU.h"

namespace quern::codegen {

struct KernelFrame {
  std::string name;
  int64_t pointers; ///< arguments, all to device memory
  int64_t blocks;
  int64_t warps; ///< of a block
};

/// Appends a kernel to `module`, whose body `emit` makes of the arguments.
mlir::gpu::GPUFuncOp emitKernel(mlir::gpu::GPUModuleOp module, const KernelFrame &frame,
                                llvm::function_ref<void(Emitter &, mlir::ValueRange)> emit);

/// The thread's number in its block, and the block's in the grid, as i64.
mlir::Value threadIndex(Emitter &e);
mlir::Value blockIndex(Emitter &e);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_EMITKERNEL_H

// The frame of a kernel: a gpu.func of pointers and numbers, how to launch it, and what kernels share.
#ifndef QUERN_LIB_CODEGEN_GPU_EMITKERNEL_H
#define QUERN_LIB_CODEGEN_GPU_EMITKERNEL_H

#include "lib/Codegen/Common/Emitter.h"
#include "quern/Codegen/GPU.h"

namespace quern::codegen {

struct KernelFrame {
  std::string name;
  int64_t pointers;    ///< arguments, all to device memory
  int64_t blocks;      ///< of the grid; 0: known when it is launched
  int64_t warps;       ///< of a block
  int64_t numbers = 0; ///< arguments of i64, after the pointers
};

/// Appends a kernel to `module`, whose body `emit` makes of the arguments.
mlir::gpu::GPUFuncOp emitKernel(mlir::gpu::GPUModuleOp module, const KernelFrame &frame,
                                llvm::function_ref<void(Emitter &, mlir::ValueRange)> emit);

/// The thread's number in its block, and the block's in the grid, as i64.
mlir::Value threadIndex(Emitter &e);
mlir::Value blockIndex(Emitter &e, mlir::gpu::Dimension dimension = mlir::gpu::Dimension::x);

/// Number t of an array of i32 in device memory, as i64.
mlir::Value loadIndex(Emitter &e, mlir::Value array, mlir::Value t);

/// A pointer, in its address space, to `bytes` bytes of the block's shared memory, aligned to 16. `what` and the
/// kernel's name name it.
mlir::Value sharedMemory(Emitter &e, const std::string &what, int64_t bytes);

/// Waits for all threads of the block; orders memory.
void blockBarrier(Emitter &e);

/// Counts the warp in at `counter`, an i32 in device memory that is zero, and tells whether it is the last of `count`
/// to come, of this block or others: it then sees all that these had written, and the counter is zero again. For
/// targets with `blockCounters`; all lanes take part.
mlir::Value isLastWarp(Emitter &e, mlir::Value counter, mlir::Value lane, mlir::Value count);

/// Folds what the aligned group of `lanes` lanes has; all of them get the result.
mlir::Value reduceLanes(Emitter &e, mlir::Value value, mlir::gpu::AllReduceOperation operation, uint32_t lanes = 32);

/// Folds what all threads of a block of `warps` warps have; all of them take part and get the result. 0 changes nothing
/// in a fold. With one warp each warp of the block folds what it has itself.
mlir::Value reduceBlock(Emitter &e, mlir::Value value, mlir::gpu::AllReduceOperation operation, int64_t warps);

/// What lane `lane` of the warp has (i32).
mlir::Value fromLane(Emitter &e, mlir::Value value, mlir::Value lane);
/// What the lane has whose number differs in the bits of `mask`.
mlir::Value fromNeighbour(Emitter &e, mlir::Value value, int32_t mask);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_EMITKERNEL_H

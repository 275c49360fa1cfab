// One kernel of a matmul with many columns: what it is made for, and how it is emitted.
#ifndef QUERN_LIB_CODEGEN_GPU_PROMPTMATMUL_H
#define QUERN_LIB_CODEGEN_GPU_PROMPTMATMUL_H

#include "Matvec.h"

namespace quern::codegen {

/// What `Matvec` computes of quantized activations, with any number of columns ("tokens"), for one segment or a swiglu.
struct PromptMatmul {
  std::vector<Matvec::Segment> segments; ///< one, or gate and values of a swiglu, which have as many rows
  int64_t width = 0;                     ///< K
  bool bias = false, residual = false;

  static constexpr int64_t kBlockTokens = 128;           ///< that a block makes
  static constexpr int64_t kWarps = 8;                   ///< of a block
  int64_t rows() const { return segments.front().rows; } ///< N
  /// Rows of y that a block makes.
  int64_t blockRows() const { return 128 / int64_t(segments.size()); }

  /// Dynamic shared memory that a launch asks for.
  int64_t sharedBytes(const GpuTarget &target) const;

  /// Says all of the above: equal kernels have equal names.
  std::string name() const;
  /// Fails where there is no such kernel; the message ends a sentence "... has no GPU kernel: ".
  Status check() const;
};

/// Appends the kernel, for which `check` succeeds, to `module`. Its arguments are pointers to device memory: the
/// weights; codes, scales and sums of the activations; bias and residual [T, N], where there are; y [T, N]; all but the
/// weights and codes as `emitMatvec` has them. Then T as i64. Blocks have 32 * kWarps threads; the grid has T /
/// kBlockTokens, rounded up, in x and N / blockRows(), rounded up, in y.
mlir::gpu::GPUFuncOp emitPromptMatmul(mlir::gpu::GPUModuleOp module, const PromptMatmul &shape,
                                      const GpuTarget &target);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_PROMPTMATMUL_H

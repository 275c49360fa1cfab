// One kernel of a matmul with many columns: what it is made for, and how it is emitted.
#ifndef QUERN_LIB_CODEGEN_GPU_PROMPTMATMUL_H
#define QUERN_LIB_CODEGEN_GPU_PROMPTMATMUL_H

#include "Matvec.h"

namespace quern::codegen {

/// What `Matvec` computes, with any number of columns ("tokens").
struct PromptMatmul {
  std::vector<Matvec::Segment> segments; ///< each with a result, or gate and values of a swiglu
  int64_t width = 0;                     ///< K
  bool swiglu = false, bias = false, residual = false;
  bool quantized = false; ///< the one result, of a swiglu, as codes, scales and sums; see canQuantize
  /// What a block makes: rows of y, with swiglu half as many, by tokens.
  struct Block {
    int64_t rows = 128, tokens = 128;
  } block;

  /// Codes of weights and activations are multiplied as numbers in f16.
  bool halves = false;

  static constexpr int64_t kWarps = 8; ///< of a block

  /// Chooses f16 where it must be, or the target multiplies it faster and the matmul is so large that this counts; and
  /// smaller blocks where large ones would leave many multiprocessors with nothing to do.
  void fit(const GpuTarget &target);
  /// Whether only the kernel of numbers in f16 multiplies the weights: their codes are no signed bytes.
  bool mustBeHalves() const;

  /// Whether blocks may quantize their results: each has whole groups of them, and rows of codes need no filling up.
  bool canQuantize() const { return swiglu && rows() % kGpuRowMultiple == 0; }

  int64_t results() const { return swiglu ? 1 : int64_t(segments.size()); }
  /// Whether weights are floats, which are multiplied as they are stored.
  bool floats() const { return segments.front().layout.isFloat(); }
  /// The activations that the weights are multiplied by.
  RowKind takes() const { return takenBy(segments.front()); }
  /// Whether these are split: f32 that weights of f16 are multiplied by (SplitRows.h).
  bool splits() const { return takes() == RowKind::Float; }
  /// Arguments that these are: codes, scales and sums, or rows of floats, with scales where they are split.
  size_t activations() const { return !floats() ? 3 : splits() ? 2 : 1; }
  /// What gives result `number` alone.
  PromptMatmul part(int64_t number) const;
  /// Of a part: N, and those that a block makes.
  int64_t rows() const { return segments.front().rows; }
  int64_t blockRows() const { return block.rows / (swiglu ? 2 : 1); }
  /// Blocks in y.
  int64_t rowBlocks() const;

  /// Dynamic shared memory that a launch asks for.
  int64_t sharedBytes(const GpuTarget &target) const;

  /// Says all of the above: equal kernels have equal names.
  std::string name() const;
  /// Fails where there is no such kernel; the message ends a sentence "... has no GPU kernel: ".
  Status check(const GpuTarget &target) const;
};

/// Appends the kernel, for which `check` succeeds, to `module`. Its arguments are pointers to device memory: the
/// weights; codes, scales and sums of the activations, or rows of bf16, or halves and scales of split rows; the bias of
/// each segment and the residual [T, N], where there are; the results [T, N_i], or codes, scales and sums of the one;
/// all but the codes of weights and what is split as `emitMatvec` has them. Then T as i64. Blocks have 32 * kWarps
/// threads; the grid has T / block.tokens, rounded up, in x and rowBlocks() in y.
mlir::gpu::GPUFuncOp emitPromptMatmul(mlir::gpu::GPUModuleOp module, const PromptMatmul &shape,
                                      const GpuTarget &target);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_PROMPTMATMUL_H

// The kernel that draws a token of each row by temperature, top-k and top-p.
#ifndef QUERN_LIB_CODEGEN_GPU_SAMPLE_H
#define QUERN_LIB_CODEGEN_GPU_SAMPLE_H

#include "quern/Codegen/GPU.h"

namespace quern::codegen {

/// Keeps the k largest logits, of those the largest whose weights exp((logit - largest) / temperature) come to p of
/// all, and draws one of them by its weight. All logits that equal the least one that is kept are kept too. What is no
/// number counts as -infinity; a row without a finite largest logit gives -1.
struct Sample {
  int64_t vocabulary; ///< below 2^24, so that counts are exact in f32

  static constexpr int64_t kWarps = 32; ///< of a block, which takes a row
  /// Of a row: 1 / temperature (f32), p (f32; 1 or more: off), k (i32; 0 or less: off), and a uniform random number in
  /// [0, 1) (f32), by which a row's token is a function of what the kernel is given.
  static constexpr int64_t kSettingBytes = 16;
  std::string name() const { return "sample_" + std::to_string(vocabulary); }
};

/// Arguments: logits (f32 [O, vocabulary]), settings (kSettingBytes for each row), tokens (i32 [O]). Grid: x = O.
mlir::gpu::GPUFuncOp emitSample(mlir::gpu::GPUModuleOp module, const Sample &sample, const GpuTarget &target);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_SAMPLE_H

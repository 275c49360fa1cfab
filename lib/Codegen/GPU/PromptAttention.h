// Attention of many rows at once, on tensor cores: a block takes 64 rows of a head, and goes over their keys in tiles
// that it copies to shared memory while it computes with the one before.
#ifndef QUERN_LIB_CODEGEN_GPU_PROMPTATTENTION_H
#define QUERN_LIB_CODEGEN_GPU_PROMPTATTENTION_H

#include "quern/Codegen/GPU.h"

namespace quern::codegen {

/// softmax(scale * q K^T) V for each row and head, over the keys up to the row's position. Rows of one sequence stand
/// in ascending positions; neighbouring rows of one share a pass over its keys.
struct PromptAttention {
  int64_t heads, kvHeads, headDim; ///< headDim is a multiple of 16
  float scale;

  static constexpr int64_t kWarps = 4, kRows = 64; ///< of a block

  /// Whether there is such a kernel: `emitDecodeAttention` makes one for any rows and target.
  static bool has(const GpuTarget &target, int64_t headDim) { return target.halfProductDepth && headDim <= 128; }
  /// Keys of a tile: tiles of keys and values, twice, fit into 48 KB with room for several blocks.
  int64_t tileKeys() const { return headDim <= 64 ? 64 : 32; }
  std::string name() const;
};

/// Arguments: query, rotated (f32 [T, A*D]), positions (i32 [T]), caches (addresses [T]), capacities (i64 [T]), out
/// (f32 [T, A*D]); then the layer and T as numbers. Grid: x = T / kRows, rounded up; y = heads.
mlir::gpu::GPUFuncOp emitPromptAttention(mlir::gpu::GPUModuleOp module, const PromptAttention &attention,
                                         const GpuTarget &target);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_PROMPTATTENTION_H

// Attention of single rows over long caches. The keys of a row are split over the blocks of a fixed grid, so that a
// step is the same launches at every position; what the blocks have found is merged, and the result quantized, by the
// last of them or by a second kernel.
#ifndef QUERN_LIB_CODEGEN_GPU_DECODEATTENTION_H
#define QUERN_LIB_CODEGEN_GPU_DECODEATTENTION_H

#include "lib/Codegen/Common/Emitter.h"
#include "quern/Codegen/GPU.h"

#include <algorithm>
#include <optional>

namespace quern::codegen {

/// softmax(scale * q K^T) V for each row and head, over the keys up to the row's position, in f32.
struct DecodeAttention {
  int64_t heads, kvHeads, headDim; ///< headDim is a multiple of 16, at most 256
  float scale;
  /// Each row is the only one of its sequence: the kernel rotates the query and the new key, after the norm of heads
  /// where there is one, and writes the new key and value into the cache, as RotaryCache does. Otherwise that kernel
  /// ran before.
  bool fused = false;
  bool interleaved = false;           ///< of fused
  std::optional<double> headEps = {}; ///< of fused
  /// Of fused: off where RotaryCache has written the cache before, so that rows may be of one sequence.
  bool writes = true;
  /// The kernel also merges the splits (SplitMerge.h), for targets with `blockCounters`. Otherwise MergeAttention does.
  bool merges = false;
  bool quantized = false; ///< of merges: as of MergeAttention, where headDim is a multiple of 32

  static constexpr int64_t kLeastKeys = 32; ///< of a split that is not the last
  static constexpr int64_t kMostWarps = 8;
  static constexpr int64_t kMostAtOnce = 32, kBunch = 16; ///< splits that are merged at once, and of bunches of more

  /// The query heads of a kv head are divided between the warps of a block, and between blocks where they are many. The
  /// last warp makes the last head again, where there are not enough.
  int64_t group() const { return heads / kvHeads; }
  int64_t headsOfWarp() const { return std::min<int64_t>(group(), 2); }
  int64_t warps() const { return std::min((group() + headsOfWarp() - 1) / headsOfWarp(), kMostWarps); }
  int64_t passes() const { return (group() + headsOfWarp() * warps() - 1) / (headsOfWarp() * warps()); }
  /// Splits of a row's keys: about 256 blocks a row.
  int64_t splits() const;
  /// Bytes for each row of what the kernel hands to the merge, weighted values and states: multiples of 256.
  int64_t valueBytes() const { return heads * splits() * headDim * 4; }
  int64_t stateBytes() const { return heads * splits() * 8; }
  /// Of merges: of each warp one for each bunch and one for all of them.
  int64_t countersOfWarp() const { return 1 + splits() / kBunch; }
  int64_t countersOfRow() const { return kvHeads * passes() * warps() * countersOfWarp(); }
  std::string name() const;
};

/// Arguments: query (f32 [T, A*D]); fused also key and value (f32 [T, G*D]), the gains of query and key heads where
/// there is a norm, and the table of angles; positions (i32 [T]), caches (addresses [T]), capacities (i64 [T]), values
/// (f32 [T, A, splits, D]) and states (f32 [T, A, splits, 2]: maximum and sum, of exponents of two); where it merges
/// counters (i32 [T, countersOfRow()], zero) and what MergeAttention gives; then the layer as a number. Grid: x =
/// splits(), y = kvHeads * passes(), z = T.
mlir::gpu::GPUFuncOp emitDecodeAttention(mlir::gpu::GPUModuleOp module, const DecodeAttention &attention,
                                         const GpuTarget &target);

/// Merges the splits of each head.
struct MergeAttention {
  int64_t heads, headDim, splits;
  bool quantized; ///< the result is codes, scales and sums as `Matvec.h` says, otherwise f32

  static constexpr int64_t kWarps = 4; ///< of a block, which takes 32 numbers of the row; they take splits in turn
  int64_t groups() const;              ///< and blocks
  std::string name() const;
};

/// Arguments: values, states, positions, then out (f32 [T, A*D]) or codes, scales and sums. Grid: x = groups(), y = T.
mlir::gpu::GPUFuncOp emitMergeAttention(mlir::gpu::GPUModuleOp module, const MergeAttention &merge,
                                        const GpuTarget &target);

/// The keys of each split of a row with `keys` keys, a multiple of kLeastKeys.
mlir::Value keysOfSplit(Emitter &e, mlir::Value keys, int64_t splits);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_DECODEATTENTION_H

// Attention of a few query heads over one tile of keys, and the state that tiles are merged into.
#ifndef QUERN_LIB_CODEGEN_CPU_ATTENTIONTILE_H
#define QUERN_LIB_CODEGEN_CPU_ATTENTIONTILE_H

#include "Kernels.h"

namespace quern::codegen {

constexpr int64_t kKeyBlock = 16; ///< positions that lie side by side in the cache of keys
constexpr int64_t kKeyTile = 64;  ///< keys that share a maximum

/// Emits attention of `count` query heads that share a key-value head; count is at most 16.
///
/// A state is what is known of the keys so far: for each head the weighted values [D], then one vector of the heads'
/// maxima and one of their sums of weights, a lane a head.
class HeadGroup {
  using Value = mlir::Value;
  using Values = Emitter::Values;

public:
  /// `work` is tileWorkBytes of the thread's own memory.
  HeadGroup(Emitter &e, const AttentionShape &shape, Value work, int64_t count)
      : e(e), shape(shape), work(work), count(count) {}

  static int64_t tileWorkBytes(int64_t count) { return (count * kKeyTile + 3 * 16) * 4; }
  static int64_t stateBytes(const AttentionShape &shape, int64_t count) { return (count * shape.headDim + 2 * 16) * 4; }

  /// A state of no keys.
  void begin(Value state);
  /// Merges the keys [first, end), `end` at most first + 64, into the state. `keys` and `values` are the head's.
  void tile(Value state, Value queries, Value keys, Value values, Value first, Value end);
  /// Merges the later state `from` into `state`.
  void merge(Value state, Value from);
  /// The heads' results, one after the other.
  void finish(Value state, Value out);

private:
  int64_t sumsAt(int64_t head) const { return head * shape.headDim * 4; }
  Value maxima(Value state) { return e.at(state, sumsAt(count)); }
  Value totals(Value state) { return e.at(state, sumsAt(count) + 64); }
  Value weights(int64_t head) { return e.at(work, head * kKeyTile * 4); }
  /// A vector of 16 in the work memory, behind the weights.
  Value lanes(int64_t index) { return e.at(work, count * kKeyTile * 4 + index * 64); }
  Value splatLane(Value vectorAt, int64_t lane) {
    return e.splat(e.load(e.getF32Type(), e.at(vectorAt, lane * 4), 4), e.f32s());
  }

  Values scoreBlock(Value queries, Value block);
  Value scoreTile(Value queries, Value keys, Value first, Value end);
  void mergeTotals(Value state, Value laterMaxima, Value laterTotals);
  void weighValues(Value state, Value values, Value tileKeys);
  void mergeSums(Value state, int64_t head, Value offset, Value later);

  Emitter &e;
  const AttentionShape &shape;
  Value work;
  int64_t count;
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_CPU_ATTENTIONTILE_H

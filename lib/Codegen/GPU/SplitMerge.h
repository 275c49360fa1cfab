// The merge of a row's splits inside the kernel that makes them. Each warp of an attention counts itself in when what
// it has found of its heads is in memory; the last one of those with the same heads, which is so told that all is
// there, merges. No block waits for another.
#ifndef QUERN_LIB_CODEGEN_GPU_SPLITMERGE_H
#define QUERN_LIB_CODEGEN_GPU_SPLITMERGE_H

#include "DecodeAttention.h"
#include "QuantizeGroup.h"

namespace quern::codegen {

/// Splits are added up in the order of their numbers, whatever the order in which warps end. Up to kMostAtOnce of them
/// are merged at once. More are merged in bunches, each by the last warp of the bunch, and the bunches by the last of
/// those, since one multiprocessor would take long to read them all.
class SplitMerge {
public:
  struct Places {
    mlir::Value values, states, counters; ///< as DecodeAttention says
    mlir::ValueRange results;
  };
  /// Whose work it is. All are the same for all lanes of a warp but the last.
  struct Warp {
    mlir::Value row, split, count; ///< count: of splits that the row has
    mlir::Value number;            ///< among all warps of the row's blocks for one split
    mlir::Value firstInGroup;      ///< of its heads, within those of a kv head; below the group's size
    mlir::SmallVector<mlir::Value> heads;
    mlir::Value lane;
  };

  SplitMerge(Emitter &e, const DecodeAttention &attention, const Places &places, const Warp &warp);

  /// To be called by all lanes of a warp whose own split is stored.
  void emit();

private:
  static constexpr int64_t kLoads = 32; ///< of 16 bytes that a lane has on their way at once

  /// Four neighbouring numbers of the warp's heads.
  struct Quad {
    mlir::Value isSecond; ///< whether they are of the second head; null where no lane's are
    bool allSecond;       ///< all lanes' are
    mlir::Value base;     ///< of the head's first split
    mlir::Value isInside; ///< null where all are
  };
  /// What is known of the warp's heads.
  struct State {
    Emitter::Values maxima, sums, inverses; ///< of each head; 1 / sum
    Emitter::Values values;                 ///< of each quad, four numbers
  };

  Quad quadOf(int64_t i);
  mlir::Value ofHead(const Quad &quad, mlir::ValueRange ofHeads);
  mlir::Value slot(int64_t head, mlir::Value split);
  /// Whether the warp is the last of `count` ones that count themselves at counter `which` of theirs.
  mlir::Value isLast(mlir::Value which, mlir::Value count);
  /// Of `count` splits, up to 32, from `first` on, whose numbers differ by two to the power of `shift`.
  State gather(mlir::Value first, mlir::Value shift, mlir::Value count);
  QuantizedRows results() const { return {places.results[0], places.results[1], places.results[2]}; }
  void whereInside(const Quad &quad, llvm::function_ref<void()> then);
  void handOn(const State &state, mlir::Value split);
  void finish(mlir::ValueRange inverses, mlir::ValueRange values);
  void fillUp();

  Emitter &e;
  const DecodeAttention &attention;
  Places places;
  Warp warp;
  std::vector<Quad> quads;
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_SPLITMERGE_H

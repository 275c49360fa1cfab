// A warp's part of the attention of some query heads to the keys that they share: tiles of 32 keys, online softmax.
#ifndef QUERN_LIB_CODEGEN_GPU_KEYTILES_H
#define QUERN_LIB_CODEGEN_GPU_KEYTILES_H

#include "DeviceCache.h"
#include "HeadLanes.h"

namespace quern::codegen {

class KeyTiles {
public:
  static constexpr int64_t kTile = 32;     ///< keys, a lane's own score for each head
  static constexpr int64_t kLoadLevel = 3; ///< keys of 8 steps are on their way at once

  KeyTiles(Emitter &e, HeadLanes &lanes, const HeadCache &cache, int64_t heads, int64_t headDim)
      : e(e), lanes(lanes), cache(cache), heads(heads), headDim(headDim) {}

  /// What a warp knows of one head.
  struct State {
    mlir::Value maximum;    ///< of the scores
    mlir::Value sum;        ///< of 2^(score - maximum), in each lane that of its keys, or all of them after `addUp`
    Emitter::Values values; ///< the values, weighted likewise: eight elements, of the lane's keys or of all
  };

  /// The state of each head after tiles `first`, `first + stride`... of the keys before `end`. `queries` are eight
  /// elements of each head's query, times scale and log2(e), zero in lanes beyond the head's end.
  std::vector<State> fold(llvm::ArrayRef<Emitter::Values> queries, mlir::Value first, mlir::Value end, int64_t stride);

  /// Adds up what the lanes have.
  void addUp(std::vector<State> &states);

private:
  Emitter::Values tile(llvm::ArrayRef<Emitter::Values> queries, mlir::Value first, mlir::Value end,
                       mlir::ValueRange carried);
  Emitter::Values scores(llvm::ArrayRef<Emitter::Values> queries, int64_t level, int64_t step, mlir::Value first,
                         mlir::Value end);
  mlir::Value rowAt(mlir::Value base, mlir::Value first, mlir::Value end, int64_t step);
  std::vector<State> unpack(mlir::ValueRange carried);
  static Emitter::Values pack(llvm::ArrayRef<State> states);

  Emitter &e;
  HeadLanes &lanes;
  HeadCache cache;
  int64_t heads, headDim;
  Emitter::Values keys; ///< of the steps that were loaded last
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_KEYTILES_H

// A warp's part of the attention of some query heads to the keys that they share: tiles of 32 keys, online softmax.
#ifndef QUERN_LIB_CODEGEN_GPU_KEYTILES_H
#define QUERN_LIB_CODEGEN_GPU_KEYTILES_H

#include "DeviceCache.h"
#include "HeadLanes.h"

#include <optional>

namespace quern::codegen {

class KeyTiles {
public:
  static constexpr int64_t kTile = 32; ///< keys, a lane's own score for each head

  /// `end` is behind the last key.
  KeyTiles(Emitter &e, HeadLanes &lanes, const HeadCache &cache, int64_t heads, int64_t headDim, mlir::Value end)
      : e(e), lanes(lanes), cache(cache), heads(heads), headDim(headDim), end(end) {}

  /// The last key and its value, eight f16 of each lane, where they need not be in the cache yet. `isLast` tells
  /// whether the block reads them.
  struct Fresh {
    mlir::Value isLast, key, value;
  };

  /// What a warp knows of one head.
  struct State {
    mlir::Value maximum;    ///< of the scores
    mlir::Value sum;        ///< of 2^(score - maximum)
    Emitter::Values values; ///< the values, weighted likewise: eight elements
  };

  /// Asks for the first tile, where registers hold a whole one.
  void begin(mlir::Value first);
  /// The state of each head after the tiles from `first` on, for which `begin` was called. `queries` are eight elements
  /// of each head's query, times scale and log2(e), zero in lanes beyond the head's end.
  std::vector<State> fold(llvm::ArrayRef<Emitter::Values> queries, mlir::Value first, std::optional<Fresh> fresh);

private:
  static constexpr int64_t kMostAhead = 16; ///< steps of a tile that is asked for as a whole
  static constexpr int64_t kLoadLevel = 3;  ///< else keys of 8 steps are on their way at once

  /// Lanes beyond the head hold zeros besides.
  bool isAhead() const { return lanes.lanes() <= (headDim == 8 * lanes.lanes() ? kMostAhead : kMostAhead / 2); }
  Emitter::Values loadTile(mlir::Value first);
  Emitter::Values load(mlir::Value base, mlir::Value first, int64_t step, int64_t count);
  Emitter::Values refreshed(Emitter::Values loaded, bool areKeys, mlir::Value first, int64_t step);
  mlir::Value numberOf(mlir::Value first, int64_t step);
  mlir::Value last() { return e.add(end, -1); }
  void tile(llvm::ArrayRef<Emitter::Values> queries, mlir::Value first, std::vector<State> &states);
  Emitter::Values scores(llvm::ArrayRef<Emitter::Values> queries, int64_t level, int64_t step, mlir::Value first);
  Emitter::Values weigh(llvm::ArrayRef<mlir::Value> sums, mlir::Value first, std::vector<State> &states);
  void addUp(std::vector<State> &states);
  std::vector<State> unpack(mlir::ValueRange carried);
  static Emitter::Values pack(llvm::ArrayRef<State> states);

  Emitter &e;
  HeadLanes &lanes;
  HeadCache cache;
  int64_t heads, headDim;
  mlir::Value end;
  std::optional<Fresh> fresh;
  Emitter::Values keys, values; ///< that were loaded last
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_KEYTILES_H

// Which part of a tile a warp multiplies, and what of it a lane has.
#ifndef QUERN_LIB_CODEGEN_GPU_PROMPTLANES_H
#define QUERN_LIB_CODEGEN_GPU_PROMPTLANES_H

#include "PromptTile.h"

namespace quern::codegen {

/// Of 16 rows and 8 tokens a lane has four sums: of tokens 2 c and 2 c + 1 those of row r, then those of row r + 8, for
/// lane 4 r + c; tokens run faster than rows.
class PromptLanes {
public:
  PromptLanes(Emitter &e, const PromptTile &tile, const PromptMemory &memory, mlir::Value thread);

  /// Of the warp in the block, among those that share its part, and of the lane among its warp's.
  mlir::Value lane, warpRow, warpToken, share, rowOfLane, tokenOfLane;

  /// Those of the warp's `sixteenRows`-th 16 rows.
  llvm::MutableArrayRef<mlir::Value> sumsOf(llvm::MutableArrayRef<mlir::Value> sums, int64_t sixteenRows) const;
  /// Where the lane points `ldmatrix` for the fragment of 16 rows and of two pieces of 16 bytes, from `piece` on.
  mlir::Value placeOfRows(mlir::Value buffer, mlir::Value piece, int64_t sixteenRows) const;
  /// The same for 16 tokens from `from` on: both pieces of the first eight, then those of the others.
  mlir::Value placeOfTokens(mlir::Value buffer, mlir::Value piece, int64_t from) const;

private:
  Emitter &e;
  const PromptTile &tile;
  const PromptMemory &memory;
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_PROMPTLANES_H

// Brings one stage of numbers in f16 to shared memory.
#ifndef QUERN_LIB_CODEGEN_GPU_PROMPTHALFSTAGE_H
#define QUERN_LIB_CODEGEN_GPU_PROMPTHALFSTAGE_H

#include "PromptStage.h"

namespace quern::codegen {

class HalfStage : public PromptStage {
public:
  using PromptStage::PromptStage;

  /// Starts the copies of weights' codes to place `raw` (0 or 1), and the loads of all else that a stage is made of.
  Emitter::Values begin(mlir::Value stage, mlir::Value raw);
  /// The work of making a stage has so many pieces, ...
  int64_t pieces() const { return tokenPieces() + tile.rowFills(); }
  /// ... each for the buffer `buffer` of what `begin` with the place of the same number brought, after `wait`.
  void makePiece(int64_t piece, mlir::Value stage, mlir::Value buffer, mlir::ValueRange loaded);

private:
  /// Pieces of 16 codes of tokens that a thread brings, one of `atOnce` tokens after the other.
  int64_t tokenPieces() const { return tile.tokens * tile.sixteens() / PromptTile::kThreads; }
  int64_t atOnce() const { return PromptTile::kThreads / tile.sixteens(); }
  mlir::Value sixteenth() const { return e.rem(operands.thread, e.i64(tile.sixteens())); }
  mlir::Value firstToken() const { return e.div(operands.thread, tile.sixteens()); }
  mlir::Value rounded(mlir::Value number, double factor) const;
  Emitter::Values numbersOf(const PromptSource &source, mlir::ValueRange codes, double codeFactor,
                            llvm::ArrayRef<ScalePair> pairs) const;
  void makeTokens(int64_t piece, mlir::Value buffer, mlir::Value codes, mlir::Value scale);
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_PROMPTHALFSTAGE_H

// Multiplies the tiles of a stage, a warp its part of them.
#ifndef QUERN_LIB_CODEGEN_GPU_PROMPTPRODUCT_H
#define QUERN_LIB_CODEGEN_GPU_PROMPTPRODUCT_H

#include "Factors.h"
#include "PromptTile.h"

namespace quern::codegen {

class PromptProduct {
public:
  /// What integer products are offset by, so that their bits are those of an f32 (see PromptProduct.cpp).
  static constexpr double kOffset = 12582912;

  PromptProduct(Emitter &e, const GpuTarget &target, const PromptTile &tile, const PromptMemory &memory,
                mlir::Value thread);

  /// Adds what 32 k of a stage give. Of 16 rows and 8 tokens a lane has four: of tokens 2 c and 2 c + 1 those of
  /// row r, then those of row r + 8, for lane 4 r + c; tokens run faster than rows.
  void addGroup(mlir::Value buffer, mlir::Value group, llvm::MutableArrayRef<mlir::Value> sums);

  /// Of the warp in the block, among those that share its part, and of the lane among its warp's.
  mlir::Value warpRow, warpToken, share, rowOfLane, tokenOfLane;

private:
  struct TokenGroup;                                                 ///< what a lane has of 32 k of the warp's tokens
  mlir::Value groupInBuffers(mlir::Value buffer, mlir::Value group); ///< its number among those of both
  TokenGroup loadTokens(mlir::Value buffer, mlir::Value group);
  Emitter::Values loadCodes(mlir::Value codes, mlir::Value row, mlir::Value group);
  Emitter::Values loadTokenCodes(mlir::Value buffer, mlir::Value group);
  Emitter::Values loadSixteenTokens(mlir::Value buffer, mlir::Value group, int64_t from);
  Emitter::Values loadSixteenScales(mlir::Value memory, mlir::Value start, int64_t from);
  Emitter::Values loadRows(mlir::Value buffer, mlir::Value group, int64_t sixteenRows);
  Emitter::Values loadFloats(mlir::Value pointer, int64_t count);
  Emitter::Values loadWords(mlir::Value pointer, int64_t count);
  Emitter::Values loadTokenScales(mlir::Value memory, mlir::Value start);
  Emitter::Values loadTokenFactors(mlir::Value start);
  Emitter::Values multiply(mlir::ValueRange rows, mlir::ValueRange tokens, int64_t part, int64_t parts);
  Emitter::Values multiplyHalves(mlir::ValueRange rows, mlir::ValueRange tokens);
  Emitter::Values halvesOf(mlir::ValueRange words);
  mlir::Value rowScale(int64_t part, int64_t sixteenRows);
  Emitter::Values loadRowScales(mlir::Value inBuffers, int64_t part, int64_t sixteenRows);
  Emitter::Values loadRowMinimums(mlir::Value inBuffers, int64_t part, int64_t sixteenRows);
  void addRows(llvm::MutableArrayRef<mlir::Value> sums, mlir::Value buffer, mlir::Value group, int64_t sixteenRows,
               const TokenGroup &tokens);
  void addScaled(llvm::MutableArrayRef<mlir::Value> sums, mlir::ValueRange products, mlir::ValueRange rowScales,
                 mlir::ValueRange tokenScales);
  void addMinimums(mlir::Value inBuffers, int64_t part, llvm::MutableArrayRef<mlir::Value> sums);
  void addHalves(mlir::Value buffer, mlir::Value group, llvm::MutableArrayRef<mlir::Value> sums);
  llvm::MutableArrayRef<mlir::Value> sumsOf(llvm::MutableArrayRef<mlir::Value> sums, int64_t sixteenRows);

  Emitter &e;
  const GpuTarget &target;
  const PromptTile &tile;
  const PromptMemory &memory;
  mlir::Value lane;
  FactorFragments fragments;
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_PROMPTPRODUCT_H

// Multiplies the tiles of a stage, a warp its part of them.
#ifndef QUERN_LIB_CODEGEN_GPU_PROMPTPRODUCT_H
#define QUERN_LIB_CODEGEN_GPU_PROMPTPRODUCT_H

#include "Factors.h"
#include "PromptTile.h"

namespace quern::codegen {

class PromptProduct {
public:
  static constexpr int64_t kSixteenRows = PromptTile::kWarpRows / 16, kEightTokens = PromptTile::kWarpTokens / 8;
  static constexpr int64_t kSums = kSixteenRows * kEightTokens * 4; ///< of a lane
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
  struct TokenGroup; ///< what a lane has of 32 k of the warp's tokens
  TokenGroup loadTokens(mlir::Value buffer, mlir::Value group);
  Emitter::Values loadCodes(mlir::Value codes, mlir::Value row, mlir::Value group);
  Emitter::Values loadTokenCodes(mlir::Value buffer, mlir::Value group);
  Emitter::Values loadRows(mlir::Value buffer, mlir::Value group, int64_t sixteenRows);
  Emitter::Values loadFloats(mlir::Value pointer, int64_t count);
  Emitter::Values loadWords(mlir::Value pointer, int64_t count);
  Emitter::Values loadTokenScales(mlir::Value memory, mlir::Value start, mlir::Value number);
  Emitter::Values loadTokenFactors(mlir::Value start, mlir::Value number);
  Emitter::Values multiply(mlir::ValueRange rows, mlir::ValueRange tokens, int64_t part, int64_t parts);
  struct RowScales {
    Emitter::Values scales, minimums;
  };
  RowScales loadRowScales(mlir::Value buffer, mlir::Value number, int64_t sixteenRows);
  void addRows(llvm::MutableArrayRef<mlir::Value> sums, mlir::Value buffer, mlir::Value group, int64_t sixteenRows,
               const TokenGroup &tokens);
  void addScaled(llvm::MutableArrayRef<mlir::Value> sums, mlir::ValueRange products, const RowScales &rows,
                 mlir::ValueRange tokenScales);
  void addMinimums(llvm::MutableArrayRef<mlir::Value> sums, const RowScales &rows, mlir::ValueRange tokenSums,
                   int64_t eightTokens);

  Emitter &e;
  const GpuTarget &target;
  const PromptTile &tile;
  const PromptMemory &memory;
  mlir::Value lane;
  FactorFragments fragments;
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_PROMPTPRODUCT_H

// Multiplies a stage's codes, a warp its part of them, and applies the scales.
#ifndef QUERN_LIB_CODEGEN_GPU_PROMPTBYTEPRODUCT_H
#define QUERN_LIB_CODEGEN_GPU_PROMPTBYTEPRODUCT_H

#include "Factors.h"
#include "PromptLanes.h"

namespace quern::codegen {

class ByteProduct {
public:
  /// What integer products are offset by, so that their bits are those of an f32 (see PromptByteProduct.cpp).
  static constexpr double kOffset = 12582912;

  ByteProduct(Emitter &e, const GpuTarget &target, const PromptTile &tile, const PromptMemory &memory,
              const PromptLanes &lanes);

  /// Adds what 32 k of a stage give.
  void addGroup(mlir::Value buffer, mlir::Value group, llvm::MutableArrayRef<mlir::Value> sums);

private:
  /// What a lane has of 32 k of the warp's tokens.
  struct TokenGroup {
    Emitter::Values codes;  ///< of each eight tokens the fragment's two words, or all eight of the lane's two tokens
    Emitter::Values scales; ///< of two tokens of each eight
  };
  mlir::Value groupInBuffers(mlir::Value buffer, mlir::Value group); ///< its number among those of both
  TokenGroup loadTokens(mlir::Value buffer, mlir::Value group);
  Emitter::Values loadCodes(mlir::Value codes, mlir::Value row, mlir::Value group);
  Emitter::Values loadTokenCodes(mlir::Value buffer, mlir::Value group);
  Emitter::Values loadTokenScales(mlir::Value memory, mlir::Value start);
  Emitter::Values loadTokenFactors(mlir::Value start);
  Emitter::Values loadRows(mlir::Value buffer, mlir::Value group, int64_t sixteenRows);
  mlir::Value rowScale(int64_t part, int64_t sixteenRows);
  Emitter::Values loadRowScales(mlir::Value inBuffers, int64_t part, int64_t sixteenRows);
  Emitter::Values loadRowMinimums(mlir::Value inBuffers, int64_t part, int64_t sixteenRows);
  Emitter::Values multiply(mlir::ValueRange rows, mlir::ValueRange tokens, int64_t part);
  void addRows(llvm::MutableArrayRef<mlir::Value> sums, mlir::Value buffer, mlir::Value group, int64_t sixteenRows,
               const TokenGroup &tokens);
  void addScaled(llvm::MutableArrayRef<mlir::Value> sums, mlir::ValueRange products, mlir::ValueRange rowScales,
                 mlir::ValueRange tokenScales);
  void addMinimums(mlir::Value inBuffers, int64_t part, llvm::MutableArrayRef<mlir::Value> sums);

  Emitter &e;
  const GpuTarget &target;
  const PromptTile &tile;
  const PromptMemory &memory;
  const PromptLanes &lanes;
  FactorFragments fragments;
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_PROMPTBYTEPRODUCT_H

// One tile of a matmul: the sums of R panels by T tokens over all of K, in registers.
#ifndef QUERN_LIB_CODEGEN_CPU_MATMULTILE_H
#define QUERN_LIB_CODEGEN_CPU_MATMULTILE_H

#include "lib/Codegen/Common/Emitter.h"
#include "quern/Codegen/PanelLayout.h"

namespace quern::codegen {

struct MatmulTile {
  const PanelLayout &layout;
  llvm::SmallVector<mlir::Value> panels;      ///< first byte of each panel
  llvm::SmallVector<mlir::Value> activations; ///< first bytes of the tokens' rows: act8; f32, bf16 for float weights
  mlir::Value k;                              ///< padded
  mlir::Value headerBytes;                    ///< of a panel
  bool signedCodes;                           ///< dots take signed bytes where the layout has them
  unsigned vectorBits;                        ///< of a register
  int64_t prefetch = 0;                       ///< bytes ahead of each line that is read; 0: none

  unsigned elements() const { return panels.size() * activations.size(); }
};

/// Sums of a tile of block weights, [token * panels + panel], each 16 rows (docs/numerics.md, "The fold").
Emitter::Values foldBlocks(Emitter &e, const MatmulTile &tile);

/// Sums of a tile of bf16 weights, likewise ("Float weights"); activations are rows of bf16.
Emitter::Values foldPairs(Emitter &e, const MatmulTile &tile);

/// Sums of a tile of f32 or f16 weights, likewise.
Emitter::Values foldFloats(Emitter &e, const MatmulTile &tile);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_CPU_MATMULTILE_H

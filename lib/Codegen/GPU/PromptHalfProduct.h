// Multiplies a stage's numbers of two bytes, a warp its part of them.
#ifndef QUERN_LIB_CODEGEN_GPU_PROMPTHALFPRODUCT_H
#define QUERN_LIB_CODEGEN_GPU_PROMPTHALFPRODUCT_H

#include "PromptStages.h"

namespace quern::codegen {

class HalfProduct {
public:
  HalfProduct(Emitter &e, const PromptBlock &block) : e(e), block(block) {}

  /// Chunks of 16 rows by 16 k that a warp has of a stage.
  int64_t chunks() const { return block.tile.steps() * block.tile.sixteenRows(); }
  /// Adds what the `chunk`-th gives, of the stage at `place`, with all parts of the tokens.
  void add(mlir::Value place, int64_t chunk, Emitter::Values &sums);

private:
  Emitter &e;
  const PromptBlock &block;
  Emitter::Values tokens; ///< fragments of 16 k, of all parts, which serve all rows
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_PROMPTHALFPRODUCT_H

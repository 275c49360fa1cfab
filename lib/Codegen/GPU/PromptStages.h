// The stages of a prompt's matmul, one after the other: while its warps multiply one, the next one comes to shared
// memory.
#ifndef QUERN_LIB_CODEGEN_GPU_PROMPTSTAGES_H
#define QUERN_LIB_CODEGEN_GPU_PROMPTSTAGES_H

#include "PromptLanes.h"
#include "PromptStage.h"

namespace quern::codegen {

/// What all kinds of stages work on.
struct PromptBlock {
  const GpuTarget &target;
  const PromptMatmul &shape;
  const PromptTile &tile;
  const PromptMemory &memory;
  const PromptOperands &operands;
  const PromptLanes &lanes;

  int64_t stages() const { return (shape.width + tile.stage() - 1) / tile.stage(); }
  /// The `count`-th stage after `stage`. What comes after the last one is that again, for nothing.
  mlir::Value after(Emitter &e, mlir::Value stage, int64_t count) const {
    return e.min(e.add(stage, count), e.i64(stages() - 1));
  }
};

/// The lane's `sums` with the products of all k, of tiles of codes, of tiles of numbers in f16, and of float weights as
/// they are stored. All threads have passed a barrier behind their last access to the tiles.
Emitter::Values emitByteStages(Emitter &e, const PromptBlock &block, Emitter::Values sums);
Emitter::Values emitHalfStages(Emitter &e, const PromptBlock &block, Emitter::Values sums);
Emitter::Values emitFloatStages(Emitter &e, const PromptBlock &block, Emitter::Values sums);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_PROMPTSTAGES_H

// Brings one stage of float weights, and of the activations that they take, to shared memory.
#ifndef QUERN_LIB_CODEGEN_GPU_PROMPTFLOATSTAGE_H
#define QUERN_LIB_CODEGEN_GPU_PROMPTFLOATSTAGE_H

#include "PromptStage.h"

namespace quern::codegen {

class FloatStage : public PromptStage {
public:
  using PromptStage::PromptStage;

  /// Starts the copies of a stage to place `place`: of weights, and of tokens that are copied as they are.
  void begin(mlir::Value stage, mlir::Value place);
  /// The same in two parts, for targets whose copies take registers: what the thread brings, ...
  Emitter::Values load(mlir::Value stage);
  /// ... and where it goes.
  void store(mlir::Value place, mlir::ValueRange loaded);

private:
  /// Of 16 bytes that a row has of a stage: a thread brings one of every `atOnce` rows.
  int64_t pieces() const { return tile.weightRowBytes() / 16; }
  int64_t atOnce() const { return PromptTile::kThreads / pieces(); }
  mlir::Value pieceOfThread() const { return e.rem(operands.thread, e.i64(pieces())); }
  mlir::Value firstOfThread() const { return e.div(operands.thread, pieces()); }

  /// Eight numbers of all rows: where they are, and whether they are the row's, null for all.
  struct Eight {
    mlir::Value number, isInRow;
  };
  Eight eightOf(mlir::Value stage) const;
  /// Addresses of what the thread brings, of weights and then of each part of the tokens: from and to.
  Emitter::Values sourcesOf(const Eight &eight) const;
  Emitter::Values targetsOf(mlir::Value place) const;
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_PROMPTFLOATSTAGE_H

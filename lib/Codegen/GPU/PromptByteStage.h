// Brings one stage of codes and scales to shared memory.
#ifndef QUERN_LIB_CODEGEN_GPU_PROMPTBYTESTAGE_H
#define QUERN_LIB_CODEGEN_GPU_PROMPTBYTESTAGE_H

#include "PromptStage.h"

namespace quern::codegen {

class ByteStage : public PromptStage {
public:
  using PromptStage::PromptStage;

  /// Starts the copies of packed codes, for `unpack` after `wait`.
  void beginPacked(mlir::Value stage) { beginRaw(stage, e.i64(0)); }
  /// Starts the other copies to buffer `buffer` (0 or 1), and the loads of what `finish` takes.
  Emitter::Values begin(mlir::Value stage, mlir::Value buffer);
  /// Brings packed codes to the buffer.
  void unpack(mlir::Value stage, mlir::Value buffer);
  /// Completes the buffer, and waits; `loaded` is what `begin` gave.
  void finish(mlir::Value stage, mlir::Value buffer, mlir::ValueRange loaded);

private:
  /// What `begin` loads of a token: its scale, and the sums of both halves of its codes where there are minimums.
  int64_t ofToken() const { return 1 + tile.minimums; }
  mlir::Value groupInBuffers(mlir::Value buffer) const;
  void copyTokens(mlir::Value stage, mlir::Value buffer);
  void copyBytes(const PromptSource &source, mlir::Value stage, mlir::Value buffer);
  Emitter::Values loadTokenScales(mlir::Value stage);
  void storeScales(const PromptSource &source, const Row &row, mlir::Value buffer, llvm::ArrayRef<ScalePair> pairs);
  void storeMinimums(const PromptSource &source, const Row &row, mlir::Value buffer, llvm::ArrayRef<ScalePair> pairs);
  void storeTokens(mlir::Value buffer, mlir::ValueRange loaded);
  void storeTokenScales(mlir::Value tileToken, mlir::Value buffer, mlir::Value scale);
  void storeTokenSums(mlir::Value tileToken, mlir::Value buffer, mlir::Value scale, mlir::Value sums);
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_PROMPTBYTESTAGE_H

// Brings one stage of a prompt's matmul from device memory to the tiles in shared memory.
#ifndef QUERN_LIB_CODEGEN_GPU_PROMPTSTAGE_H
#define QUERN_LIB_CODEGEN_GPU_PROMPTSTAGE_H

#include "CodeReader.h"
#include "PromptTile.h"
#include "ScaleReader.h"

namespace quern::codegen {

/// What a block multiplies: rows past the last of a weight or token are the last.
struct PromptOperands {
  mlir::ValueRange weights;         ///< of each segment
  mlir::Value codes, scales, sums;  ///< activations
  mlir::Value tokens;               ///< T
  mlir::Value firstRow, firstToken; ///< of the block
  mlir::Value thread;
};

/// Segments whose weights one and the same code reads, and the rows of the tile that they have.
struct PromptSource {
  const GpuLayout *layout;
  int64_t firstSegment, segments;
};

class PromptStage {
public:
  PromptStage(Emitter &e, const GpuTarget &target, const PromptMatmul &shape, const PromptTile &tile,
              const PromptMemory &memory, const PromptOperands &operands);

  /// Starts the copies of packed codes, for `unpack` after `wait`.
  void beginPacked(mlir::Value stage);
  /// Brings them to buffer `buffer` (0 or 1); `loaded` is what `begin` gave.
  void unpack(mlir::Value stage, mlir::Value buffer, mlir::ValueRange loaded);
  /// Starts the other copies, and the loads of what `finish` takes.
  Emitter::Values begin(mlir::Value stage, mlir::Value buffer);
  /// Waits for all copies of this thread.
  void wait();
  /// Completes the buffer, and waits; a barrier makes the buffer known to other threads.
  void finish(mlir::Value stage, mlir::Value buffer, mlir::ValueRange loaded);

private:
  /// With a row of the tile that the thread fills, the source that it belongs to, and how many rows came before.
  /// Of the tile, weights' or tokens': `first` + `more`, where a thread's first rows are fewer than those that follow
  /// it.
  struct Row {
    mlir::Value first;
    int64_t more;
  };
  using Body = llvm::function_ref<void(const PromptSource &, const Row &, int64_t)>;
  void ofThread(Body body);
  Row filledRow(int64_t fill) const;
  mlir::Value inTile(const Row &row) const;
  mlir::Value groupInBuffers(mlir::Value buffer) const;
  bool isWhole() const;
  /// Of the weight: the row is the sum of both.
  mlir::Value weightRow(const Row &row) const;
  int64_t moreRows(const Row &row) const;
  mlir::Value isOfFirstSegment(const Row &row) const;
  mlir::Value weight(const PromptSource &source, const Row &row) const;
  mlir::Value token(mlir::Value tileToken) const;
  mlir::Value group(const PromptSource &source, mlir::Value stage) const;
  mlir::Value rawPlace(int64_t fill, int64_t plane) const;
  CodeReader codeReader(const PromptSource &source) const;
  ScaleReader scaleReader(const PromptSource &source) const;

  void copy(mlir::Value from, mlir::Value to);
  void copyTokens(mlir::Value stage, mlir::Value buffer);
  void copyBytes(const PromptSource &source, mlir::Value stage, mlir::Value buffer);
  Emitter::Values loadScales(mlir::Value stage);
  Emitter::Values loadWeightScales(const Row &row, mlir::Value stage);
  mlir::ValueRange wordsOf(mlir::ValueRange loaded, int64_t fill) const;
  Emitter::Values halvesOf(const PromptSource &source, mlir::ValueRange codes, mlir::ValueRange words) const;
  void storeWeightScales(const PromptSource &source, const Row &row, mlir::Value stage, mlir::Value buffer,
                         mlir::ValueRange words);
  void storeTokenScales(mlir::Value tileToken, mlir::Value buffer, mlir::Value scale);
  void storeTokenSums(mlir::Value tileToken, mlir::Value buffer, mlir::Value scale, mlir::Value sums);

  Emitter &e;
  const GpuTarget &target;
  const PromptMatmul &shape;
  const PromptTile &tile;
  const PromptMemory &memory;
  const PromptOperands &operands;
  std::vector<PromptSource> sources;
  mlir::Value groupOfStage; ///< that the thread fills
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_PROMPTSTAGE_H

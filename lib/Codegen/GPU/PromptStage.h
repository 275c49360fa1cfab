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

/// Where what a stage needs lies in device memory, and which of it a thread brings.
class PromptStage {
public:
  PromptStage(Emitter &e, const GpuTarget &target, const PromptMatmul &shape, const PromptTile &tile,
              const PromptMemory &memory, const PromptOperands &operands);

  /// Waits for all copies of this thread; a barrier makes what they brought known to others.
  void wait();

protected:
  /// A row of the tile, weights' or tokens': `first` + `more`, where a thread's first rows are fewer than those that
  /// follow it.
  struct Row {
    mlir::Value first;
    int64_t more;
  };
  using Body = llvm::function_ref<void(const PromptSource &, const Row &, int64_t)>;
  /// With each row of weights that the thread fills, the source that it belongs to, and how many rows came before.
  void ofThread(Body body);
  void ofRow(int64_t fill, Body body);
  Row filledRow(int64_t fill) const;
  mlir::Value inTile(const Row &row) const;
  bool isWhole() const;
  /// Of the weight: the row is the sum of both.
  mlir::Value weightRow(const Row &row) const;
  int64_t moreRows(const Row &row) const;
  mlir::Value weight(const PromptSource &source, const Row &row) const;
  mlir::Value token(mlir::Value tileToken) const;
  mlir::Value group(const PromptSource &source, mlir::Value stage) const;
  CodeReader codeReader(const PromptSource &source) const;
  ScaleReader scaleReader(const PromptSource &source) const;
  bool isUnpacked(const PromptSource &source) const;

  /// Of 16 bytes; of these only the first `bytes` (i32) where they are given, and zeros.
  void copy(mlir::Value from, mlir::Value to, mlir::Value bytes = {});
  /// Where the codes of a row lie that the thread unpacks, in device memory.
  Emitter::Values rawAt(const PromptSource &source, const Row &row, mlir::Value stage) const;
  /// Starts the copies of codes that are unpacked, to place `raw` (0 or 1) of those that the tile has for them.
  void beginRaw(mlir::Value stage, mlir::Value raw);
  /// The codes of the `fill`-th row that this thread copied, as CodeReader takes them.
  Emitter::Values loadRaw(const PromptSource &source, mlir::Value raw, int64_t fill);
  /// The codes of a row from where they are, as many pieces as the source with the most has.
  Emitter::Values loadRow(const Row &row, mlir::Value stage);
  /// Of all rows of weights that the thread fills.
  Emitter::Values loadScales(mlir::Value stage);
  /// Of these the words of the `fill`-th row.
  mlir::ValueRange wordsOf(mlir::ValueRange scales, int64_t fill) const;
  /// What the thread's group of a row has in the tile, four words to a piece.
  void storeCodes(const Row &row, mlir::Value buffer, mlir::ValueRange words);

  Emitter &e;
  const GpuTarget &target;
  const PromptMatmul &shape;
  const PromptTile &tile;
  const PromptMemory &memory;
  const PromptOperands &operands;
  std::vector<PromptSource> sources;
  mlir::Value groupOfStage; ///< that the thread fills

private:
  mlir::Value isOfFirstSegment(const Row &row) const;
  mlir::Value rawPlace(mlir::Value raw, int64_t fill, int64_t piece) const;
  Emitter::Values loadWeightScales(const Row &row, mlir::Value stage);
  using Load = llvm::function_ref<Emitter::Values(const PromptSource &)>;
  /// What `load` gives of the row's source; where there are two of these `count` values, filled up with `zero`.
  Emitter::Values ofSource(const Row &row, size_t count, mlir::Value zero, Load load);
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_PROMPTSTAGE_H

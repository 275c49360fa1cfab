// The tiles that a block of a prompt's matmul keeps in shared memory, and where in them what lies. All are there twice:
// while one copy is multiplied, the other is filled with what comes next in k ("the next stage").
#ifndef QUERN_LIB_CODEGEN_GPU_PROMPTTILE_H
#define QUERN_LIB_CODEGEN_GPU_PROMPTTILE_H

#include "EmitKernel.h"
#include "PromptMatmul.h"

namespace quern::codegen {

/// Rows of weights, of all segments one after the other, and tokens. A warp multiplies 64 rows, as many of each
/// segment, by 32 tokens; where the block has more warps than such parts, several have the same part and share the k of
/// a stage. Neighbouring k of codes are neighbouring bytes.
struct PromptTile {
  static constexpr int64_t kWarpRows = 64, kWarpTokens = 32;
  static constexpr int64_t kThreads = 32 * PromptMatmul::kWarps;

  int64_t rows, tokens;
  int64_t segments;      ///< 1 or 2
  int64_t scalesOfGroup; ///< of weights: 1, or 2 where they share 16 k each
  bool minimums;
  bool tensorCores;  ///< multiply codes
  bool factors;      ///< minimums and sums are multiplied by tensor cores (Factors.h)
  bool wideScales;   ///< of weights: products with offsets are not exact (over 22 significant bits) or infinite
  int64_t rawPlanes; ///< of codes that are unpacked

  int64_t warpsOfTokens() const { return tokens / kWarpTokens; }
  int64_t parts() const { return rows / kWarpRows * warpsOfTokens(); }
  /// Warps that share a part.
  int64_t split() const { return PromptMatmul::kWarps / parts(); }
  /// k of a stage: each thread has 32 k of a row of weights to fill, or less than the rest of them.
  int64_t stage() const { return 32 * groups(); }
  int64_t groups() const { return kThreads / rows; }
  int64_t sixteens() const { return stage() / 16; } ///< pieces of 16 bytes of a row's codes
  int64_t weightCodeBytes() const { return rows * stage(); }
  int64_t tokenCodeBytes() const { return tokens * stage(); }
  int64_t segmentRows() const { return rows / segments; }
  /// Bytes of a stage's scales, each with what its product with the offset of integers is, ...
  int64_t weightScaleBytes() const { return groups() * scalesOfGroup * rows * 8; }
  int64_t tokenScaleBytes() const { return groups() * tokens * 4; }
  /// ... minimums, a word each, and of the tokens' scaled sums.
  int64_t minimumBytes() const { return groups() * scalesOfGroup * rows * 4; }
  int64_t sumBytes() const { return groups() * scalesOfGroup * tokens * (factors ? 8 : 4); }

  /// Byte of the `sixteenth`-th 16 bytes of a row's codes. Eight neighbouring rows have it in all banks, so that
  /// `ldmatrix` reads them at once: the order changes after as many rows as fill the banks, one or two.
  mlir::Value codePlace(Emitter &e, mlir::Value row, mlir::Value sixteenth) const;
  /// The number of a row's scale among those of its group: warp after warp, and the eight that a lane multiplies with
  /// (rows 8 apart) side by side.
  mlir::Value rowScaleIndex(Emitter &e, mlir::Value row) const;
  /// The same for tokens, of which a lane has pairs 8 apart.
  static mlir::Value tokenScaleIndex(Emitter &e, mlir::Value token);

  /// Of warp `warpRow` the tile's row where its `sixteenRows`-th 16 rows start.
  mlir::Value warpRow(Emitter &e, mlir::Value warpRow, int64_t sixteenRows) const;
  /// Segment that these rows belong to, and the first of them within the segment's rows of the warp.
  int64_t segmentOf(int64_t sixteenRows) const { return sixteenRows * 16 / (kWarpRows / segments); }
  int64_t rowInSegment(int64_t sixteenRows) const { return sixteenRows * 16 % (kWarpRows / segments); }
};

/// Shared memory of a block; what is not needed is null. Each but `raw` holds two stages, one after the other.
struct PromptMemory {
  mlir::Value weightCodes, tokenCodes, weightScales, tokenScales, weightMinimums, tokenSums;
  mlir::Value raw; ///< packed codes, 16 bytes a thread and plane, that only this thread touches

  /// `start`: of `bytes` bytes, aligned to 16.
  PromptMemory(Emitter &e, const PromptTile &tile, mlir::Value start);
  static int64_t bytes(const PromptTile &tile);

private:
  struct Part;
  static std::vector<Part> parts(const PromptTile &tile);
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_PROMPTTILE_H

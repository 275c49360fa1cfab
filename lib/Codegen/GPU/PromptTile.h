// The tiles that a block of a prompt's matmul keeps in shared memory, and where in them what lies. All are there twice
// or more often: while one copy is multiplied, others are filled with what comes next in k ("the next stages").
#ifndef QUERN_LIB_CODEGEN_GPU_PROMPTTILE_H
#define QUERN_LIB_CODEGEN_GPU_PROMPTTILE_H

#include "EmitKernel.h"
#include "PromptMatmul.h"

namespace quern::codegen {

/// Rows of weights, of all segments one after the other, and tokens. A warp multiplies 64 rows, as many of each
/// segment, by 64 tokens, or 32; where the block has more warps than such parts, several have the same part and share
/// the k of a stage. Neighbouring k lie side by side: as codes of a byte, or as numbers of two
/// bytes (`halves`).
struct PromptTile {
  static constexpr int64_t kWarpRows = 64;
  static constexpr int64_t kThreads = 32 * PromptMatmul::kWarps;
  static constexpr int64_t kRowScaleBytes = 8;   ///< a scale, and what its product with the integers' offset is
  static constexpr double kHalvesFactor = 0x1p4; ///< that weights in f16 are times, and activations divided by

  int64_t rows, tokens;
  int64_t warpTokens;    ///< that a warp multiplies
  int64_t groups;        ///< of a stage, 32 k each
  int64_t segments;      ///< 1 or 2
  bool halves;           ///< numbers of two bytes are multiplied: f16 that codes are made into, or
  bool floats;           ///< what weights are stored as; otherwise codes, with scales and minimums beside them:
  int64_t scalesOfGroup; ///< of weights: 1, or 2 where they share 16 k each
  bool minimums;
  bool tensorCores;       ///< multiply codes
  bool factors;           ///< minimums and sums are multiplied by tensor cores (Factors.h)
  bool wideScales;        ///< of weights: products with offsets may be inexact or infinite
  bool asyncCopies;       ///< bring codes to shared memory without registers
  bool manyRegisters;     ///< are taken by more than sums and numbers
  int64_t rawPieces;      ///< of 16 bytes that a group of codes that are unpacked has
  int64_t tokenParts = 1; ///< rows of which a token's is the sum
  int64_t places = 2;     ///< for stages

  int64_t warpsOfTokens() const { return tokens / warpTokens; }
  int64_t parts() const { return rows / kWarpRows * warpsOfTokens(); }
  /// Warps that share a part.
  int64_t split() const { return PromptMatmul::kWarps / parts(); }
  int64_t sixteenRows() const { return kWarpRows / 16; } ///< of a warp
  int64_t eightTokens() const { return warpTokens / 8; }
  int64_t sums() const { return kWarpRows * warpTokens / 32; } ///< of a lane
  int64_t stage() const { return 32 * groups; }                ///< k
  /// Of a stage what a warp multiplies one after the other: groups, or halves of them where numbers are f16.
  int64_t steps() const { return (halves ? 2 : 1) * groups / split(); }
  /// Groups of weights that a thread fills; of tokens, which only the first threads may do.
  int64_t rowFills() const { return rows * groups / kThreads; }
  int64_t tokenFills() const { return std::max<int64_t>(1, tokens * groups / kThreads); }
  int64_t sixteens() const { return stage() / 16; } ///< pieces of 16 bytes of a row's codes
  int64_t weightRowBytes() const { return stage() * (halves ? 2 : 1); }
  int64_t weightCodeBytes() const { return rows * weightRowBytes(); }
  int64_t tokenRowBytes() const { return stage() * (halves ? 2 : 1); }
  int64_t tokenCodeBytes() const { return tokens * tokenRowBytes(); } ///< of a part
  /// What is copied before it is unpacked: while one stage is unpacked, numbers in f16 have the next one on its way, in
  /// registers where the block is so small that threads have some left for them, or copies would take these anyway.
  int64_t rawBytes() const { return rawPieces * rowFills() * kThreads * 16; }
  bool rawInRegisters() const { return halves && (!asyncCopies || (segments == 1 && rows < 256 && !manyRegisters)); }
  int64_t rawPlaces() const { return rawInRegisters() ? 0 : halves ? 2 : 1; }
  int64_t segmentRows() const { return rows / segments; }
  /// Bytes of a group's scales, ...
  int64_t weightScaleBytes() const { return ofGroup(scalesOfGroup * rows * kRowScaleBytes); }
  int64_t tokenScaleBytes() const { return ofGroup(tokens * 4); }
  /// ... minimums, a word each, and of the tokens' scaled sums.
  int64_t minimumBytes() const { return ofGroup(scalesOfGroup * rows * 4); }
  int64_t sumBytes() const { return ofGroup(scalesOfGroup * tokens * tokenSumBytes()); }
  int64_t tokenSumBytes() const { return factors ? 16 : 4; }
  /// What the groups of a stage have lies so far apart that a warp, which fills all groups of some rows, finds each
  /// bank once.
  int64_t ofGroup(int64_t bytes) const { return bytes + 128 / groups; }

  /// Byte of the `piece`-th 16 bytes of a token. Eight neighbouring rows have it in all banks, so that
  /// `ldmatrix` reads them at once: the order changes after as many rows as fill the banks, one or two. So it does
  /// after eight pieces, for threads that fill all groups of a row.
  mlir::Value tokenPlace(Emitter &e, mlir::Value token, mlir::Value piece) const {
    return place(e, token, piece, tokenRowBytes());
  }
  /// The same of a row of weights.
  mlir::Value weightPlace(Emitter &e, mlir::Value row, mlir::Value piece) const {
    return place(e, row, piece, weightRowBytes());
  }
  /// The number of a row's scale among those of its group: warp after warp, of each 16 rows the two that a lane
  /// multiplies with (8 apart) side by side.
  mlir::Value rowScaleIndex(Emitter &e, mlir::Value row) const;
  /// The same for tokens, of which a lane has two pairs of each 16.
  static mlir::Value tokenScaleIndex(Emitter &e, mlir::Value token);
  /// The `number`-th row or token in the order in which threads fill them: after as many as a quarter of a warp fills
  /// come those 8 further, so that neither codes nor scales meet a bank twice.
  mlir::Value filled(Emitter &e, mlir::Value number) const;

  /// Of warp `warpRow` the tile's row where its `sixteenRows`-th 16 rows start.
  mlir::Value warpRow(Emitter &e, mlir::Value warpRow, int64_t sixteenRows) const;
  /// Segment that these rows belong to, and the first of them within the segment's rows of the warp.
  int64_t segmentOf(int64_t sixteenRows) const { return sixteenRows % segments; }
  int64_t rowInSegment(int64_t sixteenRows) const { return sixteenRows / segments * 16; }

private:
  mlir::Value place(Emitter &e, mlir::Value row, mlir::Value piece, int64_t rowBytes) const;
};

/// Whether scales have the range of f32: they may be beyond f16.
inline bool hasWideScales(const GpuLayout &layout) {
  return layout.scales == GpuScales::Single || layout.scales == GpuScales::Power;
}

/// Shared memory of a block; what is not needed is null. Each but `raw` (PromptTile::rawPlaces) holds
/// PromptTile::places stages, one after the other; of tokens the parts of a stage lie side by side.
struct PromptMemory {
  mlir::Value weightCodes, tokenCodes, weightScales, tokenScales, weightMinimums, tokenSums;
  mlir::Value raw; ///< packed codes, 16 bytes a thread and piece, that only this thread touches

  /// `start`: of `bytes` bytes, aligned to 16.
  PromptMemory(Emitter &e, const PromptTile &tile, mlir::Value start);
  static int64_t bytes(const PromptTile &tile);

private:
  struct Part;
  static std::vector<Part> parts(const PromptTile &tile);
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_PROMPTTILE_H

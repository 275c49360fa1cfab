// The tiles that a block of a prompt's matmul keeps in shared memory, and where in them what lies. All are there twice:
// while one copy is multiplied, the other is filled with what comes next in k ("the next stage").
#ifndef QUERN_LIB_CODEGEN_GPU_PROMPTTILE_H
#define QUERN_LIB_CODEGEN_GPU_PROMPTTILE_H

#include "EmitKernel.h"
#include "PromptMatmul.h"

namespace quern::codegen {

/// 128 rows of weights, of all segments one after the other, and 128 tokens. A warp multiplies 64 rows, as many of each
/// segment, by 32 tokens. Neighbouring k of codes are neighbouring bytes.
struct PromptTile {
  static constexpr int64_t kRows = 128, kTokens = PromptMatmul::kBlockTokens;
  static constexpr int64_t kStage = 64; ///< k of a stage
  static constexpr int64_t kGroups = kStage / 32;
  static constexpr int64_t kWarpRows = 64, kWarpTokens = 32;
  static constexpr int64_t kThreads = 32 * PromptMatmul::kWarps;
  static_assert(kRows / kWarpRows * (kTokens / kWarpTokens) * 32 == kThreads);
  static_assert(kRows * kGroups == kThreads && kTokens * kGroups == kThreads, "a thread has one group of each to fill");
  static constexpr int64_t kSixteens = kStage / 16; ///< pieces of 16 bytes of a row's codes
  static constexpr int64_t kCodeBytes = kRows * kStage;
  static_assert(kRows == kTokens, "tiles of both have one shape");

  int64_t segments;      ///< 1 or 2
  int64_t scalesOfGroup; ///< of weights: 1, or 2 where they share 16 k each
  bool minimums;
  bool tensorCores;  ///< multiply codes
  bool factors;      ///< minimums and sums are multiplied by tensor cores (Factors.h)
  bool wideScales;   ///< of weights: over 22 significant bits, so that their products with offsets are not exact
  int64_t rawPlanes; ///< of codes that are unpacked

  int64_t segmentRows() const { return kRows / segments; }
  /// Bytes of a stage's scales, each with what its product with the offset of integers is, ...
  int64_t weightScaleBytes() const { return kGroups * scalesOfGroup * kRows * 8; }
  static constexpr int64_t kTokenScaleBytes = kGroups * kTokens * 4;
  /// ... minimums, a word each, and of the tokens' scaled sums.
  int64_t minimumBytes() const { return kGroups * scalesOfGroup * kRows * 4; }
  int64_t sumBytes() const { return kGroups * scalesOfGroup * kTokens * (factors ? 8 : 4); }

  /// Byte of the `sixteenth`-th 16 bytes of a row's codes. Eight neighbouring rows have it in all banks, so that
  /// `ldmatrix` reads them at once: two rows fill the banks, so every other row changes the order.
  static mlir::Value codePlace(Emitter &e, mlir::Value row, mlir::Value sixteenth);
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

  PromptMemory(Emitter &e, const PromptTile &tile);
  /// Bytes that a launch has to ask for: 0 where a kernel can declare them. NVIDIA's declare up to 48 KB.
  static int64_t dynamicBytes(const PromptTile &tile);

private:
  struct Part;
  static std::vector<Part> parts(const PromptTile &tile);
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_PROMPTTILE_H

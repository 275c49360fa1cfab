// Layout of quantized activations (`!dq.act8`): a row is a sequence of units of 64 k,
//   [64 signed codes] [2 x f32 d] [2 x f32 d * sum] [2 x i32 -sum] [4 x i32 -sum of 16]
// where d is the scale of 32 codes and sum the sum of those codes. The sums are kept negated, as the folds need them.
// One pointer and constant displacements reach all that a step of the fold reads.
//
// A row of `!dq.act8<row>` has the same d everywhere, codes less 128, and behind its units [f32 -d * z] [i32 z], z its
// zero point less 128.
#ifndef QUERN_CODEGEN_ACTIVATIONLAYOUT_H
#define QUERN_CODEGEN_ACTIVATIONLAYOUT_H

#include <cstdint>

namespace quern::codegen {

inline constexpr int64_t kActUnit = 64;
inline constexpr int64_t kActScales = 64;    ///< byte offset of d[2]
inline constexpr int64_t kActScaledSums = 72; ///< byte offset of d * sum, [2]
inline constexpr int64_t kActSums32 = 80;    ///< byte offset of -sum of 32 codes, [2]
inline constexpr int64_t kActSums16 = 88;    ///< byte offset of -sum of 16 codes, [4]
inline constexpr int64_t kActUnitBytes = 104;

/// Behind the units of a row that has a zero point.
inline constexpr int64_t kActZero = 4; ///< byte offset of z
inline constexpr int64_t kActZeroBytes = 8;

/// Bytes of a row of k activations, a multiple of 64; k is filled up with zeros to whole units.
inline int64_t actRowBytes(int64_t k, bool hasZero = false) {
  int64_t bytes = (k + kActUnit - 1) / kActUnit * kActUnitBytes + (hasZero ? kActZeroBytes : 0);
  return (bytes + 63) / 64 * 64;
}

/// Bytes of a row of k bf16 activations: room for whole units of 64, filled up with zeros to a multiple of 16.
inline int64_t bfloatRowBytes(int64_t k) { return (k + kActUnit - 1) / kActUnit * kActUnit * 2; }

/// Bytes of a row of n f32 values: room for whole units of 64.
inline int64_t floatRowBytes(int64_t n) { return (n + kActUnit - 1) / kActUnit * kActUnit * 4; }

} // namespace quern::codegen

#endif // QUERN_CODEGEN_ACTIVATIONLAYOUT_H

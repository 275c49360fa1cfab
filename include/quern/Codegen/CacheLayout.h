// How a sequence's keys and values lie in memory. A cache of capacity C (positions, a multiple of 64) holds for each
// (layer, key-value head) the keys, then the values, each as C / 64 tiles of 64 positions. docs/numerics.md says what
// the numbers mean.
//
// f16, f32: keys in blocks of 16 positions, [4][D][16]; values [64][D].
// q8_0: codes, then scales of 32 elements of a position as f16, [ceil(D / 32)][64]. Codes of keys [4][D / 4][16][4], so
// that a line of 64 bytes holds four elements of 16 positions; codes of values [16][D / 16][16][4], so that it holds 16
// elements of four positions: products of bytes add up what lies side by side.
#ifndef QUERN_CODEGEN_CACHELAYOUT_H
#define QUERN_CODEGEN_CACHELAYOUT_H

#include <cstdint>

namespace quern::codegen {

enum class CacheKind { F16, Q8_0, F32 };
inline constexpr CacheKind kCacheKinds[] = {CacheKind::F16, CacheKind::Q8_0, CacheKind::F32};

constexpr int64_t kKeyBlock = 16;   ///< positions that lie side by side in the cache of keys
constexpr int64_t kKeyTile = 64;    ///< positions of a tile; keys that share a maximum
constexpr int64_t kCacheGroup = 32; ///< elements of a position that share a scale

/// As users and the manifest name it.
constexpr const char *cacheKindName(CacheKind kind) {
  return kind == CacheKind::F16 ? "f16" : kind == CacheKind::Q8_0 ? "q8_0" : "f32";
}
/// What the name of an entry that uses such a cache has behind it.
constexpr const char *cacheKindSuffix(CacheKind kind) {
  return kind == CacheKind::F16 ? "" : kind == CacheKind::Q8_0 ? "_q8_0" : "_f32";
}

struct CacheLayout {
  CacheKind kind;
  int64_t kvHeads, headDim;

  bool bytes() const { return kind == CacheKind::Q8_0; } ///< codes with scales, otherwise plain numbers
  /// Bytes of one element's number or code.
  int64_t elementBytes() const { return bytes() ? 1 : kind == CacheKind::F16 ? 2 : 4; }
  int64_t groups() const { return (headDim + kCacheGroup - 1) / kCacheGroup; }
  /// Bytes of one position's keys, or of its values, of one head.
  int64_t positionBytes() const { return headDim * elementBytes() + (bytes() ? groups() * 2 : 0); }
  int64_t tileBytes() const { return kKeyTile * positionBytes(); }
  /// Where the scales of a tile begin, and those of its next group.
  int64_t scalesAt() const { return kKeyTile * headDim; }
  int64_t scaleGroupBytes() const { return kKeyTile * 2; }
};

} // namespace quern::codegen

#endif // QUERN_CODEGEN_CACHELAYOUT_H

// The layout in which GPU kernels read weights: whatever a lane takes of a row's codes is 16 bytes, and the lanes of a
// warp take neighbouring ones. Derived from a format's description, as the panels of the CPU are. Free of MLIR.
//
// A weight of n rows is a sequence of regions, each starting at a multiple of 256 bytes, each holding row after row:
//   codes, one region for each plane of bits (8; 4; 4 and 1; 4 and 2; 2 and 1 ...), the lowest bits first
//   scales, as GpuScales says
// Floats are one region of rows, filled up with zeros to whole units of 16 bytes.
//
// A row's k are cut into units of 128 / (bits of the narrowest plane), which a lane takes at a time. A unit has one or
// more pieces of 16 bytes of each plane; piece j of all units lies before piece j + 1 of any. Four codes of
// neighbouring k ("a quad") are one field each of the four bytes of a 32-bit word, as a dot product of bytes takes
// them: of a plane of b bits, quad q of a unit is in piece q / (32/b), word q mod 4, from bit
// b * ((q mod (32/b)) / 4) of each byte on.
#ifndef QUERN_CODEGEN_GPULAYOUT_H
#define QUERN_CODEGEN_GPULAYOUT_H

#include "quern/Formats/FormatSpec.h"
#include "quern/Support/Result.h"

#include <span>

namespace quern::codegen {

inline constexpr int64_t kGpuLoadBytes = 16;    ///< of a lane's load of codes
inline constexpr int64_t kGpuRegionBytes = 256; ///< regions start at multiples of this
/// Weights of block formats are within this: prompts multiply them times 2^4 as f16.
inline constexpr float kGpuMostWeight = 4094;
inline constexpr int64_t kGpuRowMultiple = 128; ///< rows of activations are filled up with zeros to whole ones of these

/// Numbers that a row of k quantized activations has room for.
inline int64_t gpuRowWidth(int64_t k) { return (k + kGpuRowMultiple - 1) / kGpuRowMultiple * kGpuRowMultiple; }

/// Bytes of each region: filled up to whole ones.
inline int64_t gpuRegionBytes(int64_t bytes) {
  return (bytes + kGpuRegionBytes - 1) / kGpuRegionBytes * kGpuRegionBytes;
}

/// Quantized activations of T rows lie in the arena as three arrays: codes [T, Kp] of i8, scales [T, Kp/32] of f32,
/// sums [T, Kp/16] of i16, Kp being gpuRowWidth(k). These are the bytes that each array has room for in a row, so that
/// all arrays start where regions may.
struct GpuActivationBytes {
  int64_t codes, scales, sums;
  int64_t row() const { return codes + scales + sums; }
};
inline GpuActivationBytes gpuActivationBytes(int64_t k) {
  int64_t width = gpuRowWidth(k);
  return {gpuRegionBytes(width), gpuRegionBytes(width / 32 * 4), gpuRegionBytes(width / 16 * 2)};
}

/// How scales and minimums are kept.
enum class GpuScales {
  Half,           ///< f16 for each 32 k
  Power,          ///< a byte for each 32 k: the exponent e of a power of two, 2^(e - 127); 255 is not a number
  Single,         ///< f32 for each 32 k
  HalfAndMinimum, ///< f16 for each 32 k; then a region of minimums likewise
  SixBits, ///< 16 bytes for each 256 k: D and Dm of f16; the lower 4 bits of 8 scales, then of 8 minimums, in a word
           ///< each; a word whose nibble j is (scale j >> 4) | (minimum j >> 4) << 2
  Nibbles, ///< a byte for each 16 k: scale | minimum << 4; then a region with D and Dm of f16 for each 256 k
  SignedBytes,  ///< a signed byte for each 16 k; then a region with the f16 D of each 256 k
  BytesAndHalf, ///< the same with a byte for each 32 k
};

struct GpuLayout {
  std::vector<unsigned> planes; ///< bits of each plane of a code; none of floats
  unsigned zero = 0;            ///< code minus this is t(c)
  bool signedCodes = false;     ///< codes are signed bytes
  std::vector<int8_t> table;    ///< t(c), where codes are entries of a table: 16, 32 or 64
  std::vector<int8_t> digits;   ///< t(c) = table[c] + digits[c] * 2^digitShift, where a signed byte does not do
  unsigned digitShift = 0;
  unsigned group = 32; ///< k of a scale
  GpuScales scales = GpuScales::Half;
  float factor = 1;          ///< of every scale, exact
  bool minimumAdded = false; ///< minimums are added, not subtracted
  unsigned floatBytes = 0;   ///< size of a float element; 0 for block formats
  bool bfloat = false;       ///< the two-byte float is bf16

  /// Fails for a format that GPU kernels do not read, naming it.
  static Result<GpuLayout> get(const formats::FormatSpec &spec);
  static GpuLayout getFloat(unsigned bytes, bool bfloat);

  bool isFloat() const { return floatBytes != 0; }
  /// Of a code.
  unsigned bits() const;
  /// t(c) of a table.
  int entry(size_t code) const { return table[code] + (digits.empty() ? 0 : digits[code] * (1 << digitShift)); }
  /// Whether a scale is that of a super-block of 256 k times a small integer.
  bool hasSuperBlocks() const { return scales >= GpuScales::SixBits; }
  /// k that a lane takes at a time.
  int64_t unit() const;
  int64_t units(int64_t k) const { return (k + unit() - 1) / unit(); }
  /// k that share a scale within a unit: the step of the fold.
  int64_t piece() const { return std::min<int64_t>(group, unit()); }
  /// Pieces of 16 bytes that a unit has of a plane.
  int64_t pieces(size_t plane) const { return unit() * planes[plane] / (8 * kGpuLoadBytes); }

  /// Bytes of a row of a region: planes, then one or two of scales.
  std::vector<int64_t> rowBytes(int64_t k) const;
  /// Where each region of a weight [n, k] starts, and last the bytes of all.
  std::vector<int64_t> regions(int64_t n, int64_t k) const;
  int64_t bytes(int64_t n, int64_t k) const { return regions(n, k).back(); }

  /// What packed weights are within by their scales, at the most: `regions` of any number of rows. 0 for floats,
  /// whose kernels have no bound.
  float mostWeight(std::span<const std::vector<uint8_t>> regions) const;
};

/// Brings stored rows of k weights, one after the other in `stored`, into the layout: region i of them goes to
/// `regions[i]`, `count * rowBytes(k)[i]` bytes of zeros. `spec` is null for floats.
void packGpuRows(const GpuLayout &layout, const formats::FormatSpec *spec, int64_t count, int64_t k,
                 std::span<const uint8_t> stored, std::span<uint8_t *const> regions);

/// Brings n stored rows of k weights, one after the other in `stored`, into the layout at `out` (bytes(n, k) bytes,
/// overwritten). Only bits move. `spec` is null for floats.
void packGpuWeight(const GpuLayout &layout, const formats::FormatSpec *spec, int64_t n, int64_t k,
                   std::span<const uint8_t> stored, std::span<uint8_t> out);

} // namespace quern::codegen

#endif // QUERN_CODEGEN_GPULAYOUT_H

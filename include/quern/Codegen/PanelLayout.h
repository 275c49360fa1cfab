// The layout in which kernels read weights: panels of 16 rows side by side, four consecutive k of each row together, so
// that a 64-byte line holds 16 rows x 4 codes and a vector lane is a row. Derived from a format's description; the only
// thing that kernels know of a format.
//
// A panel is a header, then for each 64 k ("sub-unit") [scale lines] [minimum line] [high-bit lines] [code lines].
//   code lines, group q of 32 k:  8 bits: line 8q+j holds k-line j (k = 32q + 4j + byte);
//                                 4 bits: line 4q+j holds k-line j in the low nibbles, k-line j+4 in the high ones;
//                                 2 bits: line a (16 k each), bits 2f: k-line f of the line's 16 k
//   (floats have no sub-units: for each k, or each two k of bf16, 16 rows side by side)
//   high bits:                    1 bit: line q, bit j of each byte belongs to k-line j; 2 bits: as 2-bit code lines
#ifndef QUERN_CODEGEN_PANELLAYOUT_H
#define QUERN_CODEGEN_PANELLAYOUT_H

#include "quern/Formats/FormatSpec.h"
#include "quern/Support/Result.h"

#include <array>

namespace quern::codegen {

inline constexpr int64_t kPanelRows = 16;
inline constexpr int64_t kLineBytes = 64;
inline constexpr int64_t kSubunit = 64;     ///< k per sub-unit
inline constexpr int64_t kSuperBlock = 256; ///< weights that share a super-block scale, in every format that has one

/// How the numbers s[g] and m[g] of a sub-unit's groups are kept.
enum class ScaleLayout {
  Half,           ///< a line of f16: 16 rows of group 0, 16 of group 1
  BFloat,         ///< the same in bf16, for powers of two (E8M0)
  Single,         ///< two lines of f32: 16 rows of group 0, then of group 1
  HalfAndMinimum, ///< a line of scales and a line of minimums
  SixBits,        ///< dword a row: sc0 sc1 m0 m1 of 6 bits; byte 3: byte t of the next super-block's (D | Dm << 16)
  Nibbles,        ///< dword a row: byte a is sc | m << 4 of 16 k; header: (D | Dm << 16) a row for each super-block
  SignedBytes,    ///< dword a row: byte a is the signed scale of 16 k; header: f16 D a row for each super-block
  BytesAndHalf,   ///< dword a row: two signed bytes of 32 k, and the super-block's f16 D
};

/// Layout of the panels of one block format, or of plain f32, f16 and bf16 rows.
struct PanelLayout {
  unsigned lowBits = 0;  ///< bits of a code in the code lines: 8, 4 or 2; 0 for float elements
  unsigned highBits = 0; ///< bits in the high-bit lines: 0, 1 or 2
  unsigned piece = 32;   ///< k that share a scale, at most 32: the step of the fold
  unsigned zero = 0;     ///< unsigned code minus this is t(c); 0 or a power of two
  bool signedCodes = false; ///< codes are signed bytes, kept with the top bit flipped
  std::vector<int16_t> table; ///< codes are entries of this table (kept as codes; looked up plus 128)
  unsigned digitShift = 0;    ///< not 0: entries beyond a signed byte are 2^this times the second digit, else the first
  ScaleLayout scale = ScaleLayout::Half;
  bool minimumAdded = false;
  unsigned floatBytes = 0; ///< size of a float element; 0 for block formats
  bool bfloat = false;     ///< the two-byte float is bf16

  /// Fails for a format whose codes or scales have no panel layout, naming it.
  static Result<PanelLayout> get(const formats::FormatSpec &spec);
  static PanelLayout getFloat(unsigned bytes, bool bfloat);

  bool isFloat() const { return floatBytes != 0; }
  /// bf16 lies in pairs: a line is 16 rows x 2 consecutive k. Other floats lie one k after the other, 16 rows each.
  bool inPairs() const { return bfloat; }
  /// Byte in its panel of the float element at row r, k.
  int64_t floatOffset(int64_t r, int64_t k) const {
    return inPairs() ? k / 2 * kLineBytes + r * 4 + k % 2 * 2 : (k * kPanelRows + r) * floatBytes;
  }
  bool hasMinimum() const {
    return scale == ScaleLayout::HalfAndMinimum || scale == ScaleLayout::SixBits || scale == ScaleLayout::Nibbles;
  }
  bool hasSuperBlocks() const { return scale >= ScaleLayout::SixBits; }
  /// Codes are whole bytes about zero, kept or looked up with 128 added: a kernel may take them as signed bytes.
  bool hasSignedForm() const { return zero == 128 && (signedCodes || !table.empty()); }
  /// t(c) = first digit + second digit * 2^digitShift, where one signed byte does not do.
  unsigned digits() const { return digitShift ? 2 : 1; }
  /// A digit of each entry of the table.
  std::vector<int8_t> digitTable(unsigned digit) const;
  /// The greatest magnitude of a code, or of a digit, as a kernel's dot product takes it.
  int64_t largestCode(bool asSigned, unsigned digit = 0) const;
  /// By how many bits the scale words of group 1 lie above those of group 0; 0 without super-blocks.
  unsigned groupShift() const {
    return scale == ScaleLayout::SixBits ? 6 : scale == ScaleLayout::BytesAndHalf ? 8 : hasSuperBlocks() ? 16 : 0;
  }
  /// Names the kernels that read this layout, e.g. "c4h1z16_half".
  std::string family() const;

  int64_t scaleLines() const { return scale == ScaleLayout::HalfAndMinimum || scale == ScaleLayout::Single ? 2 : 1; }
  /// Bytes of a plain scale, and of the scales of one group: 16 rows of them.
  int64_t scaleBytes() const { return scale == ScaleLayout::Single ? 4 : 2; }
  int64_t groupScaleBytes() const { return kPanelRows * scaleBytes(); }
  int64_t highLines() const { return highBits * 2; }
  int64_t codeLines() const { return lowBits * 2; }
  int64_t subunitBytes() const { return (scaleLines() + highLines() + codeLines()) * kLineBytes; }
  int64_t headerBytes(int64_t k) const;
  /// Bytes of a panel of 16 rows of k weights; a multiple of 64.
  int64_t panelBytes(int64_t k) const;
  /// Bytes of n rows of k weights, rows padded to whole panels.
  int64_t bytes(int64_t n, int64_t k) const { return (n + kPanelRows - 1) / kPanelRows * panelBytes(k); }
};

/// k as kernels see it: whole sub-units for block formats, multiples of 16 for floats. The packer fills up with zeros.
int64_t paddedK(const PanelLayout &layout, int64_t k);

/// Packs rows [16p, 16p + rows) of a weight into one panel at `out` (panelBytes(k) bytes, overwritten).
/// `row(r)` gives the stored bytes of row 16p + r; `spec` is null for float layouts.
void packPanel(const PanelLayout &layout, const formats::FormatSpec *spec, int64_t k, const uint8_t *const *rows,
               int64_t rowCount, uint8_t *out);

} // namespace quern::codegen

#endif // QUERN_CODEGEN_PANELLAYOUT_H

// Rows become panels. Only bits move: codes and scales are taken as they are.
#include "PanelPacker.h"

#include "quern/Formats/IntReader.h"

#include <bit>
#include <cstring>

using namespace quern;
using namespace quern::codegen;
using formats::FormatSpec;
using formats::IntReader;

namespace {

/// Packs panels of one block format.
class BlockPacker {
public:
  BlockPacker(const PanelLayout &layout, const FormatSpec &spec, int64_t k)
      : layout(layout), spec(spec), k(k), padded(paddedK(layout, k)), codeReader(spec.codes),
        codes(kPanelRows * padded), blocks(k / spec.block) {
    if (spec.scale.sub)
      scaleReader = IntReader(*spec.scale.sub);
    if (spec.minimum && spec.minimum->sub)
      minimumReader = IntReader(*spec.minimum->sub);
  }

  void pack(const uint8_t *const *rows, int64_t rowCount, uint8_t *out) {
    std::memset(out, 0, layout.panelBytes(k));
    std::memset(codes.data(), 0, codes.size());
    for (int64_t r = 0; r < rowCount; ++r)
      for (int64_t b = 0; b < blocks; ++b)
        codeReader.read(rows[r] + b * spec.bytes, codes.data() + r * padded + b * spec.block);
    packCodes(out + layout.headerBytes(k));
    for (int64_t r = 0; r < rowCount; ++r)
      layout.hasSuperBlocks() ? packSuperScales(rows[r], r, out) : packPlainScales(rows[r], r, out);
  }

private:
  uint8_t *line(uint8_t *out, int64_t subunit, int64_t index) {
    return out + subunit * layout.subunitBytes() + index * kLineBytes;
  }

  /// Where k-line `l` (0..15) of a sub-unit lies: a line of a plane of `bits` bits, and the shift in its bytes.
  static std::pair<int64_t, unsigned> place(unsigned bits, unsigned l) {
    unsigned group = l / 8, j = l % 8;
    switch (bits) {
    case 8:
      return {l, 0};
    case 4:
      return {4 * group + j % 4, j / 4 * 4};
    case 2:
      return {l / 4, 2 * (l % 4)};
    default:
      return {group, j};
    }
  }

  void packCodes(uint8_t *out) {
    uint8_t flip = layout.signedCodes ? 0x80 : 0, lowMask = uint8_t((1u << layout.lowBits) - 1);
    for (int64_t s = 0; s < padded / kSubunit; ++s)
      for (unsigned l = 0; l < kSubunit / 4; ++l) {
        auto [lowLine, lowShift] = place(layout.lowBits, l);
        uint8_t *low = line(out, s, layout.scaleLines() + layout.highLines() + lowLine), *high = nullptr;
        unsigned highShift = 0;
        if (layout.highBits) {
          auto [highLine, shift] = place(layout.highBits, l);
          high = line(out, s, layout.scaleLines() + highLine);
          highShift = shift;
        }
        for (int64_t r = 0; r < kPanelRows; ++r) {
          const uint8_t *from = codes.data() + r * padded + s * kSubunit + 4 * l;
          for (int64_t i = 0; i < 4; ++i) {
            low[4 * r + i] |= uint8_t(((from[i] ^ flip) & lowMask) << lowShift);
            if (high)
              high[4 * r + i] |= uint8_t((from[i] >> layout.lowBits) << highShift);
          }
        }
      }
  }

  /// Writes a plain scale: f16 or f32 as stored, or a power of two as bf16, with the unit multiplied in.
  void packPlainScale(const formats::Scale &scale, const uint8_t *block, int64_t group, uint8_t *to) {
    const uint8_t *at = block + scale.byte + scale.stride * group;
    if (scale.kind != formats::ScaleKind::E8M0) {
      std::memcpy(to, at, layout.scaleBytes());
      return;
    }
    float power = std::bit_cast<float>(*at ? uint32_t(*at) << 23 : 0x00400000u) * spec.unit;
    // 255 is not a number, as the format says.
    uint16_t half = *at == 255 ? 0x7fc0 : uint16_t(std::bit_cast<uint32_t>(power) >> 16);
    std::memcpy(to, &half, 2);
  }

  void packPlainScales(const uint8_t *row, int64_t r, uint8_t *out) {
    for (int64_t piece = 0; piece < k / 32; ++piece) {
      int64_t at = piece * 32, group = at % spec.block / spec.group;
      const uint8_t *block = row + at / spec.block * spec.bytes;
      uint8_t *to = line(out, piece / 2, 0) + piece % 2 * layout.groupScaleBytes() + layout.scaleBytes() * r;
      packPlainScale(spec.scale, block, group, to);
      if (spec.minimum)
        packPlainScale(*spec.minimum, block, group, to + kLineBytes);
    }
  }

  static uint16_t half(const uint8_t *block, unsigned byte) {
    uint16_t value;
    std::memcpy(&value, block + byte, 2);
    return value;
  }

  /// (D | Dm << 16) of super-block b, 0 past the end.
  uint32_t pair(const uint8_t *row, int64_t b) {
    if (b >= blocks)
      return 0;
    const uint8_t *block = row + b * spec.bytes;
    uint32_t minimum = spec.minimum ? half(block, spec.minimum->byte) : 0;
    return half(block, spec.scale.byte) | minimum << 16;
  }

  void packSuperScales(const uint8_t *row, int64_t r, uint8_t *out) {
    uint8_t *body = out + layout.headerBytes(k);
    uint8_t scales[kSuperBlock], minimums[kSuperBlock] = {};
    for (int64_t b = 0; b < blocks; ++b) {
      const uint8_t *block = row + b * spec.bytes;
      scaleReader.read(block, scales);
      if (spec.minimum)
        minimumReader.read(block, minimums);
      packHeader(row, b, r, out);
      for (int64_t t = 0; t < 4; ++t) {
        uint32_t word = scaleWord(scales, minimums, t, pair(row, b), pair(row, b + 1));
        std::memcpy(line(body, 4 * b + t, 0) + 4 * r, &word, 4);
      }
    }
  }

  void packHeader(const uint8_t *row, int64_t b, int64_t r, uint8_t *out) {
    uint32_t word = pair(row, b);
    if (layout.scale == ScaleLayout::Nibbles || (layout.scale == ScaleLayout::SixBits && b == 0))
      std::memcpy(out + b * kLineBytes + 4 * r, &word, 4);
    else if (layout.scale == ScaleLayout::SignedBytes)
      std::memcpy(out + b * 32 + 2 * r, &word, 2);
  }

  /// The dword of scales of sub-unit t of a super-block (see ScaleLayout).
  uint32_t scaleWord(const uint8_t *scales, const uint8_t *minimums, int64_t t, uint32_t current, uint32_t next) {
    const uint8_t *sc = scales + t * kSubunit / spec.group, *mn = minimums + t * kSubunit / spec.group;
    auto signedByte = [&](int64_t i) { return uint32_t(uint8_t(scaleReader.value(sc[i]))); };
    switch (layout.scale) {
    case ScaleLayout::SixBits:
      return sc[0] | sc[1] << 6 | mn[0] << 12 | mn[1] << 18 | (next >> (8 * t) & 255) << 24;
    case ScaleLayout::Nibbles: {
      uint32_t word = 0;
      for (int64_t a = 0; a < 4; ++a)
        word |= uint32_t(sc[a] | mn[a] << 4) << (8 * a);
      return word;
    }
    case ScaleLayout::SignedBytes:
      return signedByte(0) | signedByte(1) << 8 | signedByte(2) << 16 | signedByte(3) << 24;
    default:
      return signedByte(0) | signedByte(1) << 8 | (current & 0xffff) << 16;
    }
  }

  const PanelLayout &layout;
  const FormatSpec &spec;
  int64_t k, padded;
  IntReader codeReader, scaleReader, minimumReader;
  std::vector<uint8_t> codes; ///< [16, padded k]
  int64_t blocks;
};

} // namespace

static void packFloatPanel(const PanelLayout &layout, int64_t k, const uint8_t *const *rows, int64_t rowCount,
                           uint8_t *out) {
  std::memset(out, 0, layout.panelBytes(k));
  for (int64_t r = 0; r < rowCount; ++r)
    for (int64_t i = 0; i < k; ++i)
      std::memcpy(out + layout.floatOffset(r, i), rows[r] + i * layout.floatBytes, layout.floatBytes);
}

PanelPacker codegen::panelPacker(const PanelLayout &layout, const FormatSpec *spec, int64_t k) {
  if (layout.isFloat())
    return [&layout, k](const uint8_t *const *rows, int64_t rowCount, uint8_t *out) {
      packFloatPanel(layout, k, rows, rowCount, out);
    };
  return [packer = BlockPacker(layout, *spec, k)](const uint8_t *const *rows, int64_t rowCount, uint8_t *out) mutable {
    packer.pack(rows, rowCount, out);
  };
}

void codegen::packPanel(const PanelLayout &layout, const FormatSpec *spec, int64_t k, const uint8_t *const *rows,
                        int64_t rowCount, uint8_t *out) {
  panelPacker(layout, spec, k)(rows, rowCount, out);
}

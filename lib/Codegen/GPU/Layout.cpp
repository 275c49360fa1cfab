// From a format's description to the layout that GPU kernels read, and from stored rows to it.
#include "quern/Codegen/GpuLayout.h"

#include "quern/Codegen/PanelLayout.h"
#include "quern/Formats/IntReader.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <optional>

using namespace quern;
using namespace quern::codegen;
using formats::FormatSpec;
using formats::IntReader;

static GpuScales scalesOf(const FormatSpec &spec, const PanelLayout &panel) {
  switch (panel.scale) {
  case ScaleLayout::Half:
    return GpuScales::Half;
  case ScaleLayout::BFloat:
    return GpuScales::Power;
  case ScaleLayout::Single:
    return GpuScales::Single;
  case ScaleLayout::HalfAndMinimum:
    return GpuScales::HalfAndMinimum;
  case ScaleLayout::SixBits:
    return GpuScales::SixBits;
  case ScaleLayout::Nibbles:
    return GpuScales::Nibbles;
  case ScaleLayout::SignedBytes:
    return GpuScales::SignedBytes;
  default:
    return GpuScales::BytesAndHalf;
  }
}

/// What codes and scales are is classified as for panels; here only the arrangement differs.
Result<GpuLayout> GpuLayout::get(const FormatSpec &spec) {
  QUERN_ASSIGN(PanelLayout panel, PanelLayout::get(spec));
  GpuLayout layout;
  layout.planes.push_back(panel.lowBits);
  if (panel.highBits)
    layout.planes.push_back(panel.highBits);
  if (!panel.table.empty()) {
    layout.table = panel.digitTable(0);
    layout.digitShift = panel.digitShift;
    if (panel.digits() == 2)
      layout.digits = panel.digitTable(1);
  } else {
    layout.signedCodes = panel.signedCodes;
    if (panel.signedCodes && panel.zero != 128)
      return fail("format " + spec.name + ": signed codes less a zero point have no GPU kernel");
    layout.zero = panel.signedCodes ? 0 : panel.zero;
  }
  layout.scales = scalesOf(spec, panel);
  layout.group = panel.piece;
  layout.factor = spec.unit;
  layout.minimumAdded = panel.hasMinimum() && panel.minimumAdded;
  return layout;
}

GpuLayout GpuLayout::getFloat(unsigned bytes, bool bfloat) {
  GpuLayout layout;
  layout.floatBytes = bytes;
  layout.bfloat = bfloat;
  return layout;
}

unsigned GpuLayout::bits() const { return std::accumulate(planes.begin(), planes.end(), 0u); }

int64_t GpuLayout::unit() const {
  return isFloat() ? kGpuLoadBytes / floatBytes : 8 * kGpuLoadBytes / *std::ranges::min_element(planes);
}

std::vector<int64_t> GpuLayout::rowBytes(int64_t k) const {
  int64_t padded = units(k) * unit(), superBlocks = (padded + kSuperBlock - 1) / kSuperBlock;
  if (isFloat())
    return {padded * floatBytes};
  std::vector<int64_t> sizes;
  for (unsigned bits : planes)
    sizes.push_back(padded * bits / 8);
  switch (scales) {
  case GpuScales::Half:
    sizes.push_back(padded / 32 * 2);
    break;
  case GpuScales::Power:
    sizes.push_back(padded / 32);
    break;
  case GpuScales::Single:
    sizes.push_back(padded / 32 * 4);
    break;
  case GpuScales::HalfAndMinimum:
    sizes.insert(sizes.end(), 2, padded / 32 * 2);
    break;
  case GpuScales::SixBits:
    sizes.push_back(superBlocks * 16);
    break;
  case GpuScales::Nibbles:
    sizes.insert(sizes.end(), {padded / 16, superBlocks * 4});
    break;
  case GpuScales::SignedBytes:
  case GpuScales::BytesAndHalf:
    sizes.insert(sizes.end(), {padded / group, superBlocks * 2});
    break;
  }
  return sizes;
}

std::vector<int64_t> GpuLayout::regions(int64_t n, int64_t k) const {
  std::vector<int64_t> starts = {0};
  for (int64_t bytes : rowBytes(k))
    starts.push_back(gpuRegionBytes(starts.back() + n * bytes));
  return starts;
}

namespace {

/// Packs rows of one format.
class RowPacker {
public:
  RowPacker(const GpuLayout &layout, const FormatSpec &spec, int64_t k)
      : layout(layout), spec(spec), k(k), codeReader(spec.codes), codes(layout.units(k) * layout.unit()) {
    if (spec.scale.sub)
      scaleReader = IntReader(*spec.scale.sub);
    if (spec.minimum && spec.minimum->sub)
      minimumReader = IntReader(*spec.minimum->sub);
  }

  /// `to[i]` is the row's place in region i, all zeros.
  void pack(const uint8_t *row, const std::vector<uint8_t *> &to) {
    for (int64_t b = 0; b < k / spec.block; ++b)
      codeReader.read(row + b * spec.bytes, codes.data() + b * spec.block);
    unsigned below = 0;
    for (size_t plane = 0; plane < layout.planes.size(); ++plane) {
      packPlane(plane, below, to[plane]);
      below += layout.planes[plane];
    }
    for (int64_t b = 0; b < k / spec.block; ++b)
      packScales(row + b * spec.bytes, b, to);
  }

private:
  /// The bits of each code from `below` on.
  void packPlane(size_t plane, unsigned below, uint8_t *to) {
    unsigned bits = layout.planes[plane];
    int64_t units = layout.units(k), quads = layout.unit() / 4, quadsOfPiece = 32 / bits;
    for (int64_t u = 0; u < units; ++u)
      for (int64_t q = 0; q < quads; ++q) {
        int64_t piece = q / quadsOfPiece, shift = bits * (q % quadsOfPiece / 4);
        uint8_t *word = to + (piece * units + u) * kGpuLoadBytes + q % 4 * 4;
        for (int64_t i = 0; i < 4; ++i) {
          unsigned code = codes[u * layout.unit() + 4 * q + i] >> below & ((1u << bits) - 1);
          word[i] |= uint8_t(code << shift);
        }
      }
  }

  /// A plain number for each 32 k, as it is stored.
  void packPlain(const formats::Scale &scale, const uint8_t *block, int64_t b, uint8_t *to) {
    int64_t bytes = layout.scales == GpuScales::Single ? 4 : layout.scales == GpuScales::Power ? 1 : 2;
    for (int64_t piece = 0; piece < spec.block / 32; ++piece)
      std::memcpy(to + (b * spec.block / 32 + piece) * bytes,
                  block + scale.byte + scale.stride * (piece * 32 / spec.group), bytes);
  }

  void packScales(const uint8_t *block, int64_t b, const std::vector<uint8_t *> &to) {
    uint8_t *scales = to[layout.planes.size()];
    if (layout.hasSuperBlocks())
      return packSuperScales(block, b, scales, to.back());
    packPlain(spec.scale, block, b, scales);
    if (spec.minimum)
      packPlain(*spec.minimum, block, b, to.back());
  }

  /// `super`: the row's place in the last region.
  void packSuperScales(const uint8_t *block, int64_t b, uint8_t *scales, uint8_t *super) {
    uint8_t factors[kSuperBlock], minimums[kSuperBlock];
    scaleReader.read(block, factors);
    if (spec.minimum)
      minimumReader.read(block, minimums);
    if (layout.scales == GpuScales::SixBits)
      return packSixBits(block, factors, minimums, scales + 16 * b);
    int64_t groups = kSuperBlock / layout.group;
    bool nibbles = layout.scales == GpuScales::Nibbles;
    for (int64_t g = 0; g < groups; ++g)
      scales[b * groups + g] =
          nibbles ? uint8_t(factors[g] | minimums[g] << 4) : uint8_t(scaleReader.value(factors[g]));
    std::memcpy(super + (nibbles ? 4 : 2) * b, block + spec.scale.byte, 2);
    if (nibbles)
      std::memcpy(super + 4 * b + 2, block + spec.minimum->byte, 2);
  }

  void packSixBits(const uint8_t *block, const uint8_t *factors, const uint8_t *minimums, uint8_t *to) {
    uint32_t words[3] = {};
    for (int64_t g = 0; g < 8; ++g) {
      words[0] |= uint32_t(factors[g] & 15) << (4 * g);
      words[1] |= uint32_t(minimums[g] & 15) << (4 * g);
      words[2] |= uint32_t(factors[g] >> 4 | minimums[g] >> 4 << 2) << (4 * g);
    }
    std::memcpy(to, block + spec.scale.byte, 2);
    std::memcpy(to + 2, block + spec.minimum->byte, 2);
    std::memcpy(to + 4, words, 12);
  }

  const GpuLayout &layout;
  const FormatSpec &spec;
  int64_t k;
  IntReader codeReader, scaleReader, minimumReader;
  std::vector<uint8_t> codes;
};

} // namespace

void codegen::packGpuRows(const GpuLayout &layout, const FormatSpec *spec, int64_t count, int64_t k,
                          std::span<const uint8_t> stored, std::span<uint8_t *const> regions) {
  std::vector<int64_t> sizes = layout.rowBytes(k);
  std::optional<RowPacker> packer;
  if (spec)
    packer.emplace(layout, *spec, k);
  int64_t storedBytes = spec ? k / spec->block * spec->bytes : k * layout.floatBytes;
  std::vector<uint8_t *> to(regions.begin(), regions.begin() + sizes.size());
  for (int64_t row = 0; row < count; ++row) {
    const uint8_t *from = stored.data() + row * storedBytes;
    if (packer)
      packer->pack(from, to);
    else
      std::memcpy(to[0], from, storedBytes);
    for (size_t i = 0; i < sizes.size(); ++i)
      to[i] += sizes[i];
  }
}

void codegen::packGpuWeight(const GpuLayout &layout, const FormatSpec *spec, int64_t n, int64_t k,
                            std::span<const uint8_t> stored, std::span<uint8_t> out) {
  std::ranges::fill(out, uint8_t(0));
  std::vector<uint8_t *> regions;
  std::vector<int64_t> starts = layout.regions(n, k);
  starts.pop_back(); // the end
  for (int64_t start : starts)
    regions.push_back(out.data() + start);
  packGpuRows(layout, spec, n, k, stored, regions);
}

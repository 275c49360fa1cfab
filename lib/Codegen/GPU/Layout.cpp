// From a format's description to the layout that GPU kernels read, and from stored rows to it.
#include "quern/Codegen/GpuLayout.h"

#include "quern/Codegen/PanelLayout.h"
#include "quern/Formats/IntReader.h"

#include <algorithm>
#include <cstring>

using namespace quern;
using namespace quern::codegen;
using formats::FormatSpec;
using formats::IntReader;

/// What codes and scales are is classified as for panels; here only the arrangement differs.
Result<GpuLayout> GpuLayout::get(const FormatSpec &spec) {
  QUERN_ASSIGN(PanelLayout panel, PanelLayout::get(spec));
  GpuLayout layout;
  layout.planes.push_back(panel.lowBits);
  if (panel.highBits)
    layout.planes.push_back(panel.highBits);
  layout.signedCodes = panel.signedCodes;
  layout.zero = panel.signedCodes ? panel.zero - 128 : panel.zero;
  if (!panel.table.empty() || (panel.signedCodes && panel.zero != 128))
    return fail("format " + spec.name + ": codes of a table have no GPU kernel yet");
  switch (panel.scale) {
  case ScaleLayout::Half:
    layout.scales = GpuScales::Half;
    return layout;
  case ScaleLayout::HalfAndMinimum:
    layout.scales = GpuScales::HalfAndMinimum;
    layout.minimumAdded = panel.minimumAdded;
    return layout;
  case ScaleLayout::SixBits:
    layout.scales = GpuScales::SixBits;
    return layout;
  case ScaleLayout::SignedBytes:
    layout.scales = GpuScales::SignedBytes;
    layout.group = 16;
    return layout;
  default:
    return fail("format " + spec.name + ": scales of this kind have no GPU kernel yet");
  }
}

int64_t GpuLayout::unit() const { return 8 * kGpuLoadBytes / *std::min_element(planes.begin(), planes.end()); }

std::vector<int64_t> GpuLayout::rowBytes(int64_t k) const {
  int64_t padded = units(k) * unit();
  std::vector<int64_t> sizes;
  for (unsigned bits : planes)
    sizes.push_back(padded * bits / 8);
  if (scales == GpuScales::Half || scales == GpuScales::HalfAndMinimum)
    sizes.push_back(padded / 32 * 2);
  if (scales == GpuScales::HalfAndMinimum)
    sizes.push_back(padded / 32 * 2);
  if (scales == GpuScales::SixBits)
    sizes.push_back(padded / kSuperBlock * 16);
  if (scales == GpuScales::SignedBytes)
    sizes.insert(sizes.end(), {padded / 16, padded / kSuperBlock * 2});
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

  /// A plain number for each 32 k.
  void packHalves(const formats::Scale &scale, const uint8_t *block, int64_t b, uint8_t *to) {
    for (int64_t piece = 0; piece < spec.block / 32; ++piece)
      std::memcpy(to + (b * spec.block / 32 + piece) * 2, block + scale.byte + scale.stride * (piece * 32 / spec.group),
                  2);
  }

  void packScales(const uint8_t *block, int64_t b, const std::vector<uint8_t *> &to) {
    uint8_t *scales = to[layout.planes.size()];
    if (layout.scales == GpuScales::Half || layout.scales == GpuScales::HalfAndMinimum) {
      packHalves(spec.scale, block, b, scales);
      if (spec.minimum)
        packHalves(*spec.minimum, block, b, to[layout.planes.size() + 1]);
      return;
    }
    uint8_t factors[kSuperBlock], minimums[kSuperBlock];
    scaleReader.read(block, factors);
    if (layout.scales == GpuScales::SignedBytes) {
      for (int64_t g = 0; g < kSuperBlock / 16; ++g)
        scales[b * 16 + g] = uint8_t(scaleReader.value(factors[g]));
      std::memcpy(to[layout.planes.size() + 1] + 2 * b, block + spec.scale.byte, 2);
      return;
    }
    minimumReader.read(block, minimums);
    uint32_t words[3] = {};
    for (int64_t g = 0; g < 8; ++g) {
      words[0] |= uint32_t(factors[g] & 15) << (4 * g);
      words[1] |= uint32_t(minimums[g] & 15) << (4 * g);
      words[2] |= uint32_t(factors[g] >> 4 | minimums[g] >> 4 << 2) << (4 * g);
    }
    std::memcpy(scales + 16 * b, block + spec.scale.byte, 2);
    std::memcpy(scales + 16 * b + 2, block + spec.minimum->byte, 2);
    std::memcpy(scales + 16 * b + 4, words, 12);
  }

  const GpuLayout &layout;
  const FormatSpec &spec;
  int64_t k;
  IntReader codeReader, scaleReader, minimumReader;
  std::vector<uint8_t> codes;
};

} // namespace

void codegen::packGpuRows(const GpuLayout &layout, const FormatSpec &spec, int64_t count, int64_t k,
                          std::span<const uint8_t> stored, std::span<uint8_t *const> regions) {
  std::vector<int64_t> sizes = layout.rowBytes(k);
  RowPacker packer(layout, spec, k);
  std::vector<uint8_t *> to(regions.begin(), regions.end());
  for (int64_t row = 0; row < count; ++row) {
    packer.pack(stored.data() + row * (k / spec.block) * spec.bytes, to);
    for (size_t i = 0; i < sizes.size(); ++i)
      to[i] += sizes[i];
  }
}

void codegen::packGpuWeight(const GpuLayout &layout, const FormatSpec &spec, int64_t n, int64_t k,
                            std::span<const uint8_t> stored, std::span<uint8_t> out) {
  std::ranges::fill(out, uint8_t(0));
  std::vector<uint8_t *> regions;
  for (int64_t start : layout.regions(n, k))
    regions.push_back(out.data() + start);
  packGpuRows(layout, spec, n, k, stored, regions);
}

#include "BlockLayout.h"

#include "quern/Formats/IntegerBlocks.h"

#include <algorithm>

using namespace quern;
using namespace quern::import;
using formats::FormatSpec;
using formats::ScaleKind;

/// Whether the format is one of a scale and plain codes that hold `low` to `high`.
static bool holds(const FormatSpec &spec, ScaleKind scale, int low, int high) {
  int half = 1 << (spec.codes.bits() - 1), offset = spec.codes.offset;
  int least = spec.codes.isSigned ? -half : 0;
  return spec.block == kLayoutBlock && spec.group == kLayoutBlock && spec.scale.kind == scale &&
         low + offset >= least && high + offset < least + 2 * half;
}

namespace {
struct Extent {
  int low = 0, high = 0;
  bool halves = true; ///< all scales are f16 numbers
};
} // namespace

static Extent measure(const IntegerMatrix &matrix) {
  Extent extent;
  std::vector<int16_t> row(static_cast<size_t>(matrix.columns()));
  std::vector<float> scales(row.size() / kLayoutBlock);
  for (int64_t n = 0; n < matrix.rows(); ++n) {
    matrix.differences(n, row);
    matrix.scales(n, scales);
    auto [low, high] = std::ranges::minmax(row);
    extent.low = std::min<int>(extent.low, low);
    extent.high = std::max<int>(extent.high, high);
    extent.halves &= formats::areHalves(scales);
  }
  return extent;
}

static Result<const FormatSpec *> choose(const Extent &extent, const gguf::TypeTable &types) {
  ScaleKind kind = extent.halves ? ScaleKind::F16 : ScaleKind::F32;
  for (const char *name : {"q4_0", "q5_0", "q8_0", "i4_f32", "i5_f32", "i8_f32"})
    if (const FormatSpec *known = types.format(types.idOf(name)); known && holds(*known, kind, extent.low, extent.high))
      return known;
  return fail("integers less zero points go from " + std::to_string(extent.low) + " to " + std::to_string(extent.high) +
              ", which no block format holds; -128 to 127 would do");
}

/// Rows `first` to `first + count` as blocks of a format that holds them.
static void writeBlocks(const IntegerMatrix &matrix, const formats::IntegerBlocks &blocks, unsigned blockBytes,
                        int64_t first, int64_t count, uint8_t *block) {
  std::vector<int16_t> row(static_cast<size_t>(matrix.columns()));
  std::vector<float> scales(row.size() / kLayoutBlock);
  for (int64_t n = first; n < first + count; ++n) {
    matrix.differences(n, row);
    matrix.scales(n, scales);
    const int16_t *from = row.data();
    for (float scale : scales) {
      blocks.write(from, scale, block);
      from += kLayoutBlock;
      block += blockBytes;
    }
  }
}

Result<MadeWeight> import::toBlocks(std::shared_ptr<const IntegerMatrix> matrix, const gguf::TypeTable &types) {
  QUERN_ASSIGN(const FormatSpec *spec, choose(measure(*matrix), types));
  auto make = [matrix = std::move(matrix), blocks = formats::IntegerBlocks(*spec),
               bytes = spec->bytes](uint64_t first, uint64_t count, std::byte *out) {
    writeBlocks(*matrix, blocks, bytes, static_cast<int64_t>(first), static_cast<int64_t>(count),
                reinterpret_cast<uint8_t *>(out));
  };
  return MadeWeight{types.idOf(spec->name), std::move(make)};
}

#include "QuantWeight.h"

#include "quern/Formats/IntegerBlocks.h"

#include "mlir/AsmParser/AsmParser.h"

#include <algorithm>

using namespace mlir;
using namespace quern;
using namespace quern::transforms;

/// Weights of a block; each has one scale.
static constexpr int64_t kBlock = 32;

static std::vector<float> narrowed(ArrayRef<double> scales) { return {scales.begin(), scales.end()}; }

/// Sub-channel scales form a tensor of the matrix's rank, one element a block along each dimension.
static Result<QuantGrid> subChannelGrid(quant::UniformQuantizedSubChannelType type, int64_t n, int64_t k) {
  QuantGrid grid{n, k, 1, {}, {}};
  for (auto [axis, size] : type.getBlockSizeInfo())
    (axis == 0 ? grid.rows : grid.columns) = size;
  if (grid.rows <= 0 || grid.columns <= 0 || n % grid.rows != 0 || k % grid.columns != 0)
    return fail("its blocks do not divide the tensor's shape");
  grid.width = k / grid.columns;
  for (APFloat scale : type.getScales().getValues<APFloat>())
    grid.scales.push_back(float(scale.convertToDouble()));
  for (const APInt &zero : type.getZeroPoints().getValues<APInt>())
    grid.zeros.push_back(type.isSigned() ? zero.getSExtValue() : int64_t(zero.getZExtValue()));
  if (grid.scales.size() != size_t(n / grid.rows * grid.width))
    return fail("its scales do not match the tensor's shape");
  return grid;
}

Result<QuantGrid> QuantGrid::get(quant::QuantizedType type, int64_t n, int64_t k) {
  if (auto whole = dyn_cast<quant::UniformQuantizedType>(type))
    return QuantGrid{n, k, 1, narrowed(whole.getScale()), {whole.getZeroPoint()}};
  if (auto axis = dyn_cast<quant::UniformQuantizedPerAxisType>(type)) {
    bool byRow = axis.getQuantizedDimension() == 0;
    if (axis.getScales().size() != size_t(byRow ? n : k))
      return fail("its scales do not match the tensor's shape");
    return QuantGrid{byRow ? 1 : n, byRow ? k : 1, byRow ? 1 : k, narrowed(axis.getScales()), axis.getZeroPoints()};
  }
  if (auto blocks = dyn_cast<quant::UniformQuantizedSubChannelType>(type))
    return subChannelGrid(blocks, n, k);
  return fail("only types with scales and zero points are converted");
}

/// The codes, their zero point or table, for `low` to `high`; nibbles lie as in Q4_0, and higher bits before them, as
/// in Q5_0. `scaleBytes` come first.
static std::string describeCodes(int low, int high, unsigned scaleBytes, std::string &name, unsigned &bytes) {
  auto fits = [&](int bits) { return low >= -(1 << (bits - 1)) && high < 1 << (bits - 1); };
  auto nibblesAt = [](unsigned byte) {
    return "[4 bits at " + std::to_string(byte) + " + i mod 16 shift (i floordiv 16) * 4";
  };
  std::string table, nibbles = nibblesAt(scaleBytes);
  if (fits(4) || high - low < 16) {
    bytes = 16;
    if (fits(4)) {
      name = "i4";
      return "codes = " + nibbles + "] less 8";
    }
    int first = std::min(low, 127 - 15);
    for (int entry = first; entry < first + 16; ++entry)
      table += (table.empty() ? "" : ", ") + std::to_string(entry);
    name = "t4_" + std::to_string(first + 128);
    return "codes = " + nibbles + "], table = [" + table + "]";
  }
  if (fits(5) || fits(6)) {
    int more = fits(5) ? 1 : 2;
    name = "i" + std::to_string(4 + more);
    bytes = 16 + 4 * more;
    std::string each = std::to_string(8 / more), bits = std::to_string(more);
    return "codes = " + nibblesAt(scaleBytes + 4 * unsigned(more)) + ", " + bits + " bits at " +
           std::to_string(scaleBytes) + " + i floordiv " + each + " shift (i mod " + each + ") * " + bits + "] less " +
           (more == 1 ? "16" : "32");
  }
  name = "i8";
  bytes = 32;
  return "codes = signed [8 bits at " + std::to_string(scaleBytes) + " + i]";
}

/// The smallest format of blocks of 32, one scale each, that keeps differences of `low` to `high`.
static Result<dq::FormatAttr> chooseFormat(MLIRContext *context, int64_t low, int64_t high, bool half) {
  if (low < -128 || high > 127)
    return fail("integers less zero points go from " + std::to_string(low) + " to " + std::to_string(high) +
                ", but must fit a signed byte");
  std::string name, codes;
  unsigned bytes = 0, scaleBytes = half ? 2 : 4;
  codes = describeCodes(int(low), int(high), scaleBytes, name, bytes);
  std::string kind = half ? "f16" : "f32";
  std::string text = "#dq.format<" + name + "_" + kind + ", block = 32, bytes = " + std::to_string(scaleBytes + bytes) +
                     ", group = 32, " + codes + ", scale = " + kind + " at 0>";
  auto format = dyn_cast_or_null<dq::FormatAttr>(parseAttribute(text, context));
  if (!format)
    return fail("no format holds it");
  return format;
}

static std::vector<char> encode(const formats::FormatSpec &spec, const QuantGrid &grid, int64_t n, int64_t k,
                                ArrayRef<int16_t> differences) {
  formats::IntegerBlocks blocks(spec);
  std::vector<char> bytes(size_t(n * k / kBlock * spec.bytes));
  auto *block = reinterpret_cast<uint8_t *>(bytes.data());
  for (int64_t i = 0; i < n * k; i += kBlock, block += spec.bytes)
    blocks.write(differences.data() + i, grid.scales[grid.at(i / k, i % k)], block);
  return bytes;
}

Result<QuantWeight> transforms::toQuantWeight(RankedTensorType type, ArrayRef<int16_t> values) {
  if (type.getRank() != 2 || !type.hasStaticShape())
    return fail("only matrices of static shape are converted");
  if (values.empty())
    return fail("a matrix without elements is no weight");
  int64_t n = type.getDimSize(0), k = type.getDimSize(1);
  auto quantized = cast<quant::QuantizedType>(type.getElementType());
  if (!quantized.getExpressedType().isF32())
    return fail("only types that express f32 are converted");
  QUERN_ASSIGN(QuantGrid grid, QuantGrid::get(quantized, n, k));
  if (k % kBlock != 0 || grid.columns % kBlock != 0)
    return fail("scales and rows must span multiples of 32 along the last dimension");
  for (int64_t zero : grid.zeros)
    if (zero < INT16_MIN || zero > INT16_MAX)
      return fail("the zero point " + std::to_string(zero) + " is far from all bytes");
  auto difference = [&](size_t i) { return values[i] - grid.zeros[grid.at(int64_t(i) / k, int64_t(i) % k)]; };
  int64_t low = difference(0), high = low;
  for (size_t i = 1; i < values.size(); ++i) {
    low = std::min(low, difference(i));
    high = std::max(high, difference(i));
  }
  bool half = formats::areHalves(grid.scales);
  QUERN_ASSIGN(dq::FormatAttr format, chooseFormat(type.getContext(), low, high, half));
  std::vector<int16_t> differences;
  for (size_t i = 0; i < values.size(); ++i)
    differences.push_back(int16_t(difference(i)));
  return QuantWeight{dq::BlockType::get(type.getContext(), format),
                     encode(format.getSpec(), grid, n, k, differences)};
}

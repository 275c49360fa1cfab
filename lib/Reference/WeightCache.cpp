#include "WeightCache.h"

#include "BlockReader.h"
#include "Halves.h"
#include "quern/Support/Threads.h"

#include <cstring>
#include <numeric>

using namespace quern;
using namespace quern::reference;

void reference::parallelFor(int64_t count, unsigned threads, llvm::function_ref<void(int64_t, int64_t)> body) {
  int64_t shares = std::clamp<int64_t>(threads, 1, std::max<int64_t>(count, 1));
  runOnThreads(unsigned(shares),
               [&](unsigned share) { body(count * share / shares, count * (share + 1) / shares); });
}

void Weight::decodeRow(int64_t row, float *out) const {
  const uint8_t *from = bytes.data() + row * rowBytes();
  if (spec) {
    BlockReader reader(*spec);
    for (int64_t k = 0; k < width; ++k)
      out[k] = reader.weight(from + k / spec->block * spec->bytes, k % spec->block);
    return;
  }
  if (element.isF32()) {
    std::memcpy(out, from, width * sizeof(float));
    return;
  }
  for (int64_t k = 0; k < width; ++k) {
    uint16_t bits;
    std::memcpy(&bits, from + 2 * k, sizeof bits);
    out[k] = element.isBF16() ? bfloatToFloat(bits) : halfToFloat(bits);
  }
}

void Weight::splitRow(int64_t row, int64_t piece, int16_t *codes, float *scales, float *addends) const {
  BlockReader reader(*spec);
  const uint8_t *from = bytes.data() + row * rowBytes();
  for (int64_t k = 0; k < width; ++k) {
    const uint8_t *block = from + k / spec->block * spec->bytes;
    codes[k] = int16_t(reader.code(block, k % spec->block));
    if (k % piece != 0)
      continue;
    unsigned group = k % spec->block / spec->group;
    scales[k / piece] = reader.scale(block, group);
    if (addends)
      addends[k / piece] = reader.addend(block, group);
  }
}

Result<const Weight *> WeightCache::stored(dq::SourceOp op) {
  auto [place, isNew] = weights.try_emplace(op);
  Weight &weight = place->second;
  if (!isNew)
    return &weight;
  auto type = mlir::cast<mlir::RankedTensorType>(op.getType());
  auto refuse = [&](const std::string &why) {
    weights.erase(place);
    return fail("weight '" + op.getSymName().str() + "': " + why);
  };
  weight.element = type.getElementType();
  weight.width = type.getShape().back();
  weight.rows = weight.width ? type.getNumElements() / weight.width : 0;
  if (auto block = mlir::dyn_cast<dq::BlockType>(weight.element))
    weight.spec = &block.getFormat().getSpec();
  else if (!weight.element.isF32() && !weight.element.isF16() && !weight.element.isBF16())
    return refuse("elements of this type have no reference; f32, f16, bf16 and block formats have");
  auto rows = transforms::StoredRows::get(op, source);
  if (!rows)
    return refuse(rows.error().message);
  auto bytes = rows->read(0, weight.rows, weight.room);
  if (!bytes)
    return refuse(bytes.error().message);
  weight.bytes = *bytes;
  return &weight;
}

Result<std::vector<int32_t>> WeightCache::integers(dq::SourceOp op) {
  if (!mlir::cast<mlir::RankedTensorType>(op.getType()).getElementType().isInteger(32))
    return fail("weight '" + op.getSymName().str() + "' is no vector of i32");
  std::vector<std::byte> room;
  QUERN_ASSIGN(std::span<const uint8_t> bytes, op.readBytes(source, 0, op.getByteSize(), room));
  std::vector<int32_t> values(bytes.size() / sizeof(int32_t));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

Result<std::span<const float>> WeightCache::floats(dq::SourceOp op) {
  QUERN_ASSIGN(const Weight *weight, stored(op));
  auto [place, isNew] = decoded.try_emplace(op);
  std::vector<float> &values = place->second;
  if (isNew) {
    values.resize(weight->rows * weight->width);
    parallelFor(weight->rows, threads, [&](int64_t first, int64_t last) {
      for (int64_t row = first; row < last; ++row)
        weight->decodeRow(row, values.data() + row * weight->width);
    });
  }
  return std::span<const float>(values);
}

Result<const SplitWeight *> WeightCache::split(dq::SourceOp op) {
  QUERN_ASSIGN(const Weight *weight, stored(op));
  if (unsigned group = weight->spec->group; group != kAct8Sum && group % kAct8Group != 0)
    return fail("weight '" + op.getSymName().str() + "': groups of " + std::to_string(group) +
                " have no fold; groups of 16 and of multiples of 32 have");
  auto [place, isNew] = apart.try_emplace(op);
  SplitWeight &out = place->second;
  if (!isNew)
    return &out;
  out.piece = std::min<int64_t>(weight->spec->group, kAct8Group);
  int64_t pieces = weight->width / out.piece;
  out.codes.resize(weight->rows * weight->width);
  out.scales.resize(weight->rows * pieces);
  out.addends.resize(weight->spec->minimum ? weight->rows * pieces : 0);
  parallelFor(weight->rows, threads, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row)
      weight->splitRow(row, out.piece, out.codes.data() + row * weight->width, out.scales.data() + row * pieces,
                       out.addends.empty() ? nullptr : out.addends.data() + row * pieces);
  });
  return &out;
}

Result<std::span<const double>> WeightCache::sums(dq::SourceOp op) {
  QUERN_ASSIGN(const Weight *weight, stored(op));
  auto [place, isNew] = rowSums.try_emplace(op);
  std::vector<double> &sums = place->second;
  if (isNew) {
    sums.resize(weight->rows);
    parallelFor(weight->rows, threads, [&](int64_t first, int64_t last) {
      std::vector<float> values(weight->width);
      for (int64_t row = first; row < last; ++row) {
        weight->decodeRow(row, values.data());
        sums[row] = std::accumulate(values.begin(), values.end(), 0.0);
      }
    });
  }
  return std::span<const double>(sums);
}

#include "Matrix.h"

#include "quern/Support/Half.h"

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace quern;
using namespace quern::import;
using namespace quern::import::language;

/// Rows that are compared together; where they lie as columns, a line of the cache holds 16 or 32.
static constexpr int64_t kRowsAtOnce = 128;

float Floats::at(int64_t n, int64_t g) const {
  auto index = static_cast<size_t>(base + n * row + g * column);
  if (type == onnx::TensorProto::FLOAT) {
    float value;
    std::memcpy(&value, bytes.data() + 4 * index, 4);
    return value;
  }
  uint16_t half;
  std::memcpy(&half, bytes.data() + 2 * index, 2);
  return type == onnx::TensorProto::BFLOAT16 ? bfloatToFloat(half) : halfToFloat(half);
}

int Matrix::difference(int64_t row, int64_t column) const {
  int64_t g = column / group;
  int z = zeros ? zeros->at(row, g) : floatZeros ? static_cast<int>(floatZeros->at(row, g)) : zero;
  return codes->at(row, column) - z;
}

void Matrix::differences(int64_t row, std::span<int16_t> out) const {
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = static_cast<int16_t>(difference(row, static_cast<int64_t>(i)));
}

void Matrix::scales(int64_t row, std::span<float> out) const {
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = values.at(row, static_cast<int64_t>(i) * kLayoutBlock / group);
}

float Matrix::element(int64_t row, int64_t column) const {
  if (!codes)
    return values.at(row, column);
  int64_t g = column / group;
  if (floatZeros)
    return (static_cast<float>(codes->at(row, column)) - floatZeros->at(row, g)) * values.at(row, g);
  return static_cast<float>(difference(row, column)) * values.at(row, g);
}

bool Matrix::sameAs(const Matrix &other) const {
  const Floats &a = values, &b = other.values;
  if (n != other.n || k != other.k || a.type != b.type || group != other.group || isQuantized() != other.isQuantized())
    return false;
  if (codes)
    return a == b && codes == other.codes && zeros == other.zeros && floatZeros == other.floatZeros &&
           zero == other.zero;
  size_t rowBytes = static_cast<size_t>(k) * values.size();
  std::vector<std::byte> ours(static_cast<size_t>(std::min(kRowsAtOnce, n)) * rowBytes), theirs(ours.size());
  for (int64_t row = 0; a != b && row < n; row += kRowsAtOnce) { // exporters fold a table's transpose into a copy
    auto count = static_cast<uint64_t>(std::min(kRowsAtOnce, n - row));
    copyFloats(static_cast<uint64_t>(row), count, ours.data());
    other.copyFloats(static_cast<uint64_t>(row), count, theirs.data());
    if (std::memcmp(ours.data(), theirs.data(), count * rowBytes) != 0)
      return false;
  }
  return true;
}

Matrix Matrix::slice(int64_t first, int64_t count) const {
  Matrix out = *this;
  out.n = count;
  auto move = [&](auto &part) { part.base += first * part.row; };
  move(out.values);
  if (out.codes)
    move(*out.codes);
  if (out.zeros)
    move(*out.zeros);
  if (out.floatZeros)
    move(*out.floatZeros);
  return out;
}

bool Matrix::fitsBlocks() const {
  if (k % kLayoutBlock != 0 || group % kLayoutBlock != 0)
    return false;
  for (int64_t row = 0; floatZeros && row < n; ++row)
    for (int64_t g = 0; g < k / group; ++g)
      if (float z = floatZeros->at(row, g); z != std::nearbyint(z) || std::fabs(z) > 255)
        return false;
  return true;
}

/// Rows `first` to `first + count` of elements of `Bits`, one after another at `out`.
template <typename Bits>
static void copyRows(const Floats &from, int64_t k, int64_t first, int64_t count, std::byte *out) {
  constexpr int64_t kTile = 64; // columns that stay in the cache while they and rows change places
  const std::byte *start = from.bytes.data() + static_cast<size_t>(from.base + first * from.row) * sizeof(Bits);
  if (from.column == 1 && from.row == k) {
    std::memcpy(out, start, static_cast<size_t>(count * k) * sizeof(Bits));
    return;
  }
  for (int64_t tile = 0; tile < k; tile += kTile)
    for (int64_t row = 0; row < count; ++row)
      for (int64_t column = tile; column < std::min(tile + kTile, k); ++column)
        std::memcpy(out + static_cast<size_t>(row * k + column) * sizeof(Bits),
                    start + static_cast<size_t>(row * from.row + column * from.column) * sizeof(Bits), sizeof(Bits));
}

/// Of a matrix of floats, as they are.
void Matrix::copyFloats(uint64_t first, uint64_t count, std::byte *out) const {
  auto copy = values.size() == 4 ? copyRows<uint32_t> : copyRows<uint16_t>;
  copy(values, k, static_cast<int64_t>(first), static_cast<int64_t>(count), out);
}

/// Of a matrix of integers, as F32.
void Matrix::computeFloats(uint64_t first, uint64_t count, std::byte *out) const {
  for (auto row = static_cast<int64_t>(first); row < static_cast<int64_t>(first + count); ++row)
    for (int64_t column = 0; column < k; ++column, out += sizeof(float)) {
      float value = element(row, column);
      std::memcpy(out, &value, sizeof value);
    }
}

MadeWeight Matrix::made(const gguf::TypeTable &types) const {
  constexpr uint32_t kF32 = 0, kF16 = 1, kBF16 = 30; // GGUF's tensor types
  auto self = std::make_shared<Matrix>(*this);
  auto calling = [self](void (Matrix::*make)(uint64_t, uint64_t, std::byte *) const) {
    return [self, make](uint64_t first, uint64_t count, std::byte *out) { ((*self).*make)(first, count, out); };
  };
  if (!codes)
    return {values.size() == 4 ? kF32 : values.type == onnx::TensorProto::BFLOAT16 ? kBF16 : kF16,
            calling(&Matrix::copyFloats)};
  if (fitsBlocks())
    if (auto blocks = toBlocks(self, types))
      return *std::move(blocks);
  return {kF32, calling(&Matrix::computeFloats)};
}

#include "Matrix.h"

#include "quern/Support/Half.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

using namespace quern;
using namespace quern::import;
using namespace quern::import::language;

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
  bool sameFloats = a.bytes.data() == b.bytes.data() && a.base == b.base && a.row == b.row && a.column == b.column;
  if (codes)
    return sameFloats && codes->bytes.data() == other.codes->bytes.data() && codes->base == other.codes->base &&
           codes->row == other.codes->row;
  for (int64_t row = 0; !sameFloats && row < n; ++row) // exporters fold the transpose of a table into a copy
    for (int64_t column = 0; column < k; ++column)
      if (std::bit_cast<uint32_t>(a.at(row, column)) != std::bit_cast<uint32_t>(b.at(row, column)))
        return false;
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

/// Elements of `Bits` as they are, row after row.
template <typename Bits> static std::vector<std::byte> copyRows(const Matrix &matrix) {
  std::vector<std::byte> out(static_cast<size_t>(matrix.n * matrix.k) * sizeof(Bits));
  const std::byte *from = matrix.values.bytes.data();
  const Floats &at = matrix.values;
  if (at.column == 1 && at.row == matrix.k) {
    std::memcpy(out.data(), from + static_cast<size_t>(at.base) * sizeof(Bits), out.size());
    return out;
  }
  auto *to = out.data();
  constexpr int64_t kTile = 64; // rows and columns that stay in the cache while they change places
  for (int64_t rows = 0; rows < matrix.n; rows += kTile)
    for (int64_t columns = 0; columns < matrix.k; columns += kTile)
      for (int64_t row = rows; row < std::min(rows + kTile, matrix.n); ++row)
        for (int64_t column = columns; column < std::min(columns + kTile, matrix.k); ++column)
          std::memcpy(to + static_cast<size_t>(row * matrix.k + column) * sizeof(Bits),
                      from + static_cast<size_t>(at.base + row * at.row + column * at.column) * sizeof(Bits),
                      sizeof(Bits));
  return out;
}

Result<BlockWeight> Matrix::toTensor(const gguf::TypeTable &types) const {
  if (!codes && values.type == onnx::TensorProto::FLOAT)
    return BlockWeight{0, copyRows<uint32_t>(*this)};
  if (!codes)
    return BlockWeight{values.type == onnx::TensorProto::BFLOAT16 ? 30u : 1u, copyRows<uint16_t>(*this)};
  if (fitsBlocks())
    if (auto made = toBlocks(std::make_shared<Matrix>(*this), types)) {
      const gguf::TypeInfo &type = *types.find(made->typeId);
      BlockWeight out{made->typeId, std::vector<std::byte>(static_cast<size_t>(n * k) / type.block * type.bytes)};
      made->rows(0, static_cast<uint64_t>(n), out.bytes.data());
      return out;
    }
  BlockWeight out{0, std::vector<std::byte>(static_cast<size_t>(n * k) * sizeof(float))};
  std::byte *to = out.bytes.data();
  for (int64_t row = 0; row < n; ++row)
    for (int64_t column = 0; column < k; ++column, to += sizeof(float)) {
      float value = element(row, column);
      std::memcpy(to, &value, sizeof value);
    }
  return out;
}

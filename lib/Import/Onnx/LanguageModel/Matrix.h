// A constant matrix [N, K] of the graph, N outputs and K inputs, however the file stores it: floats in either order, or
// small integers with scales and zero points in the layouts of ONNX's operators. Nothing is computed that need not be.
#ifndef QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_MATRIX_H
#define QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_MATRIX_H

#include "../../BlockLayout.h"
#include "Graph.h"

namespace quern::import::language {

/// Small integers packed lowest bits first, element after element: (n, g) at `base + n * row + g * column`.
struct Integers {
  std::span<const std::byte> bytes;
  int bits = 8;
  bool isSigned = false;
  int64_t base = 0, row = 0, column = 0;

  int at(int64_t n, int64_t g) const {
    int64_t bit = (base + n * row + g * column) * bits;
    auto value = std::to_integer<int>(bytes[static_cast<size_t>(bit / 8)]) >> (bit % 8) & ((1 << bits) - 1);
    return isSigned && value >> (bits - 1) ? value - (1 << bits) : value;
  }
  /// Whether they lie in the same place, told in the same way.
  bool operator==(const Integers &other) const {
    return bytes.data() == other.bytes.data() && bits == other.bits && isSigned == other.isSigned &&
           base == other.base && row == other.row && column == other.column;
  }
};

/// Floats of 32 or 16 bits, (n, g) likewise.
struct Floats {
  std::span<const std::byte> bytes;
  int32_t type = onnx::TensorProto::FLOAT;
  int64_t base = 0, row = 0, column = 0;

  float at(int64_t n, int64_t g) const;
  size_t size() const { return type == onnx::TensorProto::FLOAT ? 4 : 2; } ///< bytes of one
  /// Whether they lie in the same place, told in the same way.
  bool operator==(const Floats &other) const {
    return bytes.data() == other.bytes.data() && type == other.type && base == other.base && row == other.row &&
           column == other.column;
  }
};

class Matrix : public IntegerMatrix {
public:
  int64_t n = 0, k = 0;
  std::string name; ///< of its tensor
  /// Floats: the values. Integers: (codes - zeros) * values, where `group` columns share a scale and a zero point.
  Floats values;
  std::optional<Integers> codes, zeros;
  std::optional<Floats> floatZeros;
  int zero = 0;      ///< where neither of `zeros` and `floatZeros` is there
  int64_t group = 0; ///< 0: floats

  int64_t rows() const override { return n; }
  int64_t columns() const override { return k; }
  void differences(int64_t row, std::span<int16_t> out) const override;
  void scales(int64_t row, std::span<float> out) const override;

  bool isQuantized() const { return codes.has_value(); }
  /// Whether one can stand for both: the same tensor, or floats that are the same.
  bool sameAs(const Matrix &other) const;
  /// Rows `first` to `first + count`.
  Matrix slice(int64_t first, int64_t count) const;
  /// Rows as GGUF stores them, made when they are read: floats as they are, integers in block formats. Integers that no
  /// block format holds (groups that are no multiple of 32, zero points with a fraction, wide differences) become the
  /// F32 that ONNX computes. What the matrix lies in must outlive it.
  MadeWeight made(const gguf::TypeTable &types) const;

private:
  void copyFloats(uint64_t first, uint64_t count, std::byte *out) const;
  void computeFloats(uint64_t first, uint64_t count, std::byte *out) const;
  bool fitsBlocks() const;
  int difference(int64_t row, int64_t column) const;
  float element(int64_t row, int64_t column) const;
};

/// The constant that a product's second factor is, as [N, K] for x W^T; `transposed`: the product is x W. Looks through
/// Transpose, casts and DequantizeLinear. None if the value is no constant matrix; an error if its layout is unknown.
Result<std::optional<Matrix>> matrixOf(const Graph &graph, const std::string &value, bool transposed);

/// The weight of a MatMulNBits, or the table of a GatherBlockQuantized.
Result<Matrix> nBitsMatrix(const Graph &graph, const GraphNode &node);
Result<Matrix> gatheredMatrix(const Graph &graph, const GraphNode &node);

/// A MatMulInteger's weight [K, N] with its zero points, times `scale`.
Result<Matrix> integerMatrix(const Graph &graph, const GraphNode &node, const std::string &scale);

} // namespace quern::import::language

#endif // QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_MATRIX_H

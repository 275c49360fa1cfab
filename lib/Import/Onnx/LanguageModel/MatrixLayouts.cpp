// Where the elements, scales and zero points of each operator's constant matrices lie. Sizes are compared with the
// bytes that are there before anything is read.
#include "Matrix.h"

#include "quern/Support/Quoted.h"

#include <algorithm>

using namespace quern;
using namespace quern::import;
using namespace quern::import::language;

using Type = onnx::TensorProto; // for its numbers

/// The largest size, which keeps products of two inside 64 bits.
static constexpr int64_t kMost = int64_t(1) << 28;

static bool isFloat(int32_t type) { return type == Type::FLOAT || type == Type::FLOAT16 || type == Type::BFLOAT16; }

/// Width and sign of small integers; of the numbers that the installed classes do not know too.
static std::optional<Integers> integersOf(int32_t type) {
  switch (type) {
  case Type::UINT8:
    return Integers{{}, 8, false};
  case Type::INT8:
    return Integers{{}, 8, true};
  case 21:
    return Integers{{}, 4, false};
  case 22:
    return Integers{{}, 4, true};
  case 25:
    return Integers{{}, 2, false};
  case 26:
    return Integers{{}, 2, true};
  }
  return std::nullopt;
}

/// A constant of `count` floats (any number if it is negative).
static Result<Floats> floatsAt(const Graph &graph, const GraphNode &node, const std::string &value, int64_t count) {
  const Constant *tensor = graph.constantBehind(value);
  if (!tensor || !isFloat(tensor->type))
    return graph.wrong("node " + node.describe(), "needs " + inQuotes(value) + " as a constant of floats");
  QUERN_ASSIGN(std::span<const std::byte> bytes, graph.data(*tensor));
  int64_t size = tensor->type == Type::FLOAT ? 4 : 2;
  if (count >= 0 && static_cast<int64_t>(bytes.size()) != count * size)
    return graph.wrong("node " + node.describe(), "needs " + std::to_string(count) + " elements in " +
                                                           inQuotes(value) + ", which has " +
                                                           std::to_string(bytes.size() / size));
  return Floats{bytes, tensor->type};
}

static Result<Matrix> plainMatrix(const Graph &graph, const Constant &tensor, bool transposed) {
  QUERN_ASSIGN(std::span<const std::byte> bytes, graph.data(tensor));
  Matrix out;
  int64_t rows = tensor.shape[0], columns = tensor.shape[1];
  out.name = tensor.name;
  out.n = transposed ? columns : rows;
  out.k = transposed ? rows : columns;
  out.values = {bytes, tensor.type, 0, transposed ? 1 : columns, transposed ? columns : 1};
  return out;
}

/// A matrix of codes that lie as the tensor has them; scales are still to be said.
static Result<Matrix> codeMatrix(const Graph &graph, const Constant &tensor, Integers codes, bool transposed) {
  QUERN_ASSIGN(Matrix out, plainMatrix(graph, tensor, transposed));
  codes.bytes = out.values.bytes;
  codes.row = out.values.row;
  codes.column = out.values.column;
  out.codes = codes;
  return out;
}

/// Scales and zero points of a DequantizeLinear: one for all, for each index of an axis, or for each block along it.
static Result<Matrix> dequantized(const Graph &graph, const GraphNode &node, bool transposed) {
  auto wrong = [&](const std::string &what) { return graph.wrong("node " + node.describe(), what); };
  const Constant *tensor = graph.constant(node.input(0)), *scale = graph.constant(node.input(1));
  std::optional<Integers> codes = tensor ? integersOf(tensor->type) : std::nullopt;
  if (!codes || !scale || tensor->shape.size() != 2)
    return wrong("does not make a matrix of constant integers of 2, 4 or 8 bits and constant scales");
  QUERN_ASSIGN(Matrix out, codeMatrix(graph, *tensor, *codes, transposed));
  int64_t axis = node.integer("axis", 1), block = node.integer("block_size", 0);
  axis += axis < 0 ? 2 : 0;
  const std::vector<int64_t> &sizes = scale->shape;
  if (axis < 0 || axis > 1 || block < 0 || block > kMost)
    return wrong("names an axis that a matrix does not have");
  bool alongK = (axis == 1) != transposed;
  int64_t length = tensor->shape[size_t(axis)], row = 0, column = 0, count = 1;
  out.group = out.k;
  if (sizes.size() == 2 && block > 0) {
    if (!alongK && block > 1)
      return wrong("has blocks along the outputs of a product; only blocks along its inputs are supported");
    if (sizes[size_t(axis)] != (length + block - 1) / block || sizes[size_t(1 - axis)] != tensor->shape[size_t(1 - axis)])
      return wrong("its scales do not fit its blocks");
    out.group = alongK ? block : 1;
    row = transposed ? 1 : sizes[1];
    column = transposed ? sizes[1] : 1;
    count = sizes[0] * sizes[1];
  } else if (sizes.size() == 1 && !(sizes[0] == 1 && length != 1)) {
    if (sizes[0] != length)
      return wrong("has " + std::to_string(sizes[0]) + " scales for an axis of " + std::to_string(length));
    (alongK ? column : row) = 1;
    out.group = alongK ? 1 : out.k;
    count = length;
  } else if (sizes.size() > 1) {
    return wrong("has scales of an unknown layout");
  }
  QUERN_ASSIGN(out.values, floatsAt(graph, node, node.input(1), count));
  out.values.row = row;
  out.values.column = column;
  if (node.input(2).empty())
    return out;
  const Constant *zeros = graph.constant(node.input(2));
  if (!zeros || zeros->type != tensor->type)
    return wrong("its zero points are no constant of the type of its integers");
  QUERN_ASSIGN(std::span<const std::byte> bytes, graph.data(*zeros));
  out.zeros = Integers{bytes, codes->bits, codes->isSigned, 0, row, column};
  if (static_cast<int64_t>(bytes.size()) != (count * codes->bits + 7) / 8)
    return wrong("has another number of zero points than of scales");
  return out;
}

Result<std::optional<Matrix>> language::matrixOf(const Graph &graph, const std::string &value, bool transposed) {
  std::string at = value;
  while (const GraphNode *node = graph.producer(at)) {
    if (node->op == "Transpose") {
      if (auto order = node->integers("perm"); order && !(order->size() == 2 && order->front() == 1))
        return std::nullopt;
      transposed = !transposed;
    } else if (node->op == "DequantizeLinear") {
      if (!graph.constant(node->input(0)))
        return std::nullopt;
      QUERN_ASSIGN(Matrix made, dequantized(graph, *node, transposed));
      return std::optional(std::move(made));
    } else if (node->op != "Identity" && node->op != "Cast") {
      return std::nullopt;
    }
    at = node->input(0);
  }
  const Constant *tensor = graph.constant(at);
  if (!tensor || tensor->shape.size() != 2 || !isFloat(tensor->type))
    return std::nullopt;
  QUERN_ASSIGN(Matrix made, plainMatrix(graph, *tensor, transposed));
  return std::optional(std::move(made));
}

/// Zero points of a packed matrix: bytes of them, each row padded to whole bytes, or floats.
static Status addZeros(const Graph &graph, const GraphNode &node, const std::string &value, Matrix &matrix,
                       int64_t blocks) {
  const Constant *tensor = graph.constantBehind(value);
  if (tensor && isFloat(tensor->type)) {
    QUERN_ASSIGN(matrix.floatZeros, floatsAt(graph, node, value, matrix.n * blocks));
    matrix.floatZeros->row = blocks;
    matrix.floatZeros->column = 1;
    return {};
  }
  int bits = matrix.codes->bits;
  int64_t bytesARow = (blocks * bits + 7) / 8;
  if (!tensor || tensor->type != Type::UINT8)
    return graph.wrong("node " + node.describe(), "its zero points are neither bytes nor floats");
  QUERN_ASSIGN(std::span<const std::byte> bytes, graph.data(*tensor));
  if (static_cast<int64_t>(bytes.size()) != matrix.n * bytesARow)
    return graph.wrong("node " + node.describe(), "has another number of zero points than its shape asks for");
  matrix.zeros = Integers{bytes, bits, false, 0, bytesARow * 8 / bits, 1};
  return {};
}

Result<Matrix> language::nBitsMatrix(const Graph &graph, const GraphNode &node) {
  auto wrong = [&](const std::string &what) { return graph.wrong("node " + node.describe(), what); };
  Matrix out;
  out.n = node.integer("N", 0);
  out.k = node.integer("K", 0);
  out.group = node.integer("block_size", 0);
  int bits = static_cast<int>(node.integer("bits", 4));
  if (out.n < 1 || out.k < 1 || out.n > kMost || out.k > kMost || out.group < 16 || out.group > kMost ||
      out.group % 2 != 0 || (bits != 2 && bits != 4 && bits != 8))
    return wrong("its N, K, block_size or bits are none that the operator has");
  if (node.integer("weight_prepacked", 0) != 0)
    return wrong("its weight is packed for one device already; export the model without that");
  const Constant *tensor = graph.constant(node.input(1));
  if (!tensor || tensor->type != Type::UINT8)
    return wrong("its weight is no constant of bytes");
  int64_t blocks = (out.k + out.group - 1) / out.group, padded = blocks * out.group;
  QUERN_ASSIGN(std::span<const std::byte> bytes, graph.data(*tensor));
  if (static_cast<int64_t>(bytes.size()) != out.n * padded * bits / 8)
    return wrong("its weight has " + std::to_string(bytes.size()) + " bytes, but its attributes ask for " +
                 std::to_string(out.n * padded * bits / 8));
  out.name = tensor->name;
  out.codes = Integers{bytes, bits, false, 0, padded, 1};
  out.zero = 1 << (bits - 1);
  QUERN_ASSIGN(out.values, floatsAt(graph, node, node.input(2), out.n * blocks));
  out.values.row = blocks;
  out.values.column = 1;
  if (!node.input(3).empty())
    QUERN_TRY(addZeros(graph, node, node.input(3), out, blocks));
  if (node.input(4).empty())
    return out;
  const Constant *order = graph.constant(node.input(4));
  QUERN_ASSIGN(std::span<const std::byte> groups,
               order ? graph.data(*order) : Result<std::span<const std::byte>>());
  for (int64_t column = 0; column < out.k; ++column) {
    int32_t stored = -1;
    if (static_cast<int64_t>(groups.size()) >= 4 * (column + 1))
      std::copy_n(groups.data() + 4 * column, 4, reinterpret_cast<std::byte *>(&stored));
    if (stored != column / out.group)
      return wrong("its columns belong to blocks in an order of their own (g_idx), which is not supported");
  }
  return out;
}

Result<Matrix> language::gatheredMatrix(const Graph &graph, const GraphNode &node) {
  auto wrong = [&](const std::string &what) { return graph.wrong("node " + node.describe(), what); };
  const Constant *tensor = graph.constantBehind(node.input(0)), *scales = graph.constantBehind(node.input(2));
  std::optional<Integers> codes = tensor ? integersOf(tensor->type) : std::nullopt;
  if (!codes || !scales || scales->shape.size() < 1 || tensor->shape.size() < 2 || tensor->shape[0] < 1)
    return wrong("its table is no constant of integers with scales");
  if (node.integer("gather_axis", 0) != 0)
    return wrong("looks up along another axis than the first");
  if (int64_t axis = node.integer("quantize_axis", 1); axis != 1 && axis != -1) // of the table as a matrix
    return wrong("is quantized along another axis than the second");
  bool packed = tensor->type == Type::UINT8;
  int bits = packed ? static_cast<int>(node.integer("bits", 4)) : codes->bits;
  if (bits != 2 && bits != 4 && bits != 8)
    return wrong("has elements of " + std::to_string(bits) + " bits, which is not supported");
  Matrix out;
  out.name = tensor->name;
  out.n = tensor->shape[0];
  out.group = node.integer("block_size", 128);
  QUERN_ASSIGN(std::span<const std::byte> bytes, graph.data(*tensor));
  out.k = static_cast<int64_t>(bytes.size()) * 8 / bits / out.n;
  if (out.group < 1 || out.group > kMost || out.k < 1 || out.n * out.k * bits != static_cast<int64_t>(bytes.size()) * 8)
    return wrong("its table has an unknown layout");
  int64_t blocks = (out.k + out.group - 1) / out.group;
  out.codes = Integers{bytes, bits, codes->isSigned, 0, out.k, 1};
  out.zero = packed ? 1 << (bits - 1) : 0;
  QUERN_ASSIGN(out.values, floatsAt(graph, node, node.input(2), out.n * blocks));
  out.values.row = blocks;
  out.values.column = 1;
  if (!node.input(3).empty() && packed)
    QUERN_TRY(addZeros(graph, node, node.input(3), out, blocks));
  else if (!node.input(3).empty())
    return wrong("has zero points of a layout that is not supported");
  return out;
}

Result<Matrix> language::integerMatrix(const Graph &graph, const GraphNode &node, const std::string &scale) {
  auto wrong = [&](const std::string &what) { return graph.wrong("node " + node.describe(), what); };
  const Constant *tensor = graph.constant(node.input(1));
  std::optional<Integers> codes = tensor ? integersOf(tensor->type) : std::nullopt;
  if (!codes || codes->bits != 8 || tensor->shape.size() != 2)
    return wrong("its weight is no constant matrix of bytes");
  QUERN_ASSIGN(Matrix out, codeMatrix(graph, *tensor, *codes, true));
  out.group = out.k;
  const Constant *scales = graph.constantBehind(scale);
  QUERN_ASSIGN(int64_t count, scales ? countElements(scales->shape) : Result<int64_t>(0));
  if (count != 1 && count != out.n)
    return wrong("has " + std::to_string(count) + " scales for " + std::to_string(out.n) + " outputs");
  QUERN_ASSIGN(out.values, floatsAt(graph, node, scale, count));
  out.values.row = count == 1 ? 0 : 1;
  if (node.input(3).empty())
    return out;
  const Constant *zeros = graph.constantBehind(node.input(3));
  if (!zeros || zeros->type != tensor->type)
    return wrong("its zero points are no constant of the type of its weight");
  QUERN_ASSIGN(std::span<const std::byte> bytes, graph.data(*zeros));
  if (bytes.size() != 1 && static_cast<int64_t>(bytes.size()) != out.n)
    return wrong("has " + std::to_string(bytes.size()) + " zero points for " + std::to_string(out.n) + " outputs");
  out.zeros = Integers{bytes, 8, codes->isSigned, 0, bytes.size() == 1 ? 0 : 1, 0};
  return out;
}

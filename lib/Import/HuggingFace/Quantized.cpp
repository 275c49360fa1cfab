#include "Quantized.h"
#include "Float8.h"

#include "quern/Support/Half.h"

#include <algorithm>
#include <cstring>
#include <numeric>

using namespace quern;
using namespace quern::import;

Result<Packing> import::readPacking(const JsonObject &json) {
  Packing packing;
  QUERN_ASSIGN(std::optional<std::string> method, json.find<std::string>("quant_method"));
  if (method == "fp8" || method == "compressed-tensors")
    return readFloat8(json);
  if (method != "gptq" && method != "awq")
    return json.error("the checkpoint is quantized by '" + method.value_or("an unnamed method") +
                      "', which is not supported; 'gptq', 'awq' and 'fp8' are, and unquantized checkpoints");
  bool gptq = method == "gptq";
  packing.method = gptq ? Packing::Method::Gptq : Packing::Method::Awq;
  QUERN_ASSIGN(std::optional<int64_t> bits, json.find<int64_t>(json.value("bits") ? "bits" : "w_bit"));
  packing.bits = bits.value_or(4);
  if (packing.bits != 4 && !(gptq && packing.bits == 8))
    return json.error("weights of " + std::to_string(packing.bits) + " bits are not supported for '" + *method + "'");
  QUERN_ASSIGN(std::optional<int64_t> group,
               json.find<int64_t>(json.value("group_size") ? "group_size" : "q_group_size"));
  packing.group = group.value_or(128);
  if (packing.group != -1 && packing.group < 1)
    return json.error("groups of " + std::to_string(packing.group) + " are none; -1 means one for each row");
  QUERN_ASSIGN(std::optional<std::string> format, json.find<std::string>("checkpoint_format"));
  QUERN_ASSIGN(std::optional<std::string> version, json.find<std::string>("version"));
  if (gptq && format.value_or("gptq") != "gptq" && format != "gptq_v2")
    return json.error("the checkpoint_format '" + *format + "' is not supported; 'gptq' and 'gptq_v2' are");
  if (!gptq && version.value_or("gemm") != "gemm" && version != "GEMM")
    return json.error("the version '" + *version + "' of AWQ is not supported; 'gemm' is");
  packing.lessOne = gptq && format.value_or("gptq") == "gptq";
  return packing;
}

/// GPTQ gives every column its group. Where they do not lie in order, columns are taken group by group; then every
/// group must have as many as the others.
static Status readOrder(const safetensors::Tensor &index, PackedLayer &layer) {
  std::vector<int32_t> groups(static_cast<size_t>(layer.columns));
  std::memcpy(groups.data(), index.data.data(), index.data.size());
  std::vector<int32_t> order(groups.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::sort(order, {}, [&](int32_t column) { return std::pair(groups[static_cast<size_t>(column)], column); });
  for (int64_t k = 0; k < layer.columns; ++k)
    if (int32_t group = groups[static_cast<size_t>(order[static_cast<size_t>(k)])]; group != k / layer.group)
      return fail("tensor '" + index.name + "' does not give each of " + std::to_string(layer.columns / layer.group) +
                  " groups " + std::to_string(layer.group) + " columns");
  if (!std::ranges::is_sorted(order))
    layer.order = std::move(order);
  return {};
}

/// A tensor of the layer, whose name is noted.
static Result<const safetensors::Tensor *> take(const safetensors::Checkpoint &checkpoint, const std::string &name,
                                                std::string_view dtype, std::vector<int64_t> shape,
                                                PackedLayer &layer) {
  const safetensors::Tensor *tensor = checkpoint.find(name);
  if (!tensor)
    return fail("tensor '" + name + "' is missing");
  if (tensor->dtype != dtype || !std::ranges::equal(tensor->shape, shape, std::cmp_equal<uint64_t, int64_t>))
    return fail("tensor '" + name + "' is not of the type " + std::string(dtype) + " and the shape that its packing "
                "says");
  layer.names.push_back(name);
  return tensor;
}

Result<PackedLayer> import::findPacked(const safetensors::Checkpoint &checkpoint, const std::string &layer,
                                       const Packing &packing, int64_t rows, int64_t columns) {
  PackedLayer found{};
  found.name = layer + ".qweight";
  found.packing = packing;
  int64_t perWord = 32 / packing.bits;
  found.rows = rows;
  found.columns = columns;
  found.group = packing.group == -1 ? columns : packing.group;
  if (columns % kLayoutBlock != 0 || columns % found.group != 0 || rows % perWord != 0)
    return fail("layer '" + layer + "' of " + std::to_string(rows) + " rows and " + std::to_string(columns) +
                " columns does not divide into groups of " + std::to_string(found.group) + " and blocks of 32");
  int64_t groups = columns / found.group;
  std::vector<int64_t> words = packing.method == Packing::Method::Gptq ? std::vector{columns / perWord, rows}
                                                                       : std::vector{columns, rows / perWord};
  QUERN_ASSIGN(auto *weight, take(checkpoint, found.name, "I32", words, found));
  QUERN_ASSIGN(auto *zeros, take(checkpoint, layer + ".qzeros", "I32", {groups, rows / perWord}, found));
  QUERN_ASSIGN(auto *scales, take(checkpoint, layer + ".scales", "F16", {groups, rows}, found));
  found.weight = weight->data;
  found.zeros = zeros->data;
  found.scales = scales->data;
  const std::string index = layer + ".g_idx";
  if (!checkpoint.find(index))
    return found;
  QUERN_ASSIGN(auto *order, take(checkpoint, index, "I32", {columns}, found));
  QUERN_TRY(readOrder(*order, found));
  return found;
}

namespace {
/// A layer as the common layout reads it.
class LayerMatrix : public IntegerMatrix {
public:
  explicit LayerMatrix(PackedLayer packed)
      : layer(std::move(packed)), bits(static_cast<int>(layer.packing.bits)), perWord(32 / layer.packing.bits),
        mask((1u << bits) - 1) {}

  int64_t rows() const override { return layer.rows; }
  int64_t columns() const override { return layer.columns; }
  void differences(int64_t n, std::span<int16_t> out) const override;
  void scales(int64_t n, std::span<float> out) const override {
    for (size_t i = 0; i < out.size(); ++i)
      out[i] = scale(n, static_cast<int64_t>(i) * kLayoutBlock / layer.group);
  }
  /// Row n as (code - zero point) * scale, which f32 holds exactly: at most 9 and 11 bits. `scratch` is a row long.
  void floats(int64_t n, std::span<int16_t> scratch, std::byte *out) const;

private:
  static uint32_t word(std::span<const std::byte> words, int64_t index) {
    uint32_t word;
    std::memcpy(&word, words.data() + 4 * index, sizeof word);
    return word;
  }
  int16_t integer(uint32_t word, int64_t place) const {
    return static_cast<int16_t>(word >> (bits * static_cast<int>(place)) & mask);
  }
  bool isAwq() const { return layer.packing.method == Packing::Method::Awq; }
  /// Where a word of neighbouring rows has row n. AWQ deals its eight out in an order of its own.
  int64_t place(int64_t n) const {
    static constexpr int64_t dealt[] = {0, 4, 1, 5, 2, 6, 3, 7};
    return isAwq() ? dealt[n % 8] : n % perWord;
  }
  /// Row n, columns as they lie.
  void codes(int64_t n, std::span<int16_t> out) const;
  int16_t zero(int64_t n, int64_t g) const {
    int16_t stored = integer(word(layer.zeros, g * (layer.rows / perWord) + n / perWord), place(n));
    return layer.packing.lessOne ? static_cast<int16_t>(static_cast<uint32_t>(stored + 1) & mask) : stored;
  }
  float scale(int64_t n, int64_t g) const {
    uint16_t half;
    std::memcpy(&half, layer.scales.data() + 2 * (g * layer.rows + n), sizeof half);
    return halfToFloat(half);
  }

  PackedLayer layer;
  int bits;
  int64_t perWord;
  uint32_t mask;
};
} // namespace

void LayerMatrix::codes(int64_t n, std::span<int16_t> out) const {
  int16_t *to = out.data();
  if (isAwq()) // words of neighbouring rows
    for (int64_t k = 0; k < layer.columns; ++k)
      *to++ = integer(word(layer.weight, k * (layer.rows / perWord) + n / perWord), place(n));
  else // of neighbouring columns
    for (int64_t w = 0; w < layer.columns / perWord; ++w) {
      uint32_t packed = word(layer.weight, w * layer.rows + n);
      for (int64_t i = 0; i < perWord; ++i)
        *to++ = integer(packed, i);
    }
}

void LayerMatrix::differences(int64_t n, std::span<int16_t> out) const {
  if (layer.order.empty()) {
    codes(n, out);
  } else {
    std::vector<int16_t> stored(out.size());
    codes(n, stored);
    std::ranges::transform(layer.order, out.begin(), [&](int32_t k) { return stored[static_cast<size_t>(k)]; });
  }
  for (int64_t g = 0; g < layer.columns / layer.group; ++g) {
    int16_t z = zero(n, g);
    for (int16_t &code : out.subspan(static_cast<size_t>(g * layer.group), static_cast<size_t>(layer.group)))
      code = static_cast<int16_t>(code - z);
  }
}

void LayerMatrix::floats(int64_t n, std::span<int16_t> scratch, std::byte *out) const {
  differences(n, scratch);
  for (int64_t k = 0; k < layer.columns; ++k, out += sizeof(float)) {
    float weight = scale(n, k / layer.group) * static_cast<float>(scratch[static_cast<size_t>(k)]);
    std::memcpy(out, &weight, sizeof weight);
  }
}

static gguf::RowMaker toFloats(std::shared_ptr<const LayerMatrix> matrix) {
  return [matrix = std::move(matrix)](uint64_t first, uint64_t count, std::byte *out) {
    std::vector<int16_t> scratch(static_cast<size_t>(matrix->columns()));
    for (uint64_t n = first; n < first + count; ++n, out += scratch.size() * sizeof(float))
      matrix->floats(static_cast<int64_t>(n), scratch, out);
  };
}

Result<MadeWeight> import::unpack(PackedLayer layer, const gguf::TypeTable &types) {
  std::string name = layer.name;
  bool inBlocks = layer.group % kLayoutBlock == 0;
  auto matrix = std::make_shared<const LayerMatrix>(std::move(layer));
  if (!inBlocks)
    return MadeWeight{/*F32*/ 0, toFloats(std::move(matrix))};
  auto made = toBlocks(std::move(matrix), types);
  if (!made)
    return fail("tensor '" + name + "': " + made.error().message);
  return made;
}

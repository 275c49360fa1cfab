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
  std::ranges::stable_sort(order, {}, [&](int32_t column) { return groups[static_cast<size_t>(column)]; });
  for (int64_t k = 0; k < layer.columns; ++k)
    if (int32_t group = groups[static_cast<size_t>(order[static_cast<size_t>(k)])]; group != k / layer.group)
      return fail("tensor '" + index.name + "' does not give each of " + std::to_string(layer.columns / layer.group) +
                  " groups " + std::to_string(layer.group) + " columns");
  if (!std::ranges::is_sorted(order))
    layer.order = std::move(order);
  return {};
}

Result<PackedLayer> import::findPacked(const safetensors::Checkpoint &checkpoint, const std::string &layer,
                                       const Packing &packing, int64_t rows, int64_t columns) {
  PackedLayer found{};
  int64_t perWord = 32 / packing.bits;
  found.rows = rows;
  found.columns = columns;
  found.group = packing.group == -1 ? columns : packing.group;
  if (columns % kLayoutBlock != 0 || columns % found.group != 0 || rows % perWord != 0)
    return fail("layer '" + layer + "' of " + std::to_string(rows) + " rows and " + std::to_string(columns) +
                " columns does not divide into groups of " + std::to_string(found.group) + " and blocks of 32");
  auto take = [&](const char *suffix, std::string_view dtype, std::vector<int64_t> shape,
                  bool optional = false) -> Result<const safetensors::Tensor *> {
    const std::string name = layer + suffix;
    const safetensors::Tensor *tensor = checkpoint.find(name);
    if (!tensor && optional)
      return nullptr;
    if (!tensor)
      return fail("tensor '" + name + "' is missing");
    if (tensor->dtype != dtype || !std::ranges::equal(tensor->shape, shape, std::cmp_equal<uint64_t, int64_t>))
      return fail("tensor '" + name + "' is not of the type " + std::string(dtype) + " and the shape that its packing "
                  "says");
    found.names.push_back(name);
    return tensor;
  };
  bool gptq = packing.method == Packing::Method::Gptq;
  int64_t groups = columns / found.group;
  QUERN_ASSIGN(found.weight, take(".qweight", "I32", gptq ? std::vector{columns / perWord, rows}
                                                          : std::vector{columns, rows / perWord}));
  QUERN_ASSIGN(found.zeros, take(".qzeros", "I32", {groups, rows / perWord}));
  QUERN_ASSIGN(found.scales, take(".scales", "F16", {groups, rows}));
  QUERN_ASSIGN(const safetensors::Tensor *index, take(".g_idx", "I32", {columns}, true));
  if (index)
    QUERN_TRY(readOrder(*index, found));
  return found;
}

namespace {
/// Reads integers out of words, as the packing lays them.
class WordReader {
public:
  WordReader(const PackedLayer &layer, const Packing &packing)
      : layer(layer), packing(packing), perWord(32 / packing.bits), mask((1u << packing.bits) - 1) {}

  /// Of row n, the k-th column in the layer's order; less the zero point.
  int difference(int64_t n, int64_t k) const { return code(n, k) - zero(n, k / layer.group); }

private:
  /// Word w's i-th integer, lowest bits first.
  int at(const safetensors::Tensor &tensor, int64_t w, int64_t i) const {
    uint32_t word;
    std::memcpy(&word, tensor.data.data() + 4 * w, sizeof word);
    return static_cast<int>(word >> (packing.bits * i) & mask);
  }
  /// AWQ deals the eight columns of a word out in this order.
  static int64_t dealt(int64_t n) {
    static constexpr int64_t places[] = {0, 4, 1, 5, 2, 6, 3, 7};
    return places[n % 8];
  }
  int code(int64_t n, int64_t k) const {
    if (!layer.order.empty())
      k = layer.order[static_cast<size_t>(k)];
    if (packing.method == Packing::Method::Awq)
      return at(*layer.weight, k * (layer.rows / perWord) + n / perWord, dealt(n));
    return at(*layer.weight, k / perWord * layer.rows + n, k % perWord);
  }
  int zero(int64_t n, int64_t g) const {
    bool awq = packing.method == Packing::Method::Awq;
    int stored = at(*layer.zeros, g * (layer.rows / perWord) + n / perWord, awq ? dealt(n) : n % perWord);
    return packing.lessOne ? static_cast<int>(static_cast<uint32_t>(stored + 1) & mask) : stored;
  }

  const PackedLayer &layer;
  const Packing &packing;
  int64_t perWord;
  uint32_t mask;
};
} // namespace

namespace {
/// A layer as the common layout reads it.
class LayerMatrix : public IntegerMatrix {
public:
  LayerMatrix(const PackedLayer &layer, const Packing &packing) : layer(layer), reader(layer, packing) {}
  int64_t rows() const override { return layer.rows; }
  int64_t columns() const override { return layer.columns; }
  void differences(int64_t n, std::span<int16_t> out) const override {
    for (size_t k = 0; k < out.size(); ++k)
      out[k] = static_cast<int16_t>(reader.difference(n, static_cast<int64_t>(k)));
  }
  void scales(int64_t n, std::span<float> out) const override {
    for (size_t i = 0; i < out.size(); ++i) {
      uint16_t half;
      int64_t group = static_cast<int64_t>(i) * kLayoutBlock / layer.group;
      std::memcpy(&half, layer.scales->data.data() + 2 * (group * layer.rows + n), 2);
      out[i] = halfToFloat(half);
    }
  }

private:
  const PackedLayer &layer;
  WordReader reader;
};
} // namespace

/// Every weight as (code - zero point) * scale, which f32 holds exactly: at most 9 and 11 bits.
static BlockWeight toFloats(const PackedLayer &layer, const WordReader &reader) {
  BlockWeight out{/*F32*/ 0, std::vector<std::byte>(static_cast<size_t>(layer.rows * layer.columns) * sizeof(float))};
  std::byte *to = out.bytes.data();
  for (int64_t n = 0; n < layer.rows; ++n)
    for (int64_t k = 0; k < layer.columns; ++k, to += sizeof(float)) {
      uint16_t scale;
      std::memcpy(&scale, layer.scales->data.data() + 2 * (k / layer.group * layer.rows + n), sizeof scale);
      float weight = halfToFloat(scale) * static_cast<float>(reader.difference(n, k));
      std::memcpy(to, &weight, sizeof weight);
    }
  return out;
}

Result<BlockWeight> import::toBlocks(const PackedLayer &layer, const Packing &packing, const gguf::TypeTable &types) {
  if (layer.group % kLayoutBlock != 0)
    return toFloats(layer, WordReader(layer, packing));
  auto made = toBlocks(LayerMatrix(layer, packing), types);
  if (!made)
    return fail("tensor '" + layer.weight->name + "': " + made.error().message);
  return made;
}

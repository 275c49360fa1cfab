#include "Quantized.h"

#include "quern/Formats/IntReader.h"

#include <algorithm>
#include <cstring>

using namespace quern;
using namespace quern::import;
using formats::FormatSpec;

static constexpr int64_t kBlock = 32; // columns of a block of the formats below

Result<Packing> import::readPacking(const JsonObject &json) {
  Packing packing;
  QUERN_ASSIGN(std::optional<std::string> method, json.find<std::string>("quant_method"));
  if (method != "gptq" && method != "awq")
    return json.error("the checkpoint is quantized by '" + method.value_or("an unnamed method") +
                      "', which is not supported; 'gptq' and 'awq' are, and unquantized checkpoints");
  bool gptq = method == "gptq";
  packing.method = gptq ? Packing::Method::Gptq : Packing::Method::Awq;
  QUERN_ASSIGN(std::optional<int64_t> bits, json.find<int64_t>(json.value("bits") ? "bits" : "w_bit"));
  packing.bits = bits.value_or(4);
  if (packing.bits != 4 && !(gptq && packing.bits == 8))
    return json.error("weights of " + std::to_string(packing.bits) + " bits are not supported for '" + *method + "'");
  QUERN_ASSIGN(std::optional<int64_t> group,
               json.find<int64_t>(json.value("group_size") ? "group_size" : "q_group_size"));
  packing.group = group.value_or(128);
  if (packing.group != -1 && (packing.group < kBlock || packing.group % kBlock != 0))
    return json.error("groups of " + std::to_string(packing.group) + " are not supported; multiples of 32 and -1 are");
  QUERN_ASSIGN(std::optional<std::string> format, json.find<std::string>("checkpoint_format"));
  QUERN_ASSIGN(std::optional<std::string> version, json.find<std::string>("version"));
  if (gptq && format.value_or("gptq") != "gptq" && format != "gptq_v2")
    return json.error("the checkpoint_format '" + *format + "' is not supported; 'gptq' and 'gptq_v2' are");
  if (!gptq && version.value_or("gemm") != "gemm" && version != "GEMM")
    return json.error("the version '" + *version + "' of AWQ is not supported; 'gemm' is");
  packing.lessOne = gptq && format.value_or("gptq") == "gptq";
  return packing;
}

/// GPTQ gives every column its group; only groups that lie in order can be told by blocks.
static Status checkOrder(const safetensors::Tensor &index, int64_t columns, int64_t group) {
  for (int64_t k = 0; k < columns; ++k) {
    int32_t stored;
    std::memcpy(&stored, index.data.data() + 4 * k, sizeof stored);
    if (stored != k / group)
      return fail("tensor '" + index.name + "': column " + std::to_string(k) + " belongs to group " +
                  std::to_string(stored) + " instead of " + std::to_string(k / group) +
                  "; checkpoints quantized in the order of activations (desc_act) are not supported");
  }
  return {};
}

Result<PackedLayer> import::findPacked(const safetensors::Checkpoint &checkpoint, const std::string &layer,
                                       const Packing &packing, int64_t rows, int64_t columns) {
  PackedLayer found{};
  int64_t perWord = 32 / packing.bits;
  found.rows = rows;
  found.columns = columns;
  found.group = packing.group == -1 ? columns : packing.group;
  if (columns % kBlock != 0 || columns % found.group != 0 || rows % perWord != 0)
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
    QUERN_TRY(checkOrder(*index, columns, found.group));
  return found;
}

namespace {
/// Reads integers out of words, as the packing lays them.
class WordReader {
public:
  WordReader(const PackedLayer &layer, const Packing &packing)
      : layer(layer), packing(packing), perWord(32 / packing.bits), mask((1u << packing.bits) - 1) {}

  /// Of row n, column k; less the zero point.
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

/// Whether the format is one of a scale and plain codes that hold `low` to `high`.
static bool holds(const FormatSpec &spec, int low, int high) {
  int half = 1 << (spec.codes.bits() - 1), offset = spec.codes.offset;
  int least = spec.codes.isSigned ? -half : 0;
  return spec.block == kBlock && spec.group == kBlock && spec.scale.kind == formats::ScaleKind::F16 &&
         low + offset >= least && high + offset < least + 2 * half;
}

Result<BlockWeight> import::toBlocks(const PackedLayer &layer, const Packing &packing, const gguf::TypeTable &types) {
  WordReader reader(layer, packing);
  int low = 0, high = 0;
  for (int64_t n = 0; n < layer.rows; ++n)
    for (int64_t k = 0; k < layer.columns; ++k) {
      int difference = reader.difference(n, k);
      low = std::min(low, difference);
      high = std::max(high, difference);
    }
  const FormatSpec *spec = nullptr;
  for (uint32_t typeId : {2u, 6u, 8u}) // Q4_0, Q5_0, Q8_0
    if (const FormatSpec *known = types.format(typeId); !spec && known && holds(*known, low, high))
      spec = known;
  if (!spec)
    return fail("tensor '" + layer.weight->name + "': integers less zero points go from " + std::to_string(low) +
                " to " + std::to_string(high) + ", which no block format holds; -128 to 127 would do");
  BlockWeight out{static_cast<uint32_t>(spec->ggufType), {}};
  out.bytes.resize(static_cast<size_t>(layer.rows * layer.columns / kBlock) * spec->bytes);
  auto *block = reinterpret_cast<uint8_t *>(out.bytes.data());
  for (int64_t n = 0; n < layer.rows; ++n)
    for (int64_t k = 0; k < layer.columns; k += kBlock, block += spec->bytes) {
      std::memcpy(block + spec->scale.byte, layer.scales->data.data() + 2 * (k / layer.group * layer.rows + n), 2);
      for (int64_t i = 0; i < kBlock; ++i)
        formats::writeInt(spec->codes, static_cast<size_t>(i),
                          static_cast<unsigned>(reader.difference(n, k + i) + spec->codes.offset), block);
    }
  return out;
}

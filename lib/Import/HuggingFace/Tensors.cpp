// The tensors of a checkpoint under GGUF's names.
#include "Parts.h"
#include "Float8.h"
#include "quern/Formats/ColumnOrder.h"
#include "quern/Support/Quoted.h"

#include <algorithm>
#include <map>
#include <unordered_set>

using namespace quern;
using namespace quern::import;

/// GGUF's name inside a layer, and the checkpoint's.
static constexpr std::pair<std::string_view, std::string_view> kLayerNames[] = {
    {"attn_norm.weight", "input_layernorm.weight"},
    {"attn_q.weight", "self_attn.q_proj.weight"},
    {"attn_q.bias", "self_attn.q_proj.bias"},
    {"attn_k.weight", "self_attn.k_proj.weight"},
    {"attn_k.bias", "self_attn.k_proj.bias"},
    {"attn_v.weight", "self_attn.v_proj.weight"},
    {"attn_v.bias", "self_attn.v_proj.bias"},
    {"attn_q_norm.weight", "self_attn.q_norm.weight"},
    {"attn_k_norm.weight", "self_attn.k_norm.weight"},
    {"attn_output.weight", "self_attn.o_proj.weight"},
    {"ffn_norm.weight", "post_attention_layernorm.weight"},
    {"ffn_gate.weight", "mlp.gate_proj.weight"},
    {"ffn_up.weight", "mlp.up_proj.weight"},
    {"ffn_down.weight", "mlp.down_proj.weight"}};

static constexpr uint32_t kF32 = 0, kF16 = 1, kI32 = 26, kBF16 = 30; // GGUF's tensor types

std::string import::checkpointName(const std::string &name) {
  if (name == "token_embd.weight")
    return "model.embed_tokens.weight";
  if (name == "output_norm.weight")
    return "model.norm.weight";
  if (name == "output.weight")
    return "lm_head.weight";
  size_t dot = name.find('.', 4); // after "blk."
  std::string inLayer = name.substr(dot + 1);
  auto *known = std::ranges::find(kLayerNames, std::string_view(inLayer),
                                  &std::pair<std::string_view, std::string_view>::first);
  return "model.layers." + name.substr(4, dot - 4) + "." + std::string(known->second);
}

/// Tensors that say nothing that config.json does not: older checkpoints hold the rotary frequencies.
/// Quantizers give every layer a bias, of zeros where the model has none.
static bool isRedundant(const safetensors::Tensor &tensor, const ModelConfig &model, const Packing &packing) {
  std::string_view name = tensor.name;
  bool zeros = packing.method != Packing::Method::None && name.ends_with(".bias") &&
               std::ranges::all_of(tensor.data, [](std::byte byte) { return byte == std::byte(0); });
  return zeros || name.ends_with(".rotary_emb.inv_freq") || (model.tied && name == "lm_head.weight");
}

static std::optional<uint32_t> floatType(std::string_view dtype) {
  if (dtype == "F32")
    return kF32;
  if (dtype == "F16")
    return kF16;
  if (dtype == "BF16")
    return kBF16;
  return std::nullopt;
}

static std::string shape(std::span<const uint64_t> dims) {
  std::string text;
  for (uint64_t dim : dims)
    text += (text.empty() ? "[" : ", ") + std::to_string(dim);
  return text.empty() ? "[]" : text + "]";
}

namespace {
class TensorMap {
public:
  TensorMap(gguf::Assembly &assembly, const std::string &folder, const HuggingFaceConfig &config,
            const gguf::TypeTable &types)
      : assembly(assembly), folder(folder), factors(config.ropeFactors), packing(config.packing), types(types),
        model(config.model) {}
  Result<uint32_t> add(safetensors::Checkpoint checkpoint);

private:
  struct Found {
    ExpectedTensor expected;
    const safetensors::Tensor *tensor; ///< null for the rotary factors and quantized weights
    uint64_t at;                       ///< of a vector, in `vectors`; of a quantized weight, in `unpacked`
    std::string origin;                ///< the checkpoint's tensor
  };
  Result<const safetensors::Tensor *> take(const safetensors::Checkpoint &checkpoint, const ExpectedTensor &expected);
  Status refuseOthers(const safetensors::Checkpoint &checkpoint) const;
  /// Adds a matrix that the checkpoint has quantized; false if it has not.
  Result<bool> addQuantized(const safetensors::Checkpoint &checkpoint, const ExpectedTensor &expected);
  Result<bool> addFloat8(const safetensors::Checkpoint &checkpoint, const std::string &layer, int64_t rows,
                         int64_t columns);
  /// Appends to the memory of vectors.
  void addVector(std::span<const float> values);
  Result<std::vector<Found>> find(const safetensors::Checkpoint &checkpoint);
  /// Returns the type of most elements of matrices.
  uint32_t assemble(const std::vector<Found> &list, safetensors::Checkpoint checkpoint);

  gguf::Assembly &assembly;
  const std::string &folder;
  std::span<const float> factors;
  const Packing &packing;
  const gguf::TypeTable &types;
  ModelConfig model;
  std::unordered_set<std::string> used;
  std::vector<std::byte> vectors;
  std::vector<MadeWeight> unpacked;
  std::map<std::string, std::vector<int32_t>> orders; ///< of columns, by the tensor's name
};
} // namespace

Result<const safetensors::Tensor *> TensorMap::take(const safetensors::Checkpoint &checkpoint,
                                                    const ExpectedTensor &expected) {
  std::string name = checkpointName(expected.name);
  const safetensors::Tensor *tensor = checkpoint.find(name);
  if (!tensor)
    return fail(folder + ": tensor '" + name + "' is missing");
  used.insert(name);
  const std::string &path = checkpoint.parts()[tensor->part].path;
  std::vector<uint64_t> wanted(expected.dims.rbegin(), expected.dims.rend());
  if (tensor->shape != wanted)
    return fail(path + ": tensor '" + name + "' has shape " + shape(tensor->shape) + ", but config.json makes it " +
                shape(wanted));
  if (!floatType(tensor->dtype))
    return fail(path + ": tensor '" + name + "' has elements of type " + std::string(tensor->dtype) +
                ", in which unquantized weights are not supported; F32, F16 and BF16 are");
  return tensor;
}

Status TensorMap::refuseOthers(const safetensors::Checkpoint &checkpoint) const {
  for (const auto &[name, tensor] : checkpoint.tensors())
    if (!used.contains(name) && !isRedundant(tensor, model, packing))
      return fail(checkpoint.parts()[tensor.part].path + ": tensor " + inQuotes(name) +
                  " is not part of a model of type " + model.architecture + " as it is supported here");
  return {};
}

Result<bool> TensorMap::addQuantized(const safetensors::Checkpoint &checkpoint, const ExpectedTensor &expected) {
  std::string name = checkpointName(expected.name);
  if (packing.method == Packing::Method::None || expected.dims.size() != 2)
    return false;
  const safetensors::Tensor *plain = checkpoint.find(name);
  name.resize(name.size() - std::string_view(".weight").size());
  auto rows = static_cast<int64_t>(expected.dims[1]), columns = static_cast<int64_t>(expected.dims[0]);
  if (packing.method == Packing::Method::Float8 && plain && plain->dtype == "F8_E4M3")
    return addFloat8(checkpoint, name, rows, columns);
  if (plain || !checkpoint.find(name + ".qweight"))
    return false;
  auto layer = findPacked(checkpoint, name, packing, rows, columns);
  auto weight = layer.and_then([&](const PackedLayer &found) { return unpack(found, types); });
  if (!weight)
    return fail(folder + ": " + weight.error().message);
  used.insert(layer->names.begin(), layer->names.end());
  unpacked.push_back(*std::move(weight));
  if (std::string order = formats::columnOrder(expected.name); !layer->order.empty()) {
    orders[order] = std::move(layer->order);
    assembly.setOrigins(order, {name + ".g_idx"});
  }
  return true;
}

Result<bool> TensorMap::addFloat8(const safetensors::Checkpoint &checkpoint, const std::string &layer, int64_t rows,
                                  int64_t columns) {
  std::vector<std::string> names;
  auto weight = widenFloat8(checkpoint, layer, packing, rows, columns, names);
  if (!weight)
    return fail(folder + ": " + weight.error().message);
  used.insert(names.begin(), names.end());
  unpacked.push_back(*std::move(weight));
  return true;
}

void TensorMap::addVector(std::span<const float> values) {
  auto bytes = std::as_bytes(values);
  vectors.insert(vectors.end(), bytes.begin(), bytes.end());
}

Result<std::vector<TensorMap::Found>> TensorMap::find(const safetensors::Checkpoint &checkpoint) {
  std::vector<Found> list;
  for (ExpectedTensor &expected : expectedTensors(model)) {
    const safetensors::Tensor *tensor = nullptr;
    uint64_t at = expected.dims.size() == 1 ? vectors.size() : unpacked.size();
    bool isFactors = expected.name == "rope_freqs.weight";
    if (isFactors)
      addVector(factors);
    std::string origin = isFactors ? "" : checkpointName(expected.name);
    QUERN_ASSIGN(bool quantized, isFactors ? Result<bool>(false) : addQuantized(checkpoint, expected));
    if (!isFactors && !quantized) {
      QUERN_ASSIGN(tensor, take(checkpoint, expected));
      if (expected.dims.size() == 1)
        addVector(safetensors::toFloats(*tensor));
    }
    if (quantized && !used.contains(origin)) // but its integers
      origin.replace(origin.rfind('.'), std::string::npos, ".qweight");
    list.push_back({std::move(expected), tensor, at, std::move(origin)});
  }
  return list;
}

uint32_t TensorMap::assemble(const std::vector<Found> &list, safetensors::Checkpoint checkpoint) {
  std::map<uint32_t, uint64_t> elements; // of matrices, by type
  uint32_t own = assembly.addPart(folder, std::move(vectors)), first = own + 1; // the checkpoint's files follow
  for (safetensors::Checkpoint::Part &part : std::move(checkpoint).takeParts())
    assembly.addPart(part.path, std::move(part.mapping));
  for (const auto &[expected, tensor, at, origin] : list) {
    const auto &[name, dims] = expected;
    if (!origin.empty())
      assembly.setOrigins(name, {origin});
    if (dims.size() == 1)
      assembly.addTensor(name, kF32, dims, own, assembly.part(own).subspan(at, 4 * dims[0]));
    if (dims.size() != 2)
      continue;
    uint32_t type = tensor ? *floatType(tensor->dtype) : unpacked[at].typeId;
    if (tensor)
      assembly.addTensor(name, type, dims, first + tensor->part, tensor->data);
    else
      assembly.addTensor(name, type, dims, folder, std::move(unpacked[at].rows));
    elements[type] += dims[0] * dims[1];
  }
  for (int64_t layer = 0; layer < model.layers; ++layer) {
    std::string ours = "blk." + std::to_string(layer), theirs = "model.layers." + std::to_string(layer);
    assembly.setOrigins(ours + ".attn", {theirs + ".self_attn"});
    assembly.setOrigins(ours + ".ffn", {theirs + ".mlp"});
  }
  for (auto &[name, order] : orders) {
    auto bytes = std::as_bytes(std::span(order));
    uint32_t part = assembly.addPart(folder, std::vector<std::byte>(bytes.begin(), bytes.end()));
    assembly.addTensor(name, kI32, {order.size()}, part, assembly.part(part));
  }
  return std::ranges::max_element(elements, {}, [](const auto &entry) { return entry.second; })->first;
}

Result<uint32_t> TensorMap::add(safetensors::Checkpoint checkpoint) {
  model.attentionBias = model.architecture == "qwen2" || checkpoint.find("model.layers.0.self_attn.q_proj.bias");
  QUERN_ASSIGN(std::vector<Found> list, find(checkpoint));
  QUERN_TRY(refuseOthers(checkpoint));
  return assemble(list, std::move(checkpoint));
}

Result<uint32_t> import::addTensors(gguf::Assembly &assembly, const std::string &folder,
                                    safetensors::Checkpoint checkpoint, const HuggingFaceConfig &config,
                                    const gguf::TypeTable &types) {
  return TensorMap(assembly, folder, config, types).add(std::move(checkpoint));
}

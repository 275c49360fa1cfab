// The tensors that a model of an architecture holds, and whether a file holds them.
#include "ExpectedTensors.h"
#include "quern/Formats/ColumnOrder.h"
#include "quern/Support/Quoted.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <unordered_set>

using namespace quern;
using namespace quern::import;

static void addLayer(std::vector<ExpectedTensor> &list, const ModelConfig &config, int64_t layer) {
  auto H = static_cast<uint64_t>(config.hidden), F = static_cast<uint64_t>(config.feedForward);
  auto D = static_cast<uint64_t>(config.headDim);
  uint64_t Q = static_cast<uint64_t>(config.heads) * D, KV = static_cast<uint64_t>(config.kvHeads) * D;
  auto add = [&](const char *name, std::vector<uint64_t> dims) {
    std::string whole = "blk." + std::to_string(layer) + "." + name;
    if (config.reordered.contains(whole))
      list.push_back({formats::columnOrder(whole), {dims[0]}});
    list.push_back({std::move(whole), std::move(dims)});
  };
  add("attn_norm.weight", {H});
  for (auto [weight, bias, rows] :
       {std::tuple("attn_q.weight", "attn_q.bias", Q), std::tuple("attn_k.weight", "attn_k.bias", KV),
        std::tuple("attn_v.weight", "attn_v.bias", KV)}) {
    add(weight, {H, rows});
    if (config.attentionBias)
      add(bias, {rows});
  }
  if (config.headNorms) {
    add("attn_q_norm.weight", {D});
    add("attn_k_norm.weight", {D});
  }
  add("attn_output.weight", {Q, H});
  add("ffn_norm.weight", {H});
  add("ffn_gate.weight", {H, F});
  add("ffn_up.weight", {H, F});
  add("ffn_down.weight", {F, H});
}

std::vector<ExpectedTensor> import::expectedTensors(const ModelConfig &config) {
  auto H = static_cast<uint64_t>(config.hidden), V = static_cast<uint64_t>(config.vocabulary);
  std::vector<ExpectedTensor> list{{"token_embd.weight", {H, V}}};
  if (config.ropeFactors)
    list.push_back({"rope_freqs.weight", {static_cast<uint64_t>(config.headDim / 2)}});
  for (int64_t layer = 0; layer < config.layers; ++layer)
    addLayer(list, config, layer);
  list.push_back({"output_norm.weight", {H}});
  if (!config.tied)
    list.push_back({"output.weight", {H, V}});
  return list;
}

static std::string shape(const std::vector<uint64_t> &dims) {
  std::string text;
  for (uint64_t dim : dims)
    text += (text.empty() ? "[" : ", ") + std::to_string(dim);
  return text + "]";
}

static Status checkVector(const std::string &name, const gguf::Tensor &tensor) {
  if (tensor.type->name != "F32")
    return fail(name + " has type " + tensor.type->name + "; vectors must be F32");
  for (uint64_t i = 0; i < tensor.elements; ++i) {
    float value;
    std::memcpy(&value, tensor.data.data() + 4 * i, 4);
    if (!std::isfinite(value) || (tensor.name == "rope_freqs.weight" && !(value > 0)))
      return fail(name + ": element " + std::to_string(i) + " is " + std::to_string(value) + ", which is no valid " +
                  (std::isfinite(value) ? "divisor of a frequency" : "number"));
  }
  return {};
}

/// Whether the numbers are a permutation.
static Status checkOrder(const std::string &name, const gguf::Tensor &tensor) {
  std::vector<bool> seen(tensor.elements);
  for (uint64_t i = 0; tensor.type->name == "I32" && i < tensor.elements; ++i) {
    uint32_t column;
    std::memcpy(&column, tensor.data.data() + 4 * i, 4);
    if (column < tensor.elements)
      seen[column] = true;
  }
  if (std::ranges::find(seen, false) != seen.end())
    return fail(name + " is no order of " + std::to_string(tensor.elements) + " columns");
  return {};
}

static Status checkTensor(const gguf::File &file, const ExpectedTensor &expected) {
  const std::string name = file.path() + ": tensor " + file.described(expected.name);
  const gguf::Tensor *tensor = file.tensor(expected.name);
  if (!tensor)
    return fail(name + " is missing");
  if (tensor->dims != expected.dims)
    return fail(name + " has shape " + shape(tensor->dims) + ", expected " + shape(expected.dims));
  if (expected.name.ends_with(".columns"))
    return checkOrder(name, *tensor);
  if (tensor->dims.size() == 1)
    return checkVector(name, *tensor);
  const gguf::TypeInfo &type = *tensor->type;
  if (type.block == 1 && type.name != "F32" && type.name != "F16" && type.name != "BF16")
    return fail(name + " has type " + type.name + ", in which weights are not supported");
  return {};
}

Status import::checkTensors(const gguf::File &file, const ModelConfig &config) {
  std::unordered_set<std::string> known;
  for (const ExpectedTensor &expected : expectedTensors(config)) {
    QUERN_TRY(checkTensor(file, expected));
    known.insert(expected.name);
  }
  for (const gguf::Tensor &tensor : file.tensors())
    if (!known.contains(std::string(tensor.name)))
      return fail(file.path() + ": tensor " + file.described(tensor.name) + " is not part of a model of architecture " +
                  config.architecture + " as it is supported here");
  return {};
}

// config.json and generation_config.json. Absent keys have the defaults of the classes that write these files, which
// leave out what is as usual.
#include "Parts.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numbers>

using namespace quern;
using namespace quern::import;

// Bounds that keep all products of two sizes inside 64 bits, far above any model.
static constexpr int64_t kMaxSize = int64_t(1) << 30;
static constexpr int64_t kMaxLayers = 4096;
static constexpr int64_t kMaxHeadDim = 65536;

namespace {
class ConfigJson {
public:
  ConfigJson(const JsonObject &json, HuggingFaceConfig &config) : json(json), config(config), model(config.model) {}
  Status read();

private:
  Result<int64_t> size(const char *key, std::optional<int64_t> byDefault, int64_t most = kMaxSize) const;
  Status readSizes();
  Status readRotary();
  Status readLlama3Scaling(const JsonObject &scaling);
  Status refuseUnsupported() const;

  const JsonObject &json;
  HuggingFaceConfig &config;
  ModelConfig &model;
};
} // namespace

Result<int64_t> ConfigJson::size(const char *key, std::optional<int64_t> byDefault, int64_t most) const {
  QUERN_ASSIGN(std::optional<int64_t> found, json.find<int64_t>(key));
  if (!found && !byDefault)
    return json.error("'" + std::string(key) + "' is missing");
  int64_t value = found.value_or(byDefault.value_or(0));
  if (value < 1 || value > most)
    return json.error("'" + std::string(key) + "' must be from 1 to " + std::to_string(most) + ", but is " +
                      std::to_string(value));
  return value;
}

Status ConfigJson::readSizes() {
  QUERN_ASSIGN(model.layers, size("num_hidden_layers", std::nullopt, kMaxLayers));
  QUERN_ASSIGN(model.hidden, size("hidden_size", std::nullopt));
  QUERN_ASSIGN(model.feedForward, size("intermediate_size", std::nullopt));
  QUERN_ASSIGN(model.vocabulary, size("vocab_size", std::nullopt));
  QUERN_ASSIGN(model.contextLength, size("max_position_embeddings", std::nullopt));
  QUERN_ASSIGN(model.heads, size("num_attention_heads", std::nullopt));
  QUERN_ASSIGN(model.kvHeads, size("num_key_value_heads", model.heads));
  bool headsOf128 = model.architecture == "qwen3"; // whose heads have a size of their own, by default this one
  if (!json.value("head_dim") && !headsOf128 && model.hidden % model.heads != 0)
    return json.error("the hidden_size " + std::to_string(model.hidden) + " does not divide into " +
                      std::to_string(model.heads) + " heads, and 'head_dim' is missing");
  int64_t headDim = headsOf128 ? 128 : std::max<int64_t>(model.hidden / model.heads, 1);
  QUERN_ASSIGN(model.headDim, size("head_dim", headDim, kMaxHeadDim));
  if (model.heads % model.kvHeads != 0 || model.headDim % 2 != 0)
    return json.error(std::to_string(model.heads) + " heads of size " + std::to_string(model.headDim) + " with " +
                      std::to_string(model.kvHeads) + " key-value heads do not fit: heads must be a multiple of "
                      "key-value heads, and their size even");
  QUERN_ASSIGN(std::optional<double> epsilon, json.find<double>("rms_norm_eps"));
  model.normEps = static_cast<float>(epsilon.value_or(1e-6));
  if (!(model.normEps > 0) || !(model.normEps < 1))
    return json.error("'rms_norm_eps' must lie between 0 and 1");
  QUERN_ASSIGN(std::optional<bool> tied, json.find<bool>("tie_word_embeddings"));
  model.tied = tied.value_or(false);
  return {};
}

/// Frequencies that turn less than once in the original context are divided by `factor`, those that turn often are
/// kept, and those between go over smoothly (Llama 3.1).
Status ConfigJson::readLlama3Scaling(const JsonObject &scaling) {
  double numbers[4];
  const char *keys[] = {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"};
  for (size_t i = 0; i < 4; ++i) {
    QUERN_ASSIGN(std::optional<double> found, scaling.find<double>(keys[i]));
    if (!found || !(*found > 0))
      return scaling.error("'" + std::string(keys[i]) + "' must be a positive number");
    numbers[i] = *found;
  }
  auto [factor, low, high, original] = numbers;
  if (!(low < high))
    return scaling.error("'low_freq_factor' must be below 'high_freq_factor'");
  for (int64_t i = 0; i < model.headDim / 2; ++i) {
    double turns = original * std::pow(model.ropeTheta, -2.0 * double(i) / double(model.headDim)) /
                   (2 * std::numbers::pi);
    double kept = std::clamp((turns - low) / (high - low), 0.0, 1.0); // share of the frequency that is not divided
    config.ropeFactors.push_back(static_cast<float>(1 / ((1 - kept) / factor + kept)));
  }
  model.ropeFactors = true;
  return {};
}

Status ConfigJson::readRotary() {
  // Newer versions write one object 'rope_parameters' with the base inside, older ones 'rope_theta' and 'rope_scaling'.
  QUERN_ASSIGN(JsonObject scaling, json.child(json.value("rope_parameters") ? "rope_parameters" : "rope_scaling"));
  QUERN_ASSIGN(std::optional<double> inside, scaling.find<double>("rope_theta"));
  QUERN_ASSIGN(std::optional<double> outside, json.find<double>("rope_theta"));
  model.ropeTheta = inside ? *inside : outside.value_or(10000.0);
  if (!(model.ropeTheta > 0))
    return json.error("'rope_theta' must be a positive number");
  QUERN_ASSIGN(std::optional<std::string> type, scaling.find<std::string>("rope_type"));
  QUERN_ASSIGN(std::optional<std::string> olderKey, scaling.find<std::string>("type"));
  std::string kind = type ? *type : olderKey.value_or("default");
  if (kind == "llama3")
    return readLlama3Scaling(scaling);
  if (kind != "default")
    return scaling.error("rotary scaling of type '" + kind + "' is not supported; 'default' and 'llama3' are");
  return {};
}

Status ConfigJson::refuseUnsupported() const {
  QUERN_ASSIGN(std::optional<std::string> activation, json.find<std::string>("hidden_act"));
  if (activation.value_or("silu") != "silu")
    return json.error("the activation 'hidden_act' is '" + *activation + "'; only 'silu' is supported");
  QUERN_ASSIGN(std::optional<bool> window, json.find<bool>("use_sliding_window"));
  if (window.value_or(false))
    return json.error("'use_sliding_window' is true; sliding windows are not supported");
  QUERN_ASSIGN(std::optional<double> partial, json.find<double>("partial_rotary_factor"));
  if (partial.value_or(1) != 1)
    return json.error("'partial_rotary_factor' is not 1; heads that are rotated in part are not supported");
  return {};
}

Status ConfigJson::read() {
  QUERN_ASSIGN(std::optional<std::string> type, json.find<std::string>("model_type"));
  if (!type)
    return json.error("'model_type' is missing");
  if (*type != "qwen2" && *type != "qwen3" && *type != "llama")
    return json.error("model type '" + *type + "' is not supported; qwen2, qwen3 and llama are");
  model.architecture = *type;
  model.headNorms = *type == "qwen3";
  QUERN_TRY(refuseUnsupported());
  QUERN_ASSIGN(JsonObject quantization, json.child("quantization_config"));
  if (json.value("quantization_config")) {
    QUERN_ASSIGN(config.packing, readPacking(quantization));
  }
  QUERN_TRY(readSizes());
  return readRotary();
}

/// One id or a list of ids.
static Result<std::vector<int64_t>> tokenIds(const JsonObject &json, const std::string &key) {
  const nlohmann::json *value = json.value(key);
  nlohmann::json list = value ? *value : nlohmann::json::array();
  if (!list.is_array())
    list = nlohmann::json::array({list});
  std::vector<int64_t> ids;
  for (const nlohmann::json &one : list) {
    if (!one.is_number_unsigned() || one.get<uint64_t>() > INT32_MAX)
      return json.error("'" + key + "' must be a token id or a list of them");
    ids.push_back(one.get<int64_t>());
  }
  return ids;
}

Status import::readTokens(const JsonObject &model, const std::string &folder, HuggingFaceConfig &config) {
  QUERN_ASSIGN(config.eos, tokenIds(model, "eos_token_id"));
  QUERN_ASSIGN(config.bos, model.find<int64_t>("bos_token_id"));
  QUERN_ASSIGN(JsonObject json, JsonObject::readIfThere(folder + "/generation_config.json"));
  QUERN_ASSIGN(std::vector<int64_t> eos, tokenIds(json, "eos_token_id"));
  if (!eos.empty())
    config.eos = std::move(eos);
  QUERN_ASSIGN(std::optional<bool> sample, json.find<bool>("do_sample"));
  if (!sample.value_or(false))
    return {};
  for (const char *key : {"temperature", "top_k", "top_p", "min_p", "repetition_penalty"}) {
    QUERN_ASSIGN(std::optional<double> value, json.find<double>(key));
    if (value && *value < 0)
      return json.error("'" + std::string(key) + "' must be a number from 0 on");
    if (value)
      config.model.generation[key] = *value;
  }
  return {};
}

Result<HuggingFaceConfig> import::readHuggingFaceConfig(const std::string &folder) {
  HuggingFaceConfig config;
  QUERN_ASSIGN(JsonObject json, JsonObject::read(folder + "/config.json"));
  QUERN_TRY(ConfigJson(json, config).read());
  std::error_code ignored;
  config.model.name = std::filesystem::canonical(folder, ignored).filename().string();
  QUERN_TRY(readTokens(json, folder, config));
  return config;
}

/// GGUF's number for files that are mostly of this tensor type; none for types that no file was ever made of.
static std::optional<uint32_t> fileType(uint32_t typeId) {
  static constexpr std::pair<uint32_t, uint32_t> kNumbers[] = {{0, 0}, {1, 1},  {2, 2},  {3, 3},
                                                               {6, 8}, {7, 9}, {8, 7}, {30, 32}};
  auto found = std::ranges::find(kNumbers, typeId, &std::pair<uint32_t, uint32_t>::first);
  return found == std::end(kNumbers) ? std::nullopt : std::optional(found->second);
}

void import::addModelKeys(gguf::Assembly &assembly, const HuggingFaceConfig &config, uint32_t typeId) {
  const ModelConfig &model = config.model;
  assembly.add("general.architecture", model.architecture);
  assembly.add("general.type", "model");
  assembly.add("general.name", model.name);
  if (std::optional<uint32_t> number = fileType(typeId))
    assembly.add("general.file_type", *number);
  assembly.add("general.quantization_version", uint32_t(2));
  for (auto [name, key] : {std::pair("temperature", "temp"), std::pair("top_p", "top_p"), std::pair("min_p", "min_p"),
                           std::pair("repetition_penalty", "penalty_repeat")})
    if (auto found = model.generation.find(name); found != model.generation.end())
      assembly.add("general.sampling." + std::string(key), static_cast<float>(found->second));
  if (auto found = model.generation.find("top_k"); found != model.generation.end())
    assembly.add("general.sampling.top_k", static_cast<int32_t>(std::min(found->second, 1e9)));
  auto size = [&](const std::string &key, int64_t value) {
    assembly.add(model.architecture + "." + key, static_cast<uint32_t>(value));
  };
  size("block_count", model.layers);
  size("context_length", model.contextLength);
  size("embedding_length", model.hidden);
  size("feed_forward_length", model.feedForward);
  size("attention.head_count", model.heads);
  size("attention.head_count_kv", model.kvHeads);
  size("vocab_size", model.vocabulary);
  if (model.headDim * model.heads != model.hidden) {
    size("attention.key_length", model.headDim);
    size("attention.value_length", model.headDim);
  }
  if (model.architecture == "llama")
    size("rope.dimension_count", model.headDim);
  assembly.add(model.architecture + ".rope.freq_base", static_cast<float>(model.ropeTheta));
  assembly.add(model.architecture + ".attention.layer_norm_rms_epsilon", model.normEps);
}

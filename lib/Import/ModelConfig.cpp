#include "quern/Import/ModelConfig.h"
#include "quern/Formats/ColumnOrder.h"
#include "ExpectedTensors.h"
#include "quern/Support/Quoted.h"

#include <algorithm>
#include <cmath>

using namespace quern;
using namespace quern::import;

// Bounds that keep all products of two sizes inside 64 bits, far above any model.
static constexpr int64_t maxSize = int64_t(1) << 30;
static constexpr int64_t maxLayers = 4096;

namespace {
/// Fills a ModelConfig from the metadata keys of one architecture.
class ConfigReader {
public:
  ConfigReader(const gguf::File &file, ModelConfig &config) : file(file), config(config) {}
  Status read();

private:
  std::string key(std::string_view name) const { return config.architecture + "." + std::string(name); }
  tl::unexpected<Error> error(const std::string &message) const { return fail(file.path() + ": " + message); }
  Result<int64_t> size(std::string_view name, std::optional<int64_t> byDefault = std::nullopt) const;
  Status readSizes();
  Status readHeads();
  Status readVocabulary();
  Status readRotary();
  Status refuseUnsupported();

  const gguf::File &file;
  ModelConfig &config;
};
} // namespace

Result<int64_t> ConfigReader::size(std::string_view name, std::optional<int64_t> byDefault) const {
  QUERN_ASSIGN(std::optional<int64_t> found, file.find<int64_t>(key(name)));
  if (!found && !byDefault)
    return error("metadata key " + inQuotes(key(name)) + " is missing");
  int64_t value = found.value_or(byDefault.value_or(0));
  if (value < 1 || value > maxSize)
    return error("metadata key " + inQuotes(key(name)) + " must be from 1 to " + std::to_string(maxSize) + ", but is " +
                 std::to_string(value));
  return value;
}

Status ConfigReader::readSizes() {
  QUERN_ASSIGN(config.layers, size("block_count"));
  if (config.layers > maxLayers)
    return error("metadata key " + inQuotes(key("block_count")) + " is " + std::to_string(config.layers) +
                 "; at most " + std::to_string(maxLayers) + " layers are supported");
  QUERN_ASSIGN(config.hidden, size("embedding_length"));
  QUERN_ASSIGN(config.feedForward, size("feed_forward_length"));
  QUERN_ASSIGN(config.contextLength, size("context_length"));
  QUERN_ASSIGN(config.normEps, file.get<float>(key("attention.layer_norm_rms_epsilon")));
  if (!(config.normEps > 0) || !(config.normEps < 1))
    return error("metadata key " + inQuotes(key("attention.layer_norm_rms_epsilon")) + " must lie between 0 and 1");
  return {};
}

Status ConfigReader::readHeads() {
  QUERN_ASSIGN(config.heads, size("attention.head_count"));
  QUERN_ASSIGN(config.kvHeads, size("attention.head_count_kv", config.heads));
  if (config.heads % config.kvHeads != 0)
    return error("the number of heads, " + std::to_string(config.heads) + ", is not a multiple of the number of " +
                 "key-value heads, " + std::to_string(config.kvHeads));
  if (!file.value(key("attention.key_length")) && config.hidden % config.heads != 0)
    return error("the hidden size " + std::to_string(config.hidden) + " does not divide into " +
                 std::to_string(config.heads) + " heads, and " + inQuotes(key("attention.key_length")) + " is missing");
  QUERN_ASSIGN(config.headDim, size("attention.key_length", std::max<int64_t>(config.hidden / config.heads, 1)));
  QUERN_ASSIGN(int64_t valueDim, size("attention.value_length", config.headDim));
  QUERN_ASSIGN(int64_t rotaryDim, size("rope.dimension_count", config.headDim));
  if (valueDim != config.headDim || rotaryDim != config.headDim || config.headDim % 2 != 0)
    return error("head sizes must be even and equal for keys, values and the rotary embedding, but are " +
                 std::to_string(config.headDim) + ", " + std::to_string(valueDim) + " and " +
                 std::to_string(rotaryDim));
  return {};
}

Status ConfigReader::readVocabulary() {
  const gguf::Tensor *table = file.tensor("token_embd.weight");
  if (!table)
    return error("tensor 'token_embd.weight' is missing");
  if (table->dims.size() != 2 || table->dims[1] > static_cast<uint64_t>(maxSize))
    return error("tensor 'token_embd.weight' must have two dimensions, hidden size and vocabulary");
  config.vocabulary = static_cast<int64_t>(table->dims[1]);
  QUERN_ASSIGN(int64_t announced, size("vocab_size", config.vocabulary));
  if (announced != config.vocabulary)
    return error("metadata key " + inQuotes(key("vocab_size")) + " is " + std::to_string(announced) +
                 ", but 'token_embd.weight' has " + std::to_string(config.vocabulary) + " rows");
  return {};
}

Status ConfigReader::readRotary() {
  QUERN_ASSIGN(std::optional<double> theta, file.find<double>(key("rope.freq_base")));
  config.ropeTheta = theta.value_or(10000.0);
  if (!(config.ropeTheta > 0) || !std::isfinite(config.ropeTheta))
    return error("metadata key " + inQuotes(key("rope.freq_base")) + " must be a positive number");
  QUERN_ASSIGN(std::optional<std::string_view> scaling, file.find<std::string_view>(key("rope.scaling.type")));
  QUERN_ASSIGN(std::optional<double> factor, file.find<double>(key("rope.scaling.factor")));
  QUERN_ASSIGN(std::optional<double> linear, file.find<double>(key("rope.scale_linear")));
  bool scaled = scaling && *scaling != "none" && !(*scaling == "linear" && factor.value_or(1) == 1);
  if (scaled)
    return error("rotary scaling of type " + inQuotes(*scaling) + " (" + key("rope.scaling.type") +
                 ") is not supported; only 'none' and rope_freqs.weight are");
  if (linear.value_or(1) != 1)
    return error("metadata key " + inQuotes(key("rope.scale_linear")) + " is not 1; linear scaling is not supported");
  return {};
}

Status ConfigReader::refuseUnsupported() {
  for (std::string_view name : {"expert_count", "attention.sliding_window"}) {
    QUERN_ASSIGN(std::optional<int64_t> found, file.find<int64_t>(key(name)));
    if (found.value_or(0) != 0)
      return error("metadata key " + inQuotes(key(name)) + " is " + std::to_string(*found) +
                   ": models with this feature are not supported");
  }
  return {};
}

Status ConfigReader::read() {
  QUERN_TRY(readSizes());
  QUERN_TRY(readHeads());
  QUERN_TRY(readVocabulary());
  QUERN_TRY(readRotary());
  return refuseUnsupported();
}

/// Suggestions for sampling, from the file's keys to the manifest's.
static Status readSampling(const gguf::File &file, ModelConfig &config) {
  static constexpr std::pair<const char *, const char *> names[] = {{"temp", "temperature"},
                                                                    {"top_k", "top_k"},
                                                                    {"top_p", "top_p"},
                                                                    {"min_p", "min_p"},
                                                                    {"penalty_repeat", "repetition_penalty"}};
  for (auto [stored, name] : names) {
    std::string key = std::string("general.sampling.") + stored;
    QUERN_ASSIGN(std::optional<double> value, file.find<double>(key));
    if (value && !(std::isfinite(*value) && *value >= 0))
      return fail(file.path() + ": metadata key " + inQuotes(key) + " must be a number from 0 on");
    if (value)
      config.generation[name] = *value;
  }
  return {};
}

/// Products whose input is rounded in the file's own way; checked by name, since a typing error would pass unseen.
static Status readDynamic(const gguf::File &file, ModelConfig &config) {
  QUERN_ASSIGN(auto names, file.find<std::vector<std::string_view>>(kDynamicQuantize));
  for (std::string_view name : std::move(names).value_or(std::vector<std::string_view>())) {
    const gguf::Tensor *tensor = file.tensor(name);
    if (!tensor || tensor->dims.size() != 2 || (name == "token_embd.weight" && !config.tied))
      return fail(file.path() + ": metadata key " + inQuotes(kDynamicQuantize) + " names " + inQuotes(name) +
                  ", which is no matrix that the model multiplies by");
    config.dynamicallyQuantized.emplace(name);
  }
  return {};
}

Result<ModelConfig> import::readModelConfig(const gguf::File &file) {
  ModelConfig config;
  QUERN_ASSIGN(std::string_view architecture, file.get<std::string_view>("general.architecture"));
  if (architecture != "qwen2" && architecture != "qwen3" && architecture != "llama")
    return fail(file.path() + ": architecture " + inQuotes(architecture) +
                " is not supported; qwen2, qwen3 and llama are");
  config.architecture = architecture;
  QUERN_ASSIGN(std::optional<std::string_view> name, file.find<std::string_view>("general.name"));
  config.name = name.value_or("");
  QUERN_TRY(readSampling(file, config));
  QUERN_TRY(ConfigReader(file, config).read());
  bool pairs = architecture == "llama" && !file.hasHeadsInHalves();
  config.rotaryStyle = pairs ? RotaryStyle::Interleaved : RotaryStyle::Half;
  config.attentionBias = architecture == "qwen2" || file.tensor("blk.0.attn_q.bias");
  config.headNorms = architecture == "qwen3";
  for (const gguf::Tensor &tensor : file.tensors())
    if (std::string name(tensor.name);
        tensor.dims.size() == 2 && file.tensor(formats::columnOrder(name)) && name.ends_with(".weight"))
      config.reordered.insert(std::move(name));
  config.ropeFactors = file.tensor("rope_freqs.weight");
  config.tied = !file.tensor("output.weight");
  QUERN_TRY(checkTensors(file, config));
  QUERN_TRY(readDynamic(file, config));
  for (const gguf::Tensor &tensor : file.tensors())
    if (!tensor.name.ends_with(".columns"))
      config.parameters += static_cast<int64_t>(tensor.elements);
  return config;
}

/// Copies an array of strings out of the file.
static Result<std::vector<std::string>> strings(const gguf::File &file, std::string_view key) {
  QUERN_ASSIGN(std::vector<std::string_view> views, file.get<std::vector<std::string_view>>(key));
  return std::vector<std::string>(views.begin(), views.end());
}

Result<TokenizerSource> import::readTokenizer(const gguf::File &file, const ModelConfig &config) {
  TokenizerSource source;
  QUERN_ASSIGN(std::string_view model, file.get<std::string_view>("tokenizer.ggml.model"));
  source.model = model;
  QUERN_ASSIGN(std::string_view pre, file.get<std::string_view>("tokenizer.ggml.pre"));
  source.pre = pre;
  QUERN_ASSIGN(source.tokens, strings(file, "tokenizer.ggml.tokens"));
  if (source.tokens.size() > static_cast<uint64_t>(config.vocabulary))
    return fail(file.path() + ": 'tokenizer.ggml.tokens' has " + std::to_string(source.tokens.size()) +
                " tokens, but the embedding only " + std::to_string(config.vocabulary) + " rows");
  QUERN_ASSIGN(auto types, file.find<std::vector<int32_t>>("tokenizer.ggml.token_type"));
  source.tokenTypes = std::move(types).value_or(std::vector<int32_t>());
  QUERN_ASSIGN(source.merges, strings(file, "tokenizer.ggml.merges"));
  for (auto [key, id] : {std::pair("bos", &source.bos), std::pair("eos", &source.eos), std::pair("eot", &source.eot),
                         std::pair("padding", &source.pad)}) {
    QUERN_ASSIGN(auto found, file.find<int64_t>("tokenizer.ggml." + std::string(key) + "_token_id"));
    *id = found.value_or(-1);
  }
  QUERN_ASSIGN(source.addBos, file.find<bool>("tokenizer.ggml.add_bos_token"));
  QUERN_ASSIGN(auto chatTemplate, file.find<std::string_view>("tokenizer.chat_template"));
  source.chatTemplate = chatTemplate.value_or("");
  return source;
}

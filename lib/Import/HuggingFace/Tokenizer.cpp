// tokenizer.json and tokenizer_config.json. Only byte-level BPE with the rules of these families passes: whatever else
// a tokenizer.json may say would change the tokens, so it is refused by name.
#include "JsonFile.h"
#include "Parts.h"

#include "quern/Runtime/TokenizerTables.h"

#include <algorithm>
#include <filesystem>
#include <unordered_map>

using namespace quern;
using namespace quern::import;
using nlohmann::json;
using tokenizer::TokenType;

// The patterns that cut text into pieces; Llama 3 takes up to three digits together, Qwen2 one.
static constexpr std::string_view kPatternStart =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})";
static constexpr std::string_view kPatternEnd = R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

static constexpr std::string_view kDeepSeekBegin = "<｜begin▁of▁sentence｜>";

namespace {
class TokenizerFiles {
public:
  TokenizerFiles(const JsonObject &main, const JsonObject &config, const HuggingFaceConfig &model)
      : main(main), config(config), model(model) {}
  Status read();
  void addTo(gguf::Assembly &assembly, const std::string &chatTemplate);

private:
  Status readRules();
  Result<std::string> readPattern() const;
  Status readVocabulary();
  Status readAddedTokens();
  Status readMerges();
  Status readPrefix();
  Status readSpecialIds();
  Status put(const std::string &text, const json &id, TokenType type);
  Result<int64_t> idOf(const std::string &key) const;

  const JsonObject &main, &config;
  const HuggingFaceConfig &model;
  const json *bpe = nullptr; ///< the model of `main`
  std::string pre;
  std::vector<std::string> tokens, merges;
  std::vector<int32_t> types;
  std::unordered_map<std::string, int64_t> ids;
  int64_t bos = -1, eos = -1, eot = -1, pad = -1;
  bool addBos = false;
};
} // namespace

/// A member of an object; null if it is absent, or the value is no object.
static const json &field(const json &value, const char *key) {
  static const json null;
  auto found = value.is_object() ? value.find(key) : value.end();
  return value.is_object() && found != value.end() ? *found : null;
}

static std::string textOf(const json &value, const char *key) {
  const json &found = field(value, key);
  return found.is_string() ? found.get<std::string>() : "";
}

static bool isTrue(const json &value, const char *key) { return field(value, key) == true; }

/// The steps of a normalizer, pre-tokenizer or post-processor: those of a sequence, or the one that it is.
static std::vector<json> steps(const json *value, const char *listKey) {
  if (!value)
    return {};
  if (const json &list = field(*value, listKey); textOf(*value, "type") == "Sequence" && list.is_array())
    return list.get<std::vector<json>>();
  return {*value};
}

/// The pattern of the pre-tokenizer, which must be a split by it and the mapping of bytes, and no more.
Result<std::string> TokenizerFiles::readPattern() const {
  std::vector<json> parts = steps(main.value("pre_tokenizer"), "pretokenizers");
  if (parts.size() != 2 || textOf(parts[0], "type") != "Split" || textOf(parts[1], "type") != "ByteLevel")
    return main.error("the pre_tokenizer must be a 'Split' by a pattern, then 'ByteLevel'; others are not supported");
  // Where the file leaves out `use_regex`, its readers take it as true.
  if (textOf(parts[0], "behavior") != "Isolated" || isTrue(parts[0], "invert") ||
      field(parts[1], "add_prefix_space") != false || field(parts[1], "use_regex") != false)
    return main.error("the pre_tokenizer must isolate what its pattern matches, and neither add a space nor split "
                      "again; others are not supported");
  return textOf(field(parts[0], "pattern"), "Regex");
}

Status TokenizerFiles::readRules() {
  const json *found = main.value("model");
  if (!found || textOf(*found, "type") != "BPE")
    return main.error("the model is no byte-level BPE, and only that is supported");
  bpe = found;
  if (isTrue(*bpe, "byte_fallback") || !field(*bpe, "dropout").is_null() ||
      !textOf(*bpe, "continuing_subword_prefix").empty() || !textOf(*bpe, "end_of_word_suffix").empty())
    return main.error("BPE with byte_fallback, dropout, or marks inside or at the end of words is not supported");
  bool nfc = false;
  for (const json &step : steps(main.value("normalizer"), "normalizers")) {
    if (textOf(step, "type") != "NFC")
      return main.error("the normalizer '" + textOf(step, "type") + "' is not supported; 'NFC' or none is");
    nfc = true;
  }
  QUERN_ASSIGN(std::string pattern, readPattern());
  bool ignoreMerges = isTrue(*bpe, "ignore_merges");
  if (pattern == std::string(kPatternStart) + std::string(kPatternEnd) && nfc && !ignoreMerges)
    pre = "qwen2";
  else if (pattern == std::string(kPatternStart) + "{1,3}" + std::string(kPatternEnd) && !nfc && ignoreMerges)
    pre = "llama-bpe";
  else
    return main.error("the pattern of the pre_tokenizer, with the normalizer and ignore_merges as they are, is neither "
                      "that of Qwen2 nor that of Llama 3; others are not supported");
  return {};
}

/// Gives an id its text; added tokens may repeat what the vocabulary says.
Status TokenizerFiles::put(const std::string &text, const json &id, TokenType type) {
  if (!id.is_number_unsigned() || id.get<uint64_t>() >= tokens.size())
    return main.error("token '" + text + "' has the id " + id.dump() + ", but the model has only " +
                      std::to_string(tokens.size()) + " rows (vocab_size)");
  auto index = id.get<size_t>();
  auto [known, isNew] = ids.try_emplace(text, static_cast<int64_t>(index));
  bool taken = types[index] != static_cast<int32_t>(TokenType::Unused);
  if (isNew ? taken : known->second != static_cast<int64_t>(index))
    return main.error("token '" + text + "' with id " + std::to_string(index) + " contradicts another token");
  tokens[index] = text;
  types[index] = static_cast<int32_t>(type);
  return {};
}

Status TokenizerFiles::readVocabulary() {
  auto rows = static_cast<size_t>(model.model.vocabulary);
  types.assign(rows, static_cast<int32_t>(TokenType::Unused));
  for (size_t i = 0; i < rows; ++i)
    tokens.push_back("[PAD" + std::to_string(i) + "]");
  const json &vocabulary = field(*bpe, "vocab");
  if (!vocabulary.is_object())
    return main.error("the model has no vocabulary 'vocab'");
  for (const auto &[text, id] : vocabulary.items())
    QUERN_TRY(put(text, id, TokenType::Normal));
  return readAddedTokens();
}

/// Whether a token is written as control tokens are, whatever its flag says.
static bool looksLikeControl(std::string_view text) {
  return (text.starts_with("<|") && text.ends_with("|>")) || (text.starts_with("<｜") && text.ends_with("｜>"));
}

Status TokenizerFiles::readAddedTokens() {
  const json *list = main.value("added_tokens");
  for (const json &token : list && list->is_array() ? *list : json::array()) {
    std::string text = textOf(token, "content");
    if (text.empty())
      return main.error("an entry of 'added_tokens' has no 'content'");
    for (const char *flag : {"single_word", "lstrip", "rstrip"})
      if (isTrue(token, flag))
        return main.error("added token '" + text + "' has " + flag + ", which is not supported");
    bool control = isTrue(token, "special") || looksLikeControl(text);
    QUERN_TRY(put(text, field(token, "id"), control ? TokenType::Control : TokenType::UserDefined));
  }
  if (pre == "qwen2" && ids.contains(std::string(kDeepSeekBegin)))
    pre = "deepseek-r1-qwen";
  return {};
}

/// Merges are texts "A B", or pairs of texts in newer files.
Status TokenizerFiles::readMerges() {
  const json &list = field(*bpe, "merges");
  if (!list.is_array())
    return main.error("the model has no list 'merges'");
  for (const json &merge : list) {
    bool pair = merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string();
    std::string text = pair              ? merge[0].get<std::string>() + " " + merge[1].get<std::string>()
                       : merge.is_string() ? merge.get<std::string>()
                                           : "";
    if (std::ranges::count(text, ' ') != 1)
      return main.error("merge " + std::to_string(merges.size()) + " is not two tokens");
    merges.push_back(std::move(text));
  }
  return {};
}

/// What the post-processor puts before a text: nothing, or one token.
Status TokenizerFiles::readPrefix() {
  QUERN_ASSIGN(std::optional<bool> flag, config.find<bool>("add_bos_token"));
  addBos = flag.value_or(false);
  for (const json &step : steps(main.value("post_processor"), "processors")) {
    if (textOf(step, "type") == "ByteLevel")
      continue;
    const json &single = field(step, "single");
    if (textOf(step, "type") != "TemplateProcessing" || !single.is_array() || single.empty() ||
        field(single.back(), "Sequence").is_null() || single.size() > 2)
      return main.error("the post_processor must put one token before the text, or none; others are not supported");
    addBos = single.size() == 2;
    if (!addBos)
      continue;
    std::string text = textOf(field(single[0], "SpecialToken"), "id");
    auto found = ids.find(text);
    if (found == ids.end())
      return main.error("the post_processor puts '" + text + "' before a text, which is no token");
    bos = found->second;
  }
  return {};
}

/// The id of a token that tokenizer_config.json names by its text, -1 if it names none.
Result<int64_t> TokenizerFiles::idOf(const std::string &key) const {
  const json *value = config.value(key);
  if (!value)
    return -1;
  std::string text = value->is_string() ? value->get<std::string>() : textOf(*value, "content");
  auto found = ids.find(text);
  if (found == ids.end())
    return config.error("'" + key + "' is '" + text + "', which tokenizer.json does not know");
  return found->second;
}

Status TokenizerFiles::readSpecialIds() {
  if (bos < 0) {
    QUERN_ASSIGN(bos, idOf("bos_token"));
    if (bos < 0)
      bos = model.bos.value_or(-1);
  }
  QUERN_ASSIGN(eos, idOf("eos_token"));
  QUERN_ASSIGN(pad, idOf("pad_token"));
  for (int64_t id : model.eos) {
    if (eos < 0)
      eos = id;
    else if (id != eos && eot < 0)
      eot = id;
  }
  for (int64_t id : {bos, eos, eot})
    if (id >= static_cast<int64_t>(tokens.size()))
      return main.error("config.json or generation_config.json names the token " + std::to_string(id) +
                        ", but the model has only " + std::to_string(tokens.size()) + " rows");
  if (addBos && bos < 0)
    return config.error("'add_bos_token' is true, but there is no 'bos_token'");
  return {};
}

Status TokenizerFiles::read() {
  QUERN_TRY(readRules());
  QUERN_TRY(readVocabulary());
  QUERN_TRY(readMerges());
  QUERN_TRY(readPrefix());
  return readSpecialIds();
}

void TokenizerFiles::addTo(gguf::Assembly &assembly, const std::string &chatTemplate) {
  const std::string prefix = "tokenizer.ggml.";
  assembly.add(prefix + "model", "gpt2");
  assembly.add(prefix + "pre", pre);
  assembly.add(prefix + "tokens", std::move(tokens));
  assembly.add(prefix + "token_type", types);
  assembly.add(prefix + "merges", std::move(merges));
  for (auto [key, id] :
       {std::pair("bos", bos), std::pair("eos", eos), std::pair("eot", eot), std::pair("padding", pad)})
    if (id >= 0)
      assembly.add(prefix + key + "_token_id", static_cast<uint32_t>(id));
  assembly.add(prefix + "add_bos_token", addBos);
  if (!chatTemplate.empty())
    assembly.add("tokenizer.chat_template", chatTemplate);
}

/// The file of its own that newer checkpoints have, or the text in tokenizer_config.json: one, or the default of some.
static Result<std::string> readChatTemplate(const std::string &folder, const JsonObject &config) {
  std::error_code ignored;
  if (const std::string file = folder + "/chat_template.jinja"; std::filesystem::exists(file, ignored))
    return readText(file);
  const json *value = config.value("chat_template");
  if (!value || value->is_string())
    return value ? value->get<std::string>() : "";
  for (const json &one : value->is_array() ? *value : json::array())
    if (textOf(one, "name") == "default")
      return textOf(one, "template");
  return config.error("'chat_template' must be a string, or a list with one named 'default'");
}

Status import::addTokenizer(gguf::Assembly &assembly, const std::string &folder, const HuggingFaceConfig &config) {
  QUERN_ASSIGN(JsonObject main, JsonObject::read(folder + "/tokenizer.json"));
  QUERN_ASSIGN(JsonObject more, JsonObject::readIfThere(folder + "/tokenizer_config.json"));
  QUERN_ASSIGN(std::string chatTemplate, readChatTemplate(folder, more));
  TokenizerFiles files(main, more, config);
  QUERN_TRY(files.read());
  files.addTo(assembly, chatTemplate);
  return {};
}

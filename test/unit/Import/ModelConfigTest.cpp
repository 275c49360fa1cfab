#include "quern/Import/ModelConfig.h"
#include "TestGGUF.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <set>

using namespace quern;
using namespace quern::import;
using gguf::ValueType;
using quern::gguf::test::Builder;

namespace {

/// A model of one layer, H 8, A 2, G 1, F 16, V 5, that tests bend before it is written.
struct TinyModel {
  std::string architecture = "qwen2";
  std::map<std::string, uint32_t> keys{{"block_count", 1},          {"embedding_length", 8},
                                       {"feed_forward_length", 16}, {"context_length", 64},
                                       {"attention.head_count", 2}, {"attention.head_count_kv", 1}};
  std::map<std::string, std::vector<uint64_t>> tensors{
      {"token_embd.weight", {8, 5}},      {"blk.0.attn_norm.weight", {8}},    {"blk.0.attn_q.weight", {8, 8}},
      {"blk.0.attn_k.weight", {8, 4}},    {"blk.0.attn_v.weight", {8, 4}},    {"blk.0.attn_output.weight", {8, 8}},
      {"blk.0.ffn_norm.weight", {8}},     {"blk.0.ffn_gate.weight", {8, 16}}, {"blk.0.ffn_up.weight", {8, 16}},
      {"blk.0.ffn_down.weight", {16, 8}}, {"output_norm.weight", {8}},        {"output.weight", {8, 5}},
      {"blk.0.attn_q.bias", {8}},         {"blk.0.attn_k.bias", {4}},         {"blk.0.attn_v.bias", {4}}};
  std::map<std::string, uint32_t> types; ///< type ids other than F32
  std::map<std::string, float> values;   ///< value of all elements, other than 1
  std::function<void(Builder &)> more = [](Builder &) {};

  TinyModel &llama() {
    architecture = "llama";
    for (const char *name : {"blk.0.attn_q.bias", "blk.0.attn_k.bias", "blk.0.attn_v.bias"})
      tensors.erase(name);
    return *this;
  }

  void build() {
    Builder builder;
    builder.string("general.architecture", architecture);
    builder.key(architecture + ".attention.layer_norm_rms_epsilon", ValueType::F32).put(1e-6f);
    for (const auto &[key, value] : keys)
      builder.u32(architecture + "." + key, value);
    more(builder);
    for (const auto &[name, dims] : tensors) {
      builder.dataBytes.data.resize((builder.dataBytes.data.size() + 31) / 32 * 32);
      ++builder.tensors;
      builder.infoBytes.text(name).put<uint32_t>(dims.size());
      uint64_t elements = 1;
      for (uint64_t dim : dims) {
        builder.infoBytes.put(dim);
        elements *= dim;
      }
      builder.infoBytes.put<uint32_t>(types.contains(name) ? types[name] : 0).put(builder.dataBytes.data.size());
      for (uint64_t i = 0; i < elements; ++i)
        builder.dataBytes.put(values.contains(name) ? values[name] : 1.0f);
    }
    bytes = builder.build();
  }
  /// The bytes must live as long as the file.
  Result<gguf::File> open() {
    build();
    return gguf::File::fromBytes(bytes, "m.gguf", gguf::TypeTable());
  }
  Result<ModelConfig> config() {
    QUERN_ASSIGN(gguf::File file, open());
    return readModelConfig(file);
  }
  std::string refusal() {
    Result<ModelConfig> read = config();
    return read ? "accepted" : read.error().message;
  }
  std::vector<std::byte> bytes;
};

void expectRefusal(TinyModel model, const std::string &part) {
  std::string message = model.refusal();
  EXPECT_NE(message.find(part), std::string::npos) << message;
  EXPECT_TRUE(message.starts_with("m.gguf: ")) << message;
}
/// The tiny model, changed.
TinyModel with(const std::function<void(TinyModel &)> &change) {
  TinyModel model;
  change(model);
  return model;
}

TEST(ModelConfig, ReadsQwen2) {
  TinyModel model;
  model.more = [](Builder &b) { b.key("qwen2.rope.freq_base", ValueType::F32).put(1e6f); };
  Result<ModelConfig> config = model.config();
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->layers, 1);
  EXPECT_EQ(config->headDim, 4);
  EXPECT_EQ(config->kvHeads, 1);
  EXPECT_EQ(config->vocabulary, 5);
  EXPECT_EQ(config->ropeTheta, 1e6);
  EXPECT_EQ(config->normEps, 1e-6f);
  EXPECT_EQ(config->rotaryStyle, RotaryStyle::Half);
  EXPECT_TRUE(config->attentionBias);
  EXPECT_FALSE(config->tied);
  EXPECT_EQ(config->parameters, 2 * 40 + 3 * 8 + 2 * 64 + 2 * 32 + 3 * 128 + 16);
}

TEST(ModelConfig, ReadsLlamaTiedWithFactors) {
  TinyModel model = with([](TinyModel &m) {
    m.llama().tensors["rope_freqs.weight"] = {2};
    m.tensors.erase("output.weight");
    m.keys.erase("attention.head_count_kv");
    m.tensors["blk.0.attn_k.weight"] = m.tensors["blk.0.attn_v.weight"] = {8, 8};
    m.keys["rope.dimension_count"] = 4;
  });
  Result<ModelConfig> config = model.config();
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->rotaryStyle, RotaryStyle::Interleaved);
  EXPECT_EQ(config->kvHeads, 2);
  EXPECT_EQ(config->ropeTheta, 10000.0);
  EXPECT_TRUE(config->ropeFactors);
  EXPECT_FALSE(config->attentionBias);
  EXPECT_STREQ(config->outputTensor(), "token_embd.weight");
}

TEST(ModelConfig, ReadsWhatTheFileSuggestsForSampling) {
  TinyModel model;
  EXPECT_TRUE(model.config()->generation.empty());
  model.more = [](Builder &b) {
    b.key("general.sampling.temp", ValueType::F32).put(0.5f);
    b.key("general.sampling.top_k", ValueType::I32).put(int32_t(20));
    b.key("general.sampling.penalty_repeat", ValueType::F32).put(1.25f);
  };
  Result<ModelConfig> config = model.config();
  ASSERT_TRUE(config) << config.error().message;
  std::map<std::string, double> expected = {{"temperature", 0.5}, {"top_k", 20}, {"repetition_penalty", 1.25}};
  EXPECT_EQ(config->generation, expected);
  model.more = [](Builder &b) { b.key("general.sampling.temp", ValueType::F32).put(-1.0f); };
  expectRefusal(model, "'general.sampling.temp' must be a number from 0 on");
}

TEST(ModelConfig, RefusesUnknownArchitectures) {
  expectRefusal(with([](TinyModel &m) { m.architecture = "gemma"; }),
                "architecture 'gemma' is not supported; qwen2, qwen3 and llama are");
  std::vector<std::byte> empty = Builder().build();
  Result<gguf::File> file = gguf::File::fromBytes(empty, "m.gguf", gguf::TypeTable());
  ASSERT_TRUE(file);
  EXPECT_EQ(readModelConfig(*file).error().message, "m.gguf: metadata key 'general.architecture' is missing");
}

TEST(ModelConfig, RefusesMissingKeys) {
  for (const char *key :
       {"block_count", "embedding_length", "feed_forward_length", "context_length", "attention.head_count"})
    expectRefusal(with([&](TinyModel &m) { m.keys.erase(key); }),
                  std::string("metadata key 'qwen2.") + key + "' is missing");
}

TEST(ModelConfig, RefusesSizesThatDoNotFit) {
  expectRefusal(with([](TinyModel &m) { m.keys["embedding_length"] = 0; }), "must be from 1 to");
  expectRefusal(with([](TinyModel &m) { m.keys["block_count"] = 5000; }), "at most 4096 layers");
  expectRefusal(with([](TinyModel &m) { m.keys["attention.head_count_kv"] = 3; }), "is not a multiple of");
  expectRefusal(with([](TinyModel &m) { m.keys["attention.head_count"] = 3; }), "does not divide into 3 heads");
  expectRefusal(with([](TinyModel &m) { m.keys["rope.dimension_count"] = 2; }), "head sizes must be even and equal");
  expectRefusal(with([](TinyModel &m) { m.keys["attention.key_length"] = 3; }), "head sizes must be even and equal");
  expectRefusal(with([](TinyModel &m) { m.keys["vocab_size"] = 6; }), "but 'token_embd.weight' has 5 rows");
  expectRefusal(with([](TinyModel &m) { m.keys["expert_count"] = 8; }), "'qwen2.expert_count' is 8");
}

TEST(ModelConfig, RefusesRotaryScaling) {
  auto scaling = [](const char *type) {
    return with([&](TinyModel &m) {
      m.more = [=](Builder &b) { b.string("qwen2.rope.scaling.type", type).u32("qwen2.rope.scaling.factor", 4); };
    });
  };
  expectRefusal(scaling("yarn"), "rotary scaling of type 'yarn'");
  expectRefusal(scaling("linear"), "rotary scaling of type 'linear'");
  EXPECT_EQ(scaling("none").refusal(), "accepted");
}

TEST(ModelConfig, RefusesWrongTensors) {
  std::set<std::string> names;
  for (const auto &[name, dims] : TinyModel().tensors)
    if (name != "output.weight") // without it the model is tied
      expectRefusal(with([&](TinyModel &m) { m.tensors.erase(name); }), "tensor '" + name + "' is missing");
  for (const auto &[name, dims] : TinyModel().tensors)
    if (name != "token_embd.weight")
      expectRefusal(with([&](TinyModel &m) { m.tensors[name].back() += 1; }), "tensor '" + name + "' has shape [");
  expectRefusal(with([](TinyModel &m) { m.tensors["blk.0.attn_q_norm.weight"] = {4}; }),
                "tensor 'blk.0.attn_q_norm.weight' is not part of a model of architecture qwen2");
  expectRefusal(with([](TinyModel &m) { m.types["output.weight"] = 26; }), "'output.weight' has type I32");
  expectRefusal(with([](TinyModel &m) { m.types["output_norm.weight"] = 1; }), "vectors must be F32");
}

TEST(ModelConfig, RefusesValuesThatAreNoNumbers) {
  expectRefusal(with([](TinyModel &m) { m.values["output_norm.weight"] = NAN; }),
                "tensor 'output_norm.weight': element 0 is nan");
  expectRefusal(with([](TinyModel &m) {
                  m.llama().tensors["rope_freqs.weight"] = {2};
                  m.values["rope_freqs.weight"] = 0;
                }),
                "no valid divisor of a frequency");
}

TEST(ModelConfig, NamesProductsThatRoundTheirInput) {
  auto naming = [](const char *name) {
    return with([name](TinyModel &m) {
      m.more = [name](Builder &b) { b.array(kDynamicQuantize, ValueType::String, 1).text(name); };
    });
  };
  Result<ModelConfig> config = naming("blk.0.ffn_up.weight").config();
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->dynamicallyQuantized, std::set<std::string>{"blk.0.ffn_up.weight"});
  for (const char *name : {"blk.1.ffn_up.weight", "blk.0.ffn_norm.weight", "token_embd.weight"})
    expectRefusal(naming(name), "'quern.dynamic_quantize' names '" + std::string(name) +
                                    "', which is no matrix that the model multiplies by");
}

TEST(ModelConfig, ReadsTokenizer) {
  TinyModel model = with([](TinyModel &m) {
    m.more = [](Builder &b) {
      b.string("tokenizer.ggml.model", "gpt2")
          .string("tokenizer.ggml.pre", "qwen2")
          .u32("tokenizer.ggml.eos_token_id", 2);
      b.array("tokenizer.ggml.tokens", ValueType::String, 3).text("a").text("b").text("ab");
      b.array("tokenizer.ggml.token_type", ValueType::I32, 3).put(1).put(1).put(1);
      b.array("tokenizer.ggml.merges", ValueType::String, 1).text("a b");
      b.key("tokenizer.ggml.add_bos_token", ValueType::Bool).put<uint8_t>(0);
    };
  });
  Result<gguf::File> file = model.open();
  ASSERT_TRUE(file) << file.error().message;
  ModelConfig config = *readModelConfig(*file);
  Result<TokenizerSource> source = readTokenizer(*file, config);
  ASSERT_TRUE(source) << source.error().message;
  EXPECT_EQ(source->tokens, (std::vector<std::string>{"a", "b", "ab"}));
  EXPECT_EQ(source->tokenTypes.size(), 3u);
  EXPECT_EQ(source->merges, (std::vector<std::string>{"a b"}));
  EXPECT_EQ(source->bos, -1);
  EXPECT_EQ(source->eos, 2);
  EXPECT_EQ(source->addBos, std::optional(false));
  config.vocabulary = 2;
  EXPECT_NE(readTokenizer(*file, config).error().message.find("3 tokens, but the embedding only 2 rows"),
            std::string::npos);
  TinyModel bareModel;
  Result<gguf::File> bare = bareModel.open();
  EXPECT_FALSE(readTokenizer(*bare, config));
}

} // namespace

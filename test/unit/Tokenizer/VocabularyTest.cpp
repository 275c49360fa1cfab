// Real vocabularies against encodings made by llama.cpp, where the files are at hand (beside the repository, in
// ../shared/data/vocab); skipped otherwise.
#include "quern/Import/GGUF.h"
#include "quern/Package/TokenizerBuilder.h"
#include "quern/Runtime/Tokenizer.h"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>

using namespace quern;
namespace fs = std::filesystem;

namespace {

const fs::path kFolder = fs::path(QUERN_SOURCE_DIR) / "../shared/data/vocab";

Result<TokenizerSource> readSource(const std::string &path) {
  QUERN_ASSIGN(gguf::File file, gguf::File::open(path, gguf::TypeTable()));
  TokenizerSource source;
  QUERN_ASSIGN(source.model, file.get<std::string_view>("tokenizer.ggml.model"));
  QUERN_ASSIGN(source.pre, file.get<std::string_view>("tokenizer.ggml.pre"));
  QUERN_ASSIGN(auto tokens, file.get<std::vector<std::string_view>>("tokenizer.ggml.tokens"));
  QUERN_ASSIGN(auto merges, file.get<std::vector<std::string_view>>("tokenizer.ggml.merges"));
  QUERN_ASSIGN(source.tokenTypes, file.get<std::vector<int32_t>>("tokenizer.ggml.token_type"));
  source.tokens.assign(tokens.begin(), tokens.end());
  source.merges.assign(merges.begin(), merges.end());
  QUERN_ASSIGN(auto bos, file.find<int64_t>("tokenizer.ggml.bos_token_id"));
  QUERN_ASSIGN(auto eos, file.find<int64_t>("tokenizer.ggml.eos_token_id"));
  source.bos = bos.value_or(-1);
  source.eos = eos.value_or(-1);
  return source;
}

std::string readText(const fs::path &path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

class VocabularyTest : public ::testing::Test {
protected:
  void load(const char *name) {
    if (!fs::exists(kFolder / name))
      GTEST_SKIP() << (kFolder / name).string() << " is not there";
    auto source = readSource((kFolder / name).string());
    ASSERT_TRUE(source) << source.error().message;
    auto image = buildTokenizer(*source);
    ASSERT_TRUE(image) << image.error().message;
    tables = std::move(image->bytes);
    auto opened = Tokenizer::open(tables, name);
    ASSERT_TRUE(opened) << opened.error().message;
    tokenizer = std::make_unique<Tokenizer>(*opened);
  }
  std::vector<int32_t> encode(const std::string &text) {
    return *tokenizer->encode(text, Specials::UserDefined, false);
  }

  std::vector<uint8_t> tables;
  std::unique_ptr<Tokenizer> tokenizer;
};

TEST_F(VocabularyTest, Qwen2EncodesAsLlamaCpp) {
  load("ggml-vocab-qwen2.gguf");
  if (IsSkipped())
    return;
  std::string texts = readText(kFolder / "ggml-vocab-qwen2.gguf.inp");
  std::istringstream answers(readText(kFolder / "ggml-vocab-qwen2.gguf.out"));
  const std::string separator = "\n__ggml_vocab_test__\n";
  int count = 0;
  for (size_t at = 0; at < texts.size(); ++count) {
    size_t end = std::min(texts.find(separator, at), texts.size());
    std::string text = texts.substr(at, end - at), line;
    at = end + separator.size();
    ASSERT_TRUE(std::getline(answers, line));
    std::istringstream ids(line);
    std::vector<int32_t> expected{std::istream_iterator<int32_t>(ids), {}};
    EXPECT_EQ(encode(text), expected) << "text: " << text;
    std::string back;
    for (int32_t token : expected)
      back += tokenizer->bytes(token);
    EXPECT_EQ(back, text);
  }
  EXPECT_EQ(count, 46);
}

TEST_F(VocabularyTest, Llama3TakesDigitsByThree) {
  load("ggml-vocab-llama-bpe.gguf");
  if (IsSkipped())
    return;
  EXPECT_EQ(encode("Hello world"), (std::vector<int32_t>{9906, 1917}));
  EXPECT_EQ(encode("333"), (std::vector<int32_t>{8765}));
  EXPECT_EQ(encode("3333"), (std::vector<int32_t>{8765, 18}));
  EXPECT_EQ(tokenizer->find("<|begin_of_text|>"), 128000);
  EXPECT_TRUE(tokenizer->addsBos());
}

} // namespace

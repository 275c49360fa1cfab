// What a model file can get wrong about its tokenizer, one sentence each.
#include "ToyTokenizer.h"

#include <functional>
#include <gtest/gtest.h>

using namespace quern;
using namespace quern::test;

namespace {

std::string refusal(const std::function<void(TokenizerSource &)> &change) {
  TokenizerSource source = toySource();
  change(source);
  auto image = buildTokenizer(source);
  return image ? "" : image.error().message;
}

void expectRefusal(const char *part, const std::function<void(TokenizerSource &)> &change) {
  EXPECT_NE(refusal(change).find(part), std::string::npos) << refusal(change);
}

TEST(TokenizerBuilder, RefusesUnknownKinds) {
  expectRefusal("tokenizer.ggml.model is 'llama'", [](auto &source) { source.model = "llama"; });
  expectRefusal("tokenizer.ggml.pre is 'gpt-4o'", [](auto &source) { source.pre = "gpt-4o"; });
}

TEST(TokenizerBuilder, RefusesBadTokens) {
  expectRefusal("has 0 entries", [](auto &source) { source.tokens.clear(); });
  expectRefusal("token_type has", [](auto &source) { source.tokenTypes.pop_back(); });
  expectRefusal("twice", [](auto &source) { source.tokens[260] = source.tokens[257]; });
  expectRefusal("has type 6", [](auto &source) { source.tokenTypes[3] = 6; });
  expectRefusal("not byte-mapped", [](auto &source) { source.tokens[260] = "two words"; });
  expectRefusal("single byte 65", [](auto &source) { source.tokens[65] = "AAAA"; });
}

TEST(TokenizerBuilder, RefusesBadIds) {
  expectRefusal("eos_token_id is 99999", [](auto &source) { source.eos = 99999; });
  expectRefusal("bos_token_id is missing", [](auto &source) {
    source.bos = -1;
    source.addBos = true;
  });
}

TEST(TokenizerBuilder, RefusesBadMerges) {
  expectRefusal("uses 'zz', which is no token", [](auto &source) { source.merges[0] = "zz l"; });
  expectRefusal("makes 'zl', which is no token", [](auto &source) { source.merges[0] = "z l"; });
  for (const char *merge : {"", "ll", " ", "l ", " l"})
    expectRefusal("is not two tokens", [&](auto &source) { source.merges[0] = merge; });
}

TEST(TokenizerBuilder, TellsTheManifest) {
  TokenizerSource source = toySource();
  auto image = buildTokenizer(source);
  ASSERT_TRUE(image);
  EXPECT_EQ(image->bos, source.bos);
  EXPECT_EQ(image->endOfGeneration, (std::vector<int32_t>{int32_t(source.eos), idOf(source, "<|im_end|>")}));
  EXPECT_FALSE(image->addBos);
  EXPECT_EQ(image->realTokens, int64_t(source.tokens.size()) - 1);
  EXPECT_EQ(image->chatTemplate, "none");
  EXPECT_EQ(image->bytes, buildTokenizer(source)->bytes);
}

} // namespace

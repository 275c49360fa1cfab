// Encoding and decoding with the toy vocabulary; ids below 256 are bytes.
#include "ToyTokenizer.h"

#include <gtest/gtest.h>
#include <random>

using namespace quern;
using namespace quern::test;
using tokenizer::TokenType;

namespace {

using Ids = std::vector<int32_t>;

class TokenizerTest : public ::testing::Test {
protected:
  Ids encode(const std::string &text, Specials specials = Specials::None) {
    auto ids = toy.tokenizer.encode(text, specials, false);
    EXPECT_TRUE(ids) << ids.error().message;
    return *ids;
  }
  int32_t id(const std::string &text) { return toy.tokenizer.find(text); }

  TokenizerSource source = toySource();
  OwnedTokenizer toy = makeTokenizer(source);
};

TEST_F(TokenizerTest, MergesByRank) {
  EXPECT_EQ(encode("hello"), (Ids{id("hello")}));
  EXPECT_EQ(encode(" world"), (Ids{id(" wor"), id("ld")}));
  EXPECT_EQ(encode("hello world!"), (Ids{id("hello"), id(" wor"), id("ld"), '!'}));
  EXPECT_EQ(encode("lll"), (Ids{id("ll"), 'l'})); // ties: leftmost
  EXPECT_EQ(encode("aaaaaaa"), (Ids{id("aaaa"), id("aa"), 'a'}));
  EXPECT_EQ(encode(""), Ids{});
}

TEST_F(TokenizerTest, DigitsStandAloneInQwenButNotInLlama) {
  EXPECT_EQ(encode("123"), (Ids{'1', '2', '3'}));
  OwnedTokenizer llama = makeTokenizer(toySource("llama-bpe"));
  EXPECT_EQ(*llama.tokenizer.encode("1234", Specials::None, false), (Ids{id("123"), '4'}));
}

TEST_F(TokenizerTest, IgnoreMergesTakesWholePieces) {
  TokenizerSource changed = toySource("llama-bpe");
  changed.merges.resize(3); // "hello" stays a token, but no merge makes it
  OwnedTokenizer llama = makeTokenizer(changed);
  EXPECT_EQ(*llama.tokenizer.encode("hello", Specials::None, false), (Ids{id("hello")}));
  changed.pre = "qwen2";
  OwnedTokenizer qwen = makeTokenizer(changed);
  EXPECT_EQ(*qwen.tokenizer.encode("hello", Specials::None, false), (Ids{id("hell"), 'o'}));
}

TEST_F(TokenizerTest, SpecialsAsAsked) {
  std::string text = "a<think><|im_start|>";
  EXPECT_EQ(encode(text, Specials::All), (Ids{'a', id("<think>"), id("<|im_start|>")}));
  EXPECT_EQ(encode(text, Specials::UserDefined).size(), 2u + 12u);
  EXPECT_EQ(encode(text, Specials::None).size(), text.size());
  EXPECT_EQ(encode("<|im_x", Specials::All)[0], id("<|im")); // longest first, and the shorter where it is alone
}

TEST_F(TokenizerTest, BeginsWithBosWhereAsked) {
  EXPECT_EQ(*toy.tokenizer.encode("a", Specials::None, true), (Ids{'a'})); // qwen2 wants none
  TokenizerSource wanting = toySource();
  wanting.addBos = true;
  OwnedTokenizer tokenizer = makeTokenizer(wanting);
  EXPECT_EQ(*tokenizer.tokenizer.encode("a", Specials::None, true), (Ids{int32_t(wanting.bos), 'a'}));
  EXPECT_EQ(*tokenizer.tokenizer.encode("a", Specials::None, false), (Ids{'a'}));
}

TEST_F(TokenizerTest, NormalizesForQwen) {
  EXPECT_EQ(encode("e\xCC\x81"), (Ids{id("é")}));
  OwnedTokenizer llama = makeTokenizer(toySource("llama-bpe"));
  EXPECT_EQ(llama.tokenizer.encode("e\xCC\x81", Specials::None, false)->size(), 3u);
}

TEST_F(TokenizerTest, RefusesTextThatIsNotUtf8) {
  auto ids = toy.tokenizer.encode("ab\xFF", Specials::None, false);
  ASSERT_FALSE(ids);
  EXPECT_EQ(ids.error().message, "the text is not UTF-8 at byte 2; convert it to UTF-8 first");
}

TEST_F(TokenizerTest, KnowsItsTokens) {
  EXPECT_EQ(toy.tokenizer.bytes(id(" wor")), " wor");
  EXPECT_EQ(toy.tokenizer.bytes(-1), "");
  EXPECT_EQ(toy.tokenizer.bytes(1 << 20), "");
  EXPECT_EQ(toy.tokenizer.type(id("<think>")), TokenType::UserDefined);
  EXPECT_TRUE(toy.tokenizer.isControl(id("<|im_end|>")));
  EXPECT_FALSE(toy.tokenizer.isControl(id("<think>")));
  EXPECT_TRUE(toy.tokenizer.endsGeneration(id("<|im_end|>")));
  EXPECT_TRUE(toy.tokenizer.endsGeneration(int32_t(source.eos)));
  EXPECT_FALSE(toy.tokenizer.endsGeneration('a'));
  EXPECT_EQ(toy.tokenizer.realTokens(), toy.tokenizer.size() - 1); // the last is unused
  EXPECT_EQ(toy.tokenizer.find("zz"), -1);
}

/// BPE as its definition says, for comparison.
Ids slowMerge(const TokenizerSource &source, const std::string &piece) {
  std::vector<std::string> parts;
  for (char c : piece)
    parts.push_back(byteMapped(std::string(1, c)));
  for (;;) {
    size_t bestRank = source.merges.size(), bestAt = 0;
    for (size_t i = 0; i + 1 < parts.size(); ++i)
      for (size_t rank = 0; rank < bestRank; ++rank)
        if (source.merges[rank] == parts[i] + " " + parts[i + 1])
          bestRank = rank, bestAt = i;
    if (bestRank == source.merges.size())
      break;
    parts[bestAt] += parts[bestAt + 1];
    parts.erase(parts.begin() + long(bestAt) + 1);
  }
  Ids out;
  for (const std::string &part : parts)
    out.push_back(idOf(source, part));
  return out;
}

TEST_F(TokenizerTest, AgreesWithTheDefinitionOnRandomWords) {
  std::mt19937 random(7);
  for (int round = 0; round < 2000; ++round) {
    std::string word;
    for (size_t i = 0, n = 1 + random() % 20; i < n; ++i)
      word += "helorda"[random() % 7];
    EXPECT_EQ(encode(word), slowMerge(source, word)) << word;
  }
}

TEST_F(TokenizerTest, DecodesWhatItEncodesAndStaysFastOnLongWords) {
  std::string text(1 << 20, 'a'); // quadratic merging would take minutes
  text += "\n\nhello \xF0\x9F\xA6\x99 wor\0ld 12é";
  std::string back;
  for (int32_t token : encode(text))
    back += toy.tokenizer.bytes(token);
  EXPECT_EQ(back, text);
}

TEST(TextStream, NeverSplitsACharacter) {
  TextStream stream;
  std::string out;
  stream.push("a\xF0\x9F", out);
  EXPECT_EQ(out, "a");
  stream.push("\xA6", out);
  EXPECT_EQ(out, "a");
  stream.push("\x99z", out);
  EXPECT_EQ(out, "a\xF0\x9F\xA6\x99z");
}

TEST(TextStream, ReplacesWhatIsNoUtf8) {
  TextStream stream;
  std::string out;
  stream.push("\xE2\x82", out);
  stream.push("x\xFF", out);
  EXPECT_EQ(out, "\uFFFDx\uFFFD");
  stream.push("\xC3", out);
  stream.finish(out);
  EXPECT_EQ(out, "\uFFFDx\uFFFD\uFFFD");
}

TEST_F(TokenizerTest, DamagedTablesAreRefusedOrHarmless) {
  EXPECT_FALSE(Tokenizer::open(std::span(toy.tables).first(20), "p"));
  std::mt19937 random(11);
  for (int round = 0; round < 3000; ++round) {
    std::vector<uint8_t> tables = toy.tables;
    size_t most = round % 2 ? tables.size() : sizeof(tokenizer::TablesHeader);
    for (int change = 0; change < 3; ++change)
      tables[random() % most] = uint8_t(random());
    auto damaged = Tokenizer::open(tables, "p");
    if (!damaged)
      continue;
    auto ids = damaged->encode("hello world <think> 12 aaaa\n\n e\xCC\x81", Specials::All, true);
    ASSERT_TRUE(ids);
    for (int32_t token : *ids)
      damaged->bytes(token);
  }
}

} // namespace

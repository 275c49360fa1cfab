// Pieces as the regular expressions give them, worked out by hand for each alternative.
#include "lib/Runtime/PreTokenizer.h"
#include "lib/Runtime/Unicode.h"

#include <gtest/gtest.h>
#include <string>
#include <vector>

using namespace quern;
using tokenizer::PreTokenizer;

namespace {

std::vector<std::string> pieces(std::string_view text, PreTokenizer rules = PreTokenizer::Qwen2) {
  std::vector<std::string> out;
  while (!text.empty()) {
    size_t length = tokenizer::firstPiece(text, rules);
    out.emplace_back(text.substr(0, length));
    text.remove_prefix(length);
  }
  return out;
}

using Pieces = std::vector<std::string>;

TEST(PreTokenizer, Contractions) {
  EXPECT_EQ(pieces("I'll he'S 'x"), (Pieces{"I", "'ll", " he", "'S", " '", "x"}));
  EXPECT_EQ(pieces("we'VE'lL"), (Pieces{"we", "'VE", "'lL"}));
  EXPECT_EQ(pieces(" 'told"), (Pieces{" '", "told"}));
  EXPECT_EQ(pieces("'"), (Pieces{"'"}));
  EXPECT_EQ(pieces("'l"), (Pieces{"'l"}));
}

TEST(PreTokenizer, WordsTakeOneCharacterBefore) {
  EXPECT_EQ(pieces("Hello world"), (Pieces{"Hello", " world"}));
  EXPECT_EQ(pieces("(word\tfoo--bar"), (Pieces{"(word", "\tfoo", "--", "bar"}));
  EXPECT_EQ(pieces("\nfoo"), (Pieces{"\n", "foo"}));
  EXPECT_EQ(pieces("我想在apple工作"), (Pieces{"我想在apple工作"}));
  EXPECT_EQ(pieces("\xC2\xA0x"), (Pieces{"\xC2\xA0x"})); // a no-break space
}

TEST(PreTokenizer, Numbers) {
  EXPECT_EQ(pieces("a 12½"), (Pieces{"a", " ", "1", "2", "½"}));
  EXPECT_EQ(pieces("a 12345", PreTokenizer::Llama3), (Pieces{"a", " ", "123", "45"}));
}

TEST(PreTokenizer, Symbols) {
  EXPECT_EQ(pieces(" !?\n\n x"), (Pieces{" !?\n\n", " x"}));
  EXPECT_EQ(pieces("  ="), (Pieces{" ", " ="}));
  EXPECT_EQ(pieces("a\xCC\x81"), (Pieces{"a", "\xCC\x81"})); // a combining mark is no letter
}

TEST(PreTokenizer, Space) {
  EXPECT_EQ(pieces("   "), (Pieces{"   "}));
  EXPECT_EQ(pieces("   Hello"), (Pieces{"  ", " Hello"}));
  EXPECT_EQ(pieces("\n  \n  Hello"), (Pieces{"\n  \n", " ", " Hello"}));
  EXPECT_EQ(pieces("  1"), (Pieces{" ", " ", "1"}));
  EXPECT_EQ(pieces("\t\n"), (Pieces{"\t\n"}));
  EXPECT_EQ(pieces("a\r\n\r\nb"), (Pieces{"a", "\r\n\r\n", "b"}));
}

TEST(Unicode, StepsThroughIllFormedText) {
  auto lengthAndStatus = [](std::string_view text) {
    unicode::Step step = unicode::step(text);
    return std::pair(step.length, step.status);
  };
  using unicode::Utf8;
  EXPECT_EQ(lengthAndStatus("\xF0\x9F\xA6\x99"), std::pair(4u, Utf8::Valid));
  EXPECT_EQ(lengthAndStatus("\xF0\x9F\xA6"), std::pair(3u, Utf8::Incomplete));
  EXPECT_EQ(lengthAndStatus("\xF0\x9Fx"), std::pair(2u, Utf8::Invalid));
  for (const char *text : {"\x80", "\xC1\x81", "\xE0\x9F\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xFF"})
    EXPECT_EQ(lengthAndStatus(text), std::pair(1u, Utf8::Invalid));
  EXPECT_EQ(unicode::firstInvalid("ab\xC3\xA9\xC3"), 4u);
}

TEST(Unicode, NormalizesToFormC) {
  EXPECT_EQ(unicode::normalizeNfc("e\xCC\x81"), "é");
  EXPECT_EQ(unicode::normalizeNfc("\xE1\x84\x80\xE1\x85\xA1"), "가"); // Hangul jamo compose
  EXPECT_EQ(unicode::normalizeNfc("\xE2\x84\xAB"), "\xC3\x85");       // the angstrom sign is Å
  EXPECT_TRUE(unicode::isSurelyNfc("Füße"));
  EXPECT_FALSE(unicode::isSurelyNfc("e\xCC\x81"));
}

} // namespace

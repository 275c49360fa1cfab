#include "ToyTokenizer.h"

#include <algorithm>
#include <cstdlib>
#include <gtest/gtest.h>

namespace quern::test {

std::string byteMapped(const std::string &bytes) {
  std::string out;
  for (char c : bytes) {
    int byte = uint8_t(c), point = byte;
    if (byte <= 32)
      point = 0x100 + byte;
    else if (byte >= 127 && byte <= 160)
      point = 0x121 + byte - 127;
    else if (byte == 173)
      point = 0x143;
    if (point < 0x80) {
      out += char(point);
    } else {
      out += char(0xC0 | point >> 6);
      out += char(0x80 | (point & 0x3F));
    }
  }
  return out;
}

TokenizerSource toySource(const std::string &pre) {
  TokenizerSource source;
  source.model = "gpt2";
  source.pre = pre;
  for (int byte = 0; byte < 256; ++byte)
    source.tokens.push_back(byteMapped(std::string(1, char(byte))));
  const std::pair<const char *, const char *> merges[] = {
      {"l", "l"}, {"h", "e"}, {"he", "ll"}, {"hell", "o"}, {" ", "w"},    {"o", "r"},  {" w", "or"},
      {"l", "d"}, {"a", "a"}, {"aa", "aa"}, {"\n", "\n"},  {"\xC3", "\xA9"}, {"1", "2"}, {"12", "3"}};
  for (auto [left, right] : merges) {
    source.merges.push_back(byteMapped(left) + " " + byteMapped(right));
    source.tokens.push_back(byteMapped(std::string(left) + right));
  }
  source.tokenTypes.assign(source.tokens.size(), 1);
  auto add = [&](const char *text, int32_t type) {
    source.tokens.push_back(text);
    source.tokenTypes.push_back(type);
    return int64_t(source.tokens.size() - 1);
  };
  source.bos = add("<｜begin▁of▁sentence｜>", 3);
  source.eos = add("<｜end▁of▁sentence｜>", 3);
  for (const char *text : {"<｜User｜>", "<｜Assistant｜>", "<|im_start|>", "<|im_end|>", "<|im"})
    add(text, 3);
  for (const char *text : {"<think>", "</think>"})
    add(text, 4);
  add("[PAD]", 5);
  return source;
}

OwnedTokenizer makeTokenizer(const TokenizerSource &source) {
  auto image = buildTokenizer(source);
  if (!image) {
    ADD_FAILURE() << image.error().message;
    std::abort();
  }
  auto tokenizer = Tokenizer::open(image->bytes, "toy");
  if (!tokenizer) {
    ADD_FAILURE() << tokenizer.error().message;
    std::abort();
  }
  return {std::move(image->bytes), *std::move(tokenizer)};
}

int32_t idOf(const TokenizerSource &source, const std::string &text) {
  return int32_t(std::find(source.tokens.begin(), source.tokens.end(), text) - source.tokens.begin());
}

} // namespace quern::test

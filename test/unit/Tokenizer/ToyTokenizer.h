// A tokenizer small enough to work out by hand: the 256 bytes, a few merges, and added tokens of both model families.
#ifndef QUERN_TEST_TOYTOKENIZER_H
#define QUERN_TEST_TOYTOKENIZER_H

#include "quern/Package/TokenizerBuilder.h"
#include "quern/Runtime/Tokenizer.h"

#include <cstdint>
#include <string>
#include <vector>

namespace quern::test {

/// Byte-mapped form of a text, as in GGUF ("Ġ" for a space).
std::string byteMapped(const std::string &bytes);

/// Ids 0 to 255: the bytes in the order of their values. Then the products of the merges in their order, then the added
/// tokens, then one unused.
TokenizerSource toySource(const std::string &pre = "qwen2");

/// A tokenizer and the tables it uses.
struct OwnedTokenizer {
  std::vector<uint8_t> tables;
  Tokenizer tokenizer;
};
OwnedTokenizer makeTokenizer(const TokenizerSource &source);

/// Id of a token by its text as in the source.
int32_t idOf(const TokenizerSource &source, const std::string &text);

} // namespace quern::test

#endif // QUERN_TEST_TOYTOKENIZER_H

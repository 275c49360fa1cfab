// PTX text as tokens: words (names, directives and opcodes with their dots), numbers, strings and single characters.
#ifndef QUERN_TEST_PTX_LEXER_H
#define QUERN_TEST_PTX_LEXER_H

#include "quern/Support/Result.h"

#include <cstdint>
#include <string_view>
#include <vector>

namespace quern::ptx {

struct Token {
  enum Kind { word, number, string, mark, end } kind;
  std::string_view text; ///< points into the module's text
  uint32_t line;
};

/// The last token is an `end`. Comments are dropped. An error names the line of a character that begins no token.
Result<std::vector<Token>> tokenize(std::string_view text);

} // namespace quern::ptx

#endif // QUERN_TEST_PTX_LEXER_H

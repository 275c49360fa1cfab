// Takes tokens one after another; what is expected and not there is an error that names the line.
#ifndef QUERN_TEST_PTX_TOKEN_READER_H
#define QUERN_TEST_PTX_TOKEN_READER_H

#include "test/ptx/Lexer.h"

#include <algorithm>
#include <charconv>

namespace quern::ptx {

class TokenReader {
public:
  explicit TokenReader(std::vector<Token> tokens) : tokens(std::move(tokens)) {}

protected:
  const Token &peek(size_t ahead = 0) const { return tokens[std::min(at + ahead, tokens.size() - 1)]; }
  Token take() {
    Token token = peek();
    ++at;
    return token;
  }
  bool accept(std::string_view text) {
    bool found = peek().kind != Token::end && peek().text == text;
    at += found;
    return found;
  }
  tl::unexpected<Error> wrong(const std::string &expected) const {
    return fail("line " + std::to_string(peek().line) + ": expected " + expected + ", got '" +
                std::string(peek().text) + "'");
  }
  Status expect(std::string_view text) {
    if (!accept(text))
      return wrong("'" + std::string(text) + "'");
    return {};
  }
  Result<std::string> word(const char *what) {
    if (peek().kind != Token::word)
      return wrong(what);
    return std::string(take().text);
  }

  /// Decimal, `0x` hexadecimal, `0f` and `0d` bits of a float; a leading minus where `signs`. A `U` behind an integer
  /// changes nothing.
  Result<uint64_t> number(bool signs = false) {
    bool negative = signs && accept("-");
    if (peek().kind != Token::number)
      return wrong("a number");
    std::string_view text = peek().text;
    int base = 10;
    if (text.size() > 2 && text[0] == '0' && std::string_view("xXfFdD").find(text[1]) != std::string_view::npos) {
      text.remove_prefix(2);
      base = 16;
    }
    if (text.ends_with('U'))
      text.remove_suffix(1);
    uint64_t value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (error != std::errc() || end != text.data() + text.size())
      return wrong("a number");
    take();
    return negative ? 0 - value : value;
  }

private:
  std::vector<Token> tokens;
  size_t at = 0;
};

} // namespace quern::ptx

#endif // QUERN_TEST_PTX_TOKEN_READER_H

#include "test/ptx/Lexer.h"

#include <cctype>
#include <string>

namespace quern::ptx {
namespace {

bool isWordStart(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) || std::string_view("_$%.").find(c) != std::string_view::npos;
}
bool isWordPart(char c) { return isWordStart(c) || std::isdigit(static_cast<unsigned char>(c)); }

class Lexer {
public:
  explicit Lexer(std::string_view text) : text(text) {}

  Result<std::vector<Token>> run() {
    while (skipBlanks()) {
      size_t length = tokenLength();
      if (length == 0)
        return fail("line " + std::to_string(line) + ": unexpected character '" + text[at] + "'");
      tokens.push_back({kind, text.substr(at, length), line});
      at += length;
    }
    tokens.push_back({Token::end, "end of the text", line});
    return std::move(tokens);
  }

private:
  /// False at the end of the text.
  bool skipBlanks() {
    while (at < text.size()) {
      if (text.substr(at, 2) == "//") {
        at = std::min(text.find('\n', at), text.size());
      } else if (text[at] == '\n') {
        ++line, ++at;
      } else if (std::isspace(static_cast<unsigned char>(text[at])) || text[at] == '\0') {
        ++at;
      } else {
        return true;
      }
    }
    return false;
  }

  size_t tokenLength() {
    char c = text[at];
    if (std::isdigit(static_cast<unsigned char>(c))) {
      kind = Token::number;
      return run([](char part) { return part == '.' || std::isalnum(static_cast<unsigned char>(part)); });
    }
    if (isWordStart(c)) {
      kind = Token::word;
      return wordLength();
    }
    if (c == '"') {
      kind = Token::string;
      size_t close = text.find('"', at + 1);
      return close == std::string_view::npos ? 0 : close + 1 - at;
    }
    kind = Token::mark;
    return std::string_view(",;[]{}()<>+-@!|=:").find(c) == std::string_view::npos ? 0 : 1;
  }

  /// A word holds `::` only between parts of a modifier, as in `L2::128B`; a colon after a label is a mark.
  size_t wordLength() {
    size_t length = run(isWordPart);
    while (text.substr(at + length, 2) == "::") {
      length += 2;
      while (at + length < text.size() && isWordPart(text[at + length]))
        ++length;
    }
    return length;
  }

  template <typename Predicate> size_t run(Predicate belongs) const {
    size_t length = 0;
    while (at + length < text.size() && belongs(text[at + length]))
      ++length;
    return length;
  }

  std::string_view text;
  size_t at = 0;
  uint32_t line = 1;
  Token::Kind kind = Token::end;
  std::vector<Token> tokens;
};

} // namespace

Result<std::vector<Token>> tokenize(std::string_view text) { return Lexer(text).run(); }

} // namespace quern::ptx

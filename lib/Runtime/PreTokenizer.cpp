// The expression, its alternatives tried in this order (Qwen2; Llama 3 has \p{N}{1,3} in the third place):
//
//   (?i:'s|'t|'re|'ve|'m|'ll|'d) | [^\r\n\p{L}\p{N}]?\p{L}+ | \p{N} | ?[^\s\p{L}\p{N}]+[\r\n]* | \s*[\r\n]+
//   | \s+(?!\S) | \s+
//
// Each alternative is one function that returns the length of its match in bytes, or 0.
#include "PreTokenizer.h"

#include "Unicode.h"

namespace quern::tokenizer {
namespace {

using unicode::Class;

struct Character {
  char32_t point = 0;
  size_t length = 0; ///< 0: end of text
  Class kind = Class::Other;
  bool isBreak() const { return point == '\r' || point == '\n'; }
};

Character characterAt(std::string_view text, size_t at) {
  if (at >= text.size())
    return {};
  unicode::Step step = unicode::step(text.substr(at));
  return {step.point, step.length, unicode::classOf(step.point)};
}

/// End of the longest run of characters of one class from `at`, at most `most` of them.
size_t runOf(std::string_view text, size_t at, Class kind, size_t most = SIZE_MAX) {
  for (; most > 0; --most) {
    Character next = characterAt(text, at);
    if (next.length == 0 || next.kind != kind)
      break;
    at += next.length;
  }
  return at;
}

size_t contraction(std::string_view text) {
  if (text.size() < 2 || text[0] != '\'')
    return 0;
  auto lower = [&](size_t i) { return i < text.size() ? char(text[i] | 0x20) : '\0'; };
  char first = lower(1), second = lower(2);
  // Setting bit 5 maps only letters to letters here: no other byte becomes one of these.
  if (first == 's' || first == 't' || first == 'm' || first == 'd')
    return 2;
  bool two = (first == 'r' && second == 'e') || (first == 'v' && second == 'e') || (first == 'l' && second == 'l');
  return two ? 3 : 0;
}

size_t word(std::string_view text, const Character &first) {
  if (first.kind == Class::Letter)
    return runOf(text, 0, Class::Letter);
  if (first.kind == Class::Number || first.isBreak())
    return 0;
  size_t end = runOf(text, first.length, Class::Letter);
  return end > first.length ? end : 0;
}

size_t symbols(std::string_view text, const Character &first) {
  size_t start = first.point == ' ' ? 1 : 0;
  size_t end = runOf(text, start, Class::Other);
  if (end == start)
    return 0;
  while (end < text.size() && (text[end] == '\r' || text[end] == '\n'))
    ++end;
  return end;
}

/// The last three alternatives, at a space: up to the last line break of the run; else the run, less its last
/// character where something follows that is to begin with it.
size_t space(std::string_view text) {
  size_t end = 0, lastStart = 0, lastBreak = 0;
  for (;;) {
    Character next = characterAt(text, end);
    if (next.length == 0 || next.kind != Class::Space)
      break;
    lastStart = end;
    end += next.length;
    if (next.isBreak())
      lastBreak = end;
  }
  if (lastBreak > 0)
    return lastBreak;
  return end == text.size() || lastStart == 0 ? end : lastStart;
}

} // namespace

size_t firstPiece(std::string_view text, PreTokenizer rules) {
  if (size_t length = contraction(text))
    return length;
  Character first = characterAt(text, 0);
  if (size_t length = word(text, first))
    return length;
  if (first.kind == Class::Number)
    return runOf(text, 0, Class::Number, rules == PreTokenizer::Llama3 ? 3 : 1);
  if (size_t length = symbols(text, first))
    return length;
  return space(text);
}

} // namespace quern::tokenizer

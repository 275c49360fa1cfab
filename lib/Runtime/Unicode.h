// What the tokenizer needs of Unicode: strict UTF-8, four character classes, normal form C.
#ifndef QUERN_LIB_RUNTIME_UNICODE_H
#define QUERN_LIB_RUNTIME_UNICODE_H

#include <cstdint>
#include <string>
#include <string_view>

namespace quern::unicode {

enum class Utf8 : uint8_t { Valid, Incomplete, Invalid };

/// One step through UTF-8. `length` is that of the character, of the incomplete rest of the text, or of the longest
/// part of an ill-formed sequence that one U+FFFD stands for.
struct Step {
  char32_t point = 0;
  uint32_t length = 0;
  Utf8 status = Utf8::Valid;
};

/// The character at the front of a text that is not empty.
Step step(std::string_view text);

/// Offset of the first byte that is not UTF-8, or npos.
size_t firstInvalid(std::string_view text);

enum class Class : uint8_t { Other, Letter, Number, Space };

/// Letter: L*; Number: N*; Space: White_Space; Other: the rest, marks included.
Class classOf(char32_t point);

/// Normal form C of valid UTF-8.
std::string normalizeNfc(std::string_view text);
/// True if the text is surely in normal form C: nothing from U+0300 (the first combining mark) on.
bool isSurelyNfc(std::string_view text);

void appendUtf8(std::string &out, char32_t point);

} // namespace quern::unicode

#endif // QUERN_LIB_RUNTIME_UNICODE_H

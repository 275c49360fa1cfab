#include "Unicode.h"

#include <array>
#include <cstdlib>
#include <utf8proc.h>

namespace quern::unicode {

/// Length that a lead byte announces and the range of the byte after it (Unicode, table 3-7); length 0: no lead byte.
struct Lead {
  uint32_t length;
  uint8_t low, high;
};

static Lead leadOf(uint8_t byte) {
  if (byte >= 0xC2 && byte <= 0xDF)
    return {2, 0x80, 0xBF};
  if (byte >= 0xE0 && byte <= 0xEF)
    return {3, uint8_t(byte == 0xE0 ? 0xA0 : 0x80), uint8_t(byte == 0xED ? 0x9F : 0xBF)};
  if (byte >= 0xF0 && byte <= 0xF4)
    return {4, uint8_t(byte == 0xF0 ? 0x90 : 0x80), uint8_t(byte == 0xF4 ? 0x8F : 0xBF)};
  return {0, 0, 0};
}

Step step(std::string_view text) {
  auto byte = [&](size_t i) { return uint8_t(text[i]); };
  if (byte(0) < 0x80)
    return {byte(0), 1, Utf8::Valid};
  Lead lead = leadOf(byte(0));
  if (lead.length == 0)
    return {0, 1, Utf8::Invalid};
  char32_t point = byte(0) & (0x7F >> lead.length);
  for (uint32_t i = 1; i < lead.length; ++i) {
    if (i == text.size())
      return {0, i, Utf8::Incomplete};
    uint8_t low = i == 1 ? lead.low : 0x80, high = i == 1 ? lead.high : 0xBF;
    if (byte(i) < low || byte(i) > high)
      return {0, i, Utf8::Invalid};
    point = point << 6 | (byte(i) & 0x3F);
  }
  return {point, lead.length, Utf8::Valid};
}

size_t firstInvalid(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    Step next = step(text.substr(at));
    if (next.status != Utf8::Valid)
      return at;
    at += next.length;
  }
  return std::string_view::npos;
}

static bool isWhiteSpace(char32_t point) {
  return (point >= 9 && point <= 13) || point == 0x20 || point == 0x85 || point == 0xA0 || point == 0x1680 ||
         (point >= 0x2000 && point <= 0x200A) || point == 0x2028 || point == 0x2029 || point == 0x202F ||
         point == 0x205F || point == 0x3000;
}

static Class lookUpClass(char32_t point) {
  if (isWhiteSpace(point))
    return Class::Space;
  switch (utf8proc_category(utf8proc_int32_t(point))) {
  case UTF8PROC_CATEGORY_LU:
  case UTF8PROC_CATEGORY_LL:
  case UTF8PROC_CATEGORY_LT:
  case UTF8PROC_CATEGORY_LM:
  case UTF8PROC_CATEGORY_LO:
    return Class::Letter;
  case UTF8PROC_CATEGORY_ND:
  case UTF8PROC_CATEGORY_NL:
  case UTF8PROC_CATEGORY_NO:
    return Class::Number;
  default:
    return Class::Other;
  }
}

Class classOf(char32_t point) {
  static const std::array<Class, 128> ascii = [] {
    std::array<Class, 128> table{};
    for (char32_t i = 0; i < 128; ++i)
      table[i] = lookUpClass(i);
    return table;
  }();
  return point < 128 ? ascii[point] : lookUpClass(point);
}

bool isSurelyNfc(std::string_view text) {
  for (char byte : text)
    if (uint8_t(byte) >= 0xCC) // lead byte of U+0300 and all that follow
      return false;
  return true;
}

std::string normalizeNfc(std::string_view text) {
  utf8proc_uint8_t *out = nullptr;
  utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t *>(text.data()), utf8proc_ssize_t(text.size()), &out,
                   utf8proc_option_t(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  // Fails only for lack of memory, as the text is valid; the text as it is then serves as well as can be.
  std::string normal = size < 0 ? std::string(text) : std::string(reinterpret_cast<char *>(out), size_t(size));
  std::free(out);
  return normal;
}

void appendUtf8(std::string &out, char32_t point) {
  utf8proc_uint8_t bytes[4];
  utf8proc_ssize_t size = utf8proc_encode_char(utf8proc_int32_t(point), bytes);
  out.append(reinterpret_cast<char *>(bytes), size_t(size));
}

} // namespace quern::unicode

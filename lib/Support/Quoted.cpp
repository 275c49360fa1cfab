#include "quern/Support/Quoted.h"

std::string quern::printable(std::string_view name) {
  std::string text;
  for (char c : name.substr(0, 80))
    text += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  return text + (name.size() > 80 ? "..." : "");
}

std::string quern::inQuotes(std::string_view name) { return "'" + printable(name) + "'"; }

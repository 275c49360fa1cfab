#include "quern/Quantize/ElementTypes.h"

#include <algorithm>

using namespace quern;
using namespace quern::quantize;

static std::string upperCase(std::string_view text) {
  std::string upper(text);
  for (char &c : upper)
    if (c >= 'a' && c <= 'z')
      c = char(c - 'a' + 'A');
  return upper;
}

ElementType quantize::elementTypeOf(const formats::FormatSpec &spec) {
  return {upperCase(spec.name), spec.ggufType, spec.block, spec.bytes, &spec};
}

ElementTypes::ElementTypes(std::span<const formats::FormatSpec *const> specs)
    : types{{"F32", 0, 1, 4, nullptr}, {"F16", 1, 1, 2, nullptr}, {"BF16", 30, 1, 2, nullptr}} {
  for (const formats::FormatSpec *spec : specs)
    types.push_back(elementTypeOf(*spec));
}

const ElementType *ElementTypes::find(std::string_view name) const {
  auto found = std::ranges::find(types, upperCase(name), &ElementType::name);
  return found == types.end() ? nullptr : &*found;
}

bool ElementType::isFloat() const { return !spec; }

const ElementType *ElementTypes::find(uint32_t ggufType) const {
  auto found = std::ranges::find(types, int(ggufType), &ElementType::ggufType);
  return found == types.end() ? nullptr : &*found;
}

std::string ElementTypes::names() const {
  std::string list;
  for (const ElementType &type : types)
    list += (list.empty() ? "" : ", ") + type.name;
  return list;
}

// Sizes of the element types that packages name.
#ifndef QUERN_RUNTIME_ELEMENTBYTES_H
#define QUERN_RUNTIME_ELEMENTBYTES_H

#include <cstdint>
#include <string_view>
#include <utility>

namespace quern {

/// Bytes of one element of a manifest's type; 0 if the type has no fixed size that we know.
constexpr uint64_t elementBytes(std::string_view type) {
  constexpr std::pair<std::string_view, uint64_t> kSizes[] = {{"bool", 1}, {"u8", 1},   {"i8", 1},  {"u16", 2},
                                                              {"i16", 2},  {"f16", 2},  {"bf16", 2}, {"u32", 4},
                                                              {"i32", 4},  {"f32", 4},  {"u64", 8}, {"i64", 8},
                                                              {"f64", 8}};
  for (auto [name, bytes] : kSizes)
    if (name == type)
      return bytes;
  return 0;
}

} // namespace quern

#endif // QUERN_RUNTIME_ELEMENTBYTES_H

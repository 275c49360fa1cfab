#include "test/ptx/Types.h"

#include <array>
#include <cmath>

namespace quern::ptx {

std::optional<Type> parseType(std::string_view word) {
  static constexpr std::array<std::string_view, 15> names = {
      "pred", "u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64", "f16", "bf16", "f32", "f64", "f16x2", "bf16x2"};
  static constexpr std::array<std::string_view, 4> untyped = {"b8", "b16", "b32", "b64"};
  for (size_t i = 0; i < names.size(); ++i)
    if (word == names[i])
      return Type(i);
  for (size_t i = 0; i < untyped.size(); ++i)
    if (word == untyped[i])
      return Type(uint8_t(Type::u8) + i);
  return std::nullopt;
}

uint32_t byteSize(Type type) {
  static constexpr std::array<uint8_t, 15> sizes = {0, 1, 2, 4, 8, 1, 2, 4, 8, 2, 2, 4, 8, 4, 4};
  return sizes[size_t(type)];
}

float roundToOdd(double value) {
  float nearest = float(value);
  if (double(nearest) == value || !std::isfinite(value) || std::isinf(nearest))
    return nearest;
  uint32_t bits = std::bit_cast<uint32_t>(nearest);
  if (std::abs(double(nearest)) > std::abs(value))
    --bits; // truncated
  return std::bit_cast<float>(bits | 1);
}

} // namespace quern::ptx

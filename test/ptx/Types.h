// The scalar types of PTX and the C++ types that hold their values. Registers are 64-bit slots: a value is stored as
// its bits, extended to 64 as the instruction says, and every read takes only the bits of its type.
#ifndef QUERN_TEST_PTX_TYPES_H
#define QUERN_TEST_PTX_TYPES_H

#include "quern/Support/Half.h"

#include <bit>
#include <cstring>
#include <optional>
#include <string_view>
#include <type_traits>

namespace quern::ptx {

/// A binary16 value as bits.
struct Half {
  uint16_t bits;
  explicit operator float() const { return halfToFloat(bits); }
};

/// A bfloat16 value as bits.
struct Bfloat {
  uint16_t bits;
  explicit operator float() const { return bfloatToFloat(bits); }
};

enum class Type : uint8_t { pred, u8, u16, u32, u64, s8, s16, s32, s64, f16, bf16, f32, f64, f16x2, bf16x2 };

/// `b8` to `b64` are read as unsigned integers; nothing for a word that names no type.
std::optional<Type> parseType(std::string_view word);

/// Size in memory; a predicate has none.
uint32_t byteSize(Type type);

template <typename T> constexpr bool isFloat = false;
template <> inline constexpr bool isFloat<float> = true;
template <> inline constexpr bool isFloat<double> = true;
template <> inline constexpr bool isFloat<Half> = true;
template <> inline constexpr bool isFloat<Bfloat> = true;

template <typename T> constexpr Type typeCode() {
  if constexpr (std::is_same_v<T, bool>)
    return Type::pred;
  else if constexpr (std::is_same_v<T, Half>)
    return Type::f16;
  else if constexpr (std::is_same_v<T, Bfloat>)
    return Type::bf16;
  else if constexpr (std::is_same_v<T, float>)
    return Type::f32;
  else if constexpr (std::is_same_v<T, double>)
    return Type::f64;
  else {
    constexpr Type first = std::is_signed_v<T> ? Type::s8 : Type::u8;
    return Type(uint8_t(first) + std::countr_zero(sizeof(T)));
  }
}

/// The value that a slot holds, seen as a T.
template <typename T> T fromBits(uint64_t bits) {
  if constexpr (std::is_same_v<T, bool>) {
    return bits & 1;
  } else {
    T value;
    std::memcpy(&value, &bits, sizeof(T)); // little endian
    return value;
  }
}

/// The bits of `value`; signed integers are extended by their sign, all else by zeros.
template <typename T> uint64_t toBits(T value) {
  if constexpr (std::is_integral_v<T>) {
    return uint64_t(int64_t(value));
  } else {
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof(T));
    return bits;
  }
}

/// Rounds to f32 so that a second rounding to a narrower type gives what one rounding would (round to odd).
float roundToOdd(double value);

/// Rounds to nearest, ties to even, in one step.
template <typename T> T narrow(double value) {
  if constexpr (std::is_same_v<T, Half>)
    return Half{floatToHalf(roundToOdd(value))};
  else if constexpr (std::is_same_v<T, Bfloat>)
    return Bfloat{floatToBfloat(roundToOdd(value))};
  else
    return T(value);
}

/// Exact.
template <typename T> double widen(T value) {
  if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, Bfloat>)
    return double(float(value));
  else
    return double(value);
}

} // namespace quern::ptx

#endif // QUERN_TEST_PTX_TYPES_H

// 16-bit floats as bits, in plain C++.
#ifndef QUERN_LIB_REFERENCE_HALVES_H
#define QUERN_LIB_REFERENCE_HALVES_H

#include <bit>
#include <cmath>
#include <cstdint>

namespace quern::reference {

/// Exponent and mantissa moved to f32's place are the value times 2^-112; the product is exact, subnormals included.
inline float halfToFloat(uint16_t half) {
  uint32_t magnitude = uint32_t(half & 0x7fff) << 13, sign = uint32_t(half & 0x8000) << 16;
  if (magnitude >= 0x0f800000) // infinity and NaN
    return std::bit_cast<float>(sign | magnitude | 0x7f800000);
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112f));
}

inline float bfloatToFloat(uint16_t bits) { return std::bit_cast<float>(uint32_t(bits) << 16); }

/// The nearest f16 as a number, ties to even; what is too great becomes infinity.
inline float roundToHalf(float value) {
  float magnitude = std::fabs(value);
  if (!(magnitude < 65520.0f)) // the tie between the greatest f16 and 2^16 goes to infinity; also NaN
    return std::isnan(value) ? value : std::copysign(INFINITY, value);
  // In units of the last place that f16 has at this exponent.
  int exponent = magnitude < 0x1p-14f ? -14 : std::ilogb(magnitude);
  float step = std::ldexp(1.0f, exponent - 10);
  return std::copysign(std::nearbyint(magnitude / step) * step, value);
}

} // namespace quern::reference

#endif // QUERN_LIB_REFERENCE_HALVES_H

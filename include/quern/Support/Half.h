// Numbers of 16 and 8 bits as bits, and back: IEEE binary16, bfloat16, and E8M0 powers of two. Plain C++.
#ifndef QUERN_SUPPORT_HALF_H
#define QUERN_SUPPORT_HALF_H

#include <bit>
#include <cstdint>

namespace quern {

/// Exact. NaN stays NaN with its upper mantissa bits.
inline float halfToFloat(uint16_t half) {
  uint32_t sign = uint32_t(half & 0x8000) << 16, magnitude = uint32_t(half & 0x7fff) << 13;
  if (magnitude >= 0x0f800000) // infinity and NaN
    return std::bit_cast<float>(sign | magnitude | 0x7f800000);
  // In f32's places the bits mean the value times 2^-112; that product is exact, subnormals included.
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112f));
}

/// Rounds to the nearest, ties to even; what is too great becomes infinity, NaN a quiet NaN.
inline uint16_t floatToHalf(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  uint16_t sign = uint16_t((bits >> 16) & 0x8000);
  bits &= 0x7fffffff;
  if (bits > 0x7f800000)
    return uint16_t(sign | 0x7e00 | ((bits >> 13) & 0x1ff));
  if (bits >= 0x477ff000) // from 65520 on, the tie between the greatest f16 and 2^16
    return uint16_t(sign | 0x7c00);
  if (bits < 0x38800000) { // below 2^-14: adding 0.5 leaves the rounded multiple of 2^-24 in the low mantissa bits
    float shifted = std::bit_cast<float>(bits) + 0.5f;
    return uint16_t(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000));
  }
  uint32_t rounded = bits + 0xfff + ((bits >> 13) & 1);
  return uint16_t(sign | ((rounded - 0x38000000) >> 13));
}

/// Exact.
inline float bfloatToFloat(uint16_t bits) { return std::bit_cast<float>(uint32_t(bits) << 16); }

/// Rounds to the nearest, ties to even; NaN becomes a quiet NaN.
inline uint16_t floatToBfloat(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000)
    return uint16_t((bits >> 16) | 0x40);
  return uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

/// 2^(exponent - 127), exact (0 is a subnormal f32); 255 is NaN (OCP Microscaling formats).
inline float e8m0ToFloat(uint8_t exponent) {
  if (exponent == 255)
    return std::bit_cast<float>(uint32_t(0x7fc00000));
  return std::bit_cast<float>(exponent == 0 ? uint32_t(0x00400000) : uint32_t(exponent) << 23);
}

} // namespace quern

#endif // QUERN_SUPPORT_HALF_H

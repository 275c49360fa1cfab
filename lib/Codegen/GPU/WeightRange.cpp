// How large weights may be by their scales, which are read instead of all codes.
#include "quern/Codegen/GpuLayout.h"
#include "quern/Support/Half.h"

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace quern;
using namespace quern::codegen;

/// The greatest magnitude of the f16 at every `step`-th byte from `first` on. What is not a number does not count.
static float greatestHalf(std::span<const uint8_t> bytes, size_t first, size_t step) {
  float most = 0;
  for (size_t at = first; at + 2 <= bytes.size(); at += step) {
    uint16_t bits;
    std::memcpy(&bits, bytes.data() + at, 2);
    most = std::max(most, std::abs(halfToFloat(bits)));
  }
  return most;
}

/// The same of f32.
static float greatestSingle(std::span<const uint8_t> bytes) {
  float most = 0;
  for (size_t at = 0; at + 4 <= bytes.size(); at += 4) {
    float number;
    std::memcpy(&number, bytes.data() + at, 4);
    most = std::max(most, std::abs(number));
  }
  return most;
}

/// The greatest power of two that exponents stand for.
static float greatestPower(std::span<const uint8_t> exponents) {
  constexpr uint8_t kNoNumber = 255;
  int most = 0;
  for (uint8_t exponent : exponents)
    most = std::max(most, exponent == kNoNumber ? 0 : int(exponent));
  return std::ldexp(1.0f, most - 127);
}

static float greatestByte(std::span<const uint8_t> bytes) {
  int most = 0;
  for (uint8_t byte : bytes)
    most = std::max(most, std::abs(int(int8_t(byte))));
  return float(most);
}

static float greatestCode(const GpuLayout &layout) {
  if (layout.signedCodes)
    return 128;
  int entry = 0;
  for (size_t code = 0; code < layout.table.size(); ++code)
    entry = std::max(entry, std::abs(layout.entry(code)));
  if (entry)
    return float(entry);
  return float(std::max(layout.zero, (1u << layout.bits()) - 1 - layout.zero));
}

float GpuLayout::mostWeight(std::span<const std::vector<uint8_t>> regions) const {
  if (isFloat())
    return 0;
  float code = greatestCode(*this) * std::abs(factor);
  const std::vector<uint8_t> &first = regions[planes.size()], &last = regions.back();
  switch (scales) {
  case GpuScales::Power:
    return code * greatestPower(first);
  case GpuScales::Single:
    return code * greatestSingle(first);
  case GpuScales::Half:
    return code * greatestHalf(first, 0, 2);
  case GpuScales::HalfAndMinimum:
    return code * greatestHalf(first, 0, 2) + greatestHalf(last, 0, 2);
  case GpuScales::SixBits:
    return 63 * (code * greatestHalf(first, 0, 16) + greatestHalf(first, 2, 16));
  case GpuScales::Nibbles:
    return 15 * (code * greatestHalf(last, 0, 4) + greatestHalf(last, 2, 4));
  case GpuScales::SignedBytes:
  case GpuScales::BytesAndHalf:
    break;
  }
  return greatestByte(first) * code * greatestHalf(last, 0, 2);
}

// Formats and stored blocks for tests.
#ifndef QUERN_TEST_UNIT_REFERENCE_TESTBLOCKS_H
#define QUERN_TEST_UNIT_REFERENCE_TESTBLOCKS_H

#include "quern/Formats/FormatSpec.h"

#include <cstdint>
#include <random>
#include <vector>

namespace quern::reference {

/// 32 codes of 4 bits, low nibbles first; f16 scale at 0, added f16 minimum at 2 (the layout of Q4_1).
inline formats::FormatSpec nibblesWithMinimum() {
  formats::Plane plane{4, {}, {}};
  for (unsigned i = 0; i < 32; ++i) {
    plane.byte.push_back(uint16_t(4 + i % 16));
    plane.shift.push_back(uint8_t(i / 16 * 4));
  }
  formats::FormatSpec spec;
  spec.name = "nibbles";
  spec.block = spec.group = 32;
  spec.bytes = 20;
  spec.codes.planes = {plane};
  spec.scale = {formats::ScaleKind::F16, 0, 0, {}};
  spec.minimum = formats::Scale{formats::ScaleKind::F16, 2, 0, {}};
  spec.minimumAdded = true;
  return spec;
}

inline constexpr char kNibblesWithMinimum[] =
    "!dq.block<#dq.format<nibbles, block = 32, bytes = 20, group = 32, "
    "codes = [4 bits at 4 + i mod 16 shift (i floordiv 16) * 4], scale = f16 at 0, plus = f16 at 2>>";

/// 32 weights in two groups of 16: signed bytes at 4, less nothing; f16 at 0 times signed 4-bit factors in byte 2,
/// unit 0.5, subtracted f16 minimums at 36 and 38.
inline formats::FormatSpec bytesInTwoGroups() {
  formats::Plane codes{8, {}, {}};
  for (unsigned i = 0; i < 32; ++i) {
    codes.byte.push_back(uint16_t(4 + i));
    codes.shift.push_back(0);
  }
  formats::FormatSpec spec;
  spec.name = "bytes";
  spec.block = 32;
  spec.group = 16;
  spec.bytes = 40;
  spec.codes.planes = {codes};
  spec.codes.isSigned = true;
  spec.unit = 0.5f;
  formats::PackedInts factors;
  factors.planes = {formats::Plane{4, {2, 2}, {0, 4}}};
  factors.isSigned = true;
  spec.scale = {formats::ScaleKind::F16, 0, 0, factors};
  spec.minimum = formats::Scale{formats::ScaleKind::F16, 36, 2, {}};
  return spec;
}

inline void putHalf(std::vector<uint8_t> &bytes, size_t at, uint16_t half) {
  bytes[at] = uint8_t(half);
  bytes[at + 1] = uint8_t(half >> 8);
}

/// Random blocks; the f16 numbers at the given places are between 2^-6 and 2^-5, so that sums stay moderate.
inline std::vector<uint8_t> randomBlocks(size_t blocks, unsigned blockBytes, const std::vector<unsigned> &halves,
                                         unsigned seed) {
  std::mt19937 random(seed);
  std::vector<uint8_t> bytes(blocks * blockBytes);
  for (uint8_t &byte : bytes)
    byte = uint8_t(random());
  for (size_t block = 0; block < blocks; ++block)
    for (unsigned at : halves)
      putHalf(bytes, block * blockBytes + at, uint16_t(0x2400 | (random() & 0x3ff)));
  return bytes;
}

} // namespace quern::reference

#endif // QUERN_TEST_UNIT_REFERENCE_TESTBLOCKS_H

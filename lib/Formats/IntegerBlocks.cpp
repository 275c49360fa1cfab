#include "quern/Formats/IntegerBlocks.h"

#include "quern/Support/Half.h"

#include <algorithm>
#include <cstring>

using namespace quern::formats;

bool quern::formats::areHalves(std::span<const float> scales) {
  return std::ranges::all_of(scales, [](float scale) { return halfToFloat(floatToHalf(scale)) == scale; });
}

IntegerBlocks::IntegerBlocks(const FormatSpec &format)
    : spec(format), codes(format.codes), first(format.table.empty() ? -format.codes.offset : format.table.front()) {}

void IntegerBlocks::write(const int16_t *integers, float scale, uint8_t *block) const {
  uint8_t raw[256];
  for (unsigned i = 0; i < spec.block; ++i)
    raw[i] = uint8_t(integers[i] - first);
  std::memset(block, 0, spec.bytes);
  codes.write(raw, block);
  uint16_t half = floatToHalf(scale);
  if (spec.scale.kind == ScaleKind::F16)
    std::memcpy(block + spec.scale.byte, &half, sizeof half);
  else
    std::memcpy(block + spec.scale.byte, &scale, sizeof scale);
}

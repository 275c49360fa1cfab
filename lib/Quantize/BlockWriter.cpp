#include "BlockWriter.h"

#include "quern/Support/Half.h"

#include <cmath>
#include <cstring>

using namespace quern;
using namespace quern::quantize;
using formats::ScaleKind;

static uint8_t exponentOf(float power) {
  return uint8_t(std::ilogb(power) + 127); // scales of this kind are powers of two from 2^-127 on
}

static void writeNumber(ScaleKind kind, float value, uint8_t *to) {
  if (kind == ScaleKind::F32) {
    std::memcpy(to, &value, sizeof value);
  } else if (kind == ScaleKind::E8M0) {
    *to = exponentOf(value);
  } else {
    uint16_t bits = kind == ScaleKind::F16 ? floatToHalf(value) : floatToBfloat(value);
    std::memcpy(to, &bits, sizeof bits);
  }
}

float quantize::asStored(ScaleKind kind, float value) {
  switch (kind) {
  case ScaleKind::F16:
    return halfToFloat(floatToHalf(value));
  case ScaleKind::BF16:
    return bfloatToFloat(floatToBfloat(value));
  case ScaleKind::F32:
  case ScaleKind::E8M0:
    return value;
  }
  return value;
}

BlockWriter::BlockWriter(const formats::FormatSpec &format) : spec(format), codes(format.codes) {
  if (spec.scale.sub)
    scaleFactors = formats::IntWriter(*spec.scale.sub);
  if (spec.minimum && spec.minimum->sub)
    minimumFactors = formats::IntWriter(*spec.minimum->sub);
}

static void writeNumbers(const formats::Scale &scale, const float *numbers, float sign, unsigned groups,
                         uint8_t *block) {
  for (unsigned g = 0; g < (scale.sub ? 1 : groups); ++g)
    writeNumber(scale.kind, sign * numbers[g], block + scale.byte + g * scale.stride);
}

void BlockWriter::write(const BlockParts &parts, uint8_t *block) const {
  std::memset(block, 0, spec.bytes);
  codes.write(parts.codes, block);
  writeNumbers(spec.scale, parts.scale, 1.0f, spec.groups(), block);
  if (spec.scale.sub)
    scaleFactors.write(parts.scaleFactor, block);
  if (!spec.minimum)
    return;
  writeNumbers(*spec.minimum, parts.minimum, spec.minimumAdded ? -1.0f : 1.0f, spec.groups(), block);
  if (spec.minimum->sub)
    minimumFactors.write(parts.minimumFactor, block);
}

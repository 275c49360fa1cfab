#include "BlockReader.h"

#include "Halves.h"

#include <cmath>
#include <cstring>

using namespace quern::reference;
using quern::formats::PackedInts;
using quern::formats::Plane;
using quern::formats::Scale;
using quern::formats::ScaleKind;

static int readInt(const PackedInts &ints, const uint8_t *block, unsigned i) {
  unsigned value = 0, place = 0;
  for (const Plane &plane : ints.planes) {
    unsigned bits = (block[plane.byte[i]] >> plane.shift[i]) & ((1u << plane.bits) - 1);
    value |= bits << place;
    place += plane.bits;
  }
  int read = int(value);
  if (ints.isSigned && value >> (place - 1))
    read -= 1 << place;
  return read - ints.offset;
}

static float readFloat(ScaleKind kind, const uint8_t *bytes) {
  uint16_t half;
  float single;
  switch (kind) {
  case ScaleKind::F16:
  case ScaleKind::BF16:
    std::memcpy(&half, bytes, sizeof half);
    return kind == ScaleKind::F16 ? halfToFloat(half) : bfloatToFloat(half);
  case ScaleKind::F32:
    std::memcpy(&single, bytes, sizeof single);
    return single;
  case ScaleKind::E8M0:
    return *bytes == 255 ? NAN : std::ldexp(1.0f, int(*bytes) - 127);
  }
  return 0;
}

float BlockReader::number(const Scale &scale, const uint8_t *block, unsigned group) {
  if (!scale.sub)
    return readFloat(scale.kind, block + scale.byte + scale.stride * group);
  return readFloat(scale.kind, block + scale.byte) * float(readInt(*scale.sub, block, group));
}

int BlockReader::code(const uint8_t *block, unsigned i) const {
  int code = readInt(spec.codes, block, i);
  return spec.table.empty() ? code : spec.table[code];
}

float BlockReader::addend(const uint8_t *block, unsigned group) const {
  if (!spec.minimum)
    return 0;
  float minimum = number(*spec.minimum, block, group);
  return spec.minimumAdded ? minimum : -minimum;
}

float BlockReader::weight(const uint8_t *block, unsigned i) const {
  float product = scale(block, i / spec.group) * float(code(block, i));
  return spec.minimum ? product + addend(block, i / spec.group) : product;
}

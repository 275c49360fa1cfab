#include "quern/Formats/IntReader.h"

#include <cstring>

using namespace quern::formats;

IntReader::IntReader(const PackedInts &ints) : width(ints.bits()), isSigned(ints.isSigned), offset(ints.offset) {
  unsigned place = 0;
  for (const Plane &plane : ints.planes) {
    integers = plane.byte.size();
    for (size_t i = 0; i < integers;) {
      size_t length = 1;
      unsigned step = i + 1 < integers && plane.byte[i + 1] == plane.byte[i] ? 0 : 1;
      while (i + length < integers && plane.shift[i + length] == plane.shift[i] &&
             plane.byte[i + length] == plane.byte[i] + step * length)
        ++length;
      runs.push_back({i, length, plane.byte[i], step, plane.shift[i], (1u << plane.bits) - 1, place});
      i += length;
    }
    place += plane.bits;
  }
}

void IntReader::read(const uint8_t *block, uint8_t *out) const {
  std::memset(out, 0, integers);
  for (const Run &run : runs) {
    const uint8_t *from = block + run.byte;
    uint8_t *to = out + run.index;
    for (size_t i = 0; i < run.length; ++i)
      to[i] |= uint8_t(((from[i * run.step] >> run.shift) & run.mask) << run.place);
  }
}

void quern::formats::writeInt(const PackedInts &ints, size_t index, unsigned raw, uint8_t *block) {
  for (const Plane &plane : ints.planes) {
    block[plane.byte[index]] |= uint8_t((raw & ((1u << plane.bits) - 1)) << plane.shift[index]);
    raw >>= plane.bits;
  }
}

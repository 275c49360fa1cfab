#include "quern/Formats/IntReader.h"

#include <cstring>

using namespace quern::formats;

IntReader::IntReader(const PackedInts &ints)
    : runs(intRuns(ints)), integers(ints.planes.front().byte.size()), width(ints.bits()), isSigned(ints.isSigned),
      offset(ints.offset) {}

void IntReader::read(const uint8_t *block, uint8_t *out) const {
  std::memset(out, 0, integers);
  for (const IntRun &run : runs) {
    const uint8_t *from = block + run.byte;
    uint8_t *to = out + run.index;
    for (size_t i = 0; i < run.length; ++i)
      to[i] |= uint8_t(((from[i * run.step] >> run.shift) & run.mask) << run.place);
  }
}

#include "quern/Formats/IntWriter.h"

using namespace quern::formats;

void IntWriter::write(const uint8_t *raw, uint8_t *block) const {
  for (const IntRun &run : runs) {
    const uint8_t *__restrict from = raw + run.index;
    uint8_t *__restrict to = block + run.byte;
    if (run.step == 1)
      for (size_t i = 0; i < run.length; ++i)
        to[i] |= uint8_t(((from[i] >> run.place) & run.mask) << run.shift);
    else
      for (size_t i = 0; i < run.length; ++i)
        to[0] |= uint8_t(((from[i] >> run.place) & run.mask) << run.shift);
  }
}

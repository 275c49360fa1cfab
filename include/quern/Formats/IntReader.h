// Reads the small integers of a block.
#ifndef QUERN_FORMATS_INTREADER_H
#define QUERN_FORMATS_INTREADER_H

#include "quern/Formats/IntRuns.h"

namespace quern::formats {

class IntReader {
public:
  IntReader() = default;
  explicit IntReader(const PackedInts &ints);

  /// Number of integers of a block.
  size_t count() const { return integers; }
  /// The bits of each integer, unsigned, before sign and offset: `count()` bytes at `out`.
  void read(const uint8_t *block, uint8_t *out) const;
  /// The value that raw bits stand for: sign-extended if the integers are signed, less the offset.
  int value(uint8_t raw) const {
    int bits = isSigned ? int(int32_t(uint32_t(raw) << (32 - width)) >> (32 - width)) : raw;
    return bits - offset;
  }

private:
  std::vector<IntRun> runs;
  size_t integers = 0;
  unsigned width = 0;
  bool isSigned = false;
  int offset = 0;
};

} // namespace quern::formats

#endif // QUERN_FORMATS_INTREADER_H

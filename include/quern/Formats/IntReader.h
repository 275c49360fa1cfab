// Reads and writes the small integers of a block, plane by plane. The places of a plane are grouped once into runs of consecutive
// bytes with a common shift, so that reading is a few tight loops.
#ifndef QUERN_FORMATS_INTREADER_H
#define QUERN_FORMATS_INTREADER_H

#include "quern/Formats/FormatSpec.h"

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
  struct Run {
    size_t index, length;
    unsigned byte, step; ///< first byte, and bytes from one integer to the next (0 or 1)
    unsigned shift, mask, place;
  };
  std::vector<Run> runs;
  size_t integers = 0;
  unsigned width = 0;
  bool isSigned = false;
  int offset = 0;
};

/// Writes the bits of the `index`-th integer into a block where they are zero.
void writeInt(const PackedInts &ints, size_t index, unsigned raw, uint8_t *block);

} // namespace quern::formats

#endif // QUERN_FORMATS_INTREADER_H

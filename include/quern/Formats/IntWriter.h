// Writes the small integers of a block: the other way of IntReader.
#ifndef QUERN_FORMATS_INTWRITER_H
#define QUERN_FORMATS_INTWRITER_H

#include "quern/Formats/IntRuns.h"

namespace quern::formats {

class IntWriter {
public:
  IntWriter() = default;
  explicit IntWriter(const PackedInts &ints) : runs(intRuns(ints)) {}

  /// `raw` holds the unsigned bits of each integer, before sign and offset; the places in the block are zero before.
  void write(const uint8_t *raw, uint8_t *block) const;

private:
  std::vector<IntRun> runs;
};

} // namespace quern::formats

#endif // QUERN_FORMATS_INTWRITER_H

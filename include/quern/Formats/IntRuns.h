// The places of packed integers, grouped once into runs of consecutive bytes with a common shift, so that reading and
// writing a block are a few tight loops.
#ifndef QUERN_FORMATS_INTRUNS_H
#define QUERN_FORMATS_INTRUNS_H

#include "quern/Formats/FormatSpec.h"

namespace quern::formats {

/// Some bits of the integers `index` to `index + length - 1`.
struct IntRun {
  size_t index, length;
  unsigned byte, step;  ///< of the block: the first byte, and bytes from one integer to the next (0 or 1)
  unsigned shift, mask; ///< in a byte
  unsigned place;       ///< in the integer
};

/// The runs of all planes.
std::vector<IntRun> intRuns(const PackedInts &ints);

} // namespace quern::formats

#endif // QUERN_FORMATS_INTRUNS_H

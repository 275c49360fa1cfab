// Integer weights with scales as blocks of formats that hold them exactly: one scale for each block, f16 or f32.
#ifndef QUERN_FORMATS_INTEGERBLOCKS_H
#define QUERN_FORMATS_INTEGERBLOCKS_H

#include "quern/Formats/IntWriter.h"

#include <span>

namespace quern::formats {

/// Whether all of them are f16 numbers.
bool areHalves(std::span<const float> scales);

/// Writes blocks of one format. Safe to share between threads.
class IntegerBlocks {
public:
  /// Of a format with blocks of at most 256, one scale (f16 or f32), and codes less a zero point or through an
  /// ascending table without gaps.
  explicit IntegerBlocks(const FormatSpec &spec);

  /// Writes one block: `block` integers, each one that a code means, and their scale.
  void write(const int16_t *integers, float scale, uint8_t *block) const;

private:
  FormatSpec spec;
  IntWriter codes;
  int first; ///< the integer of code 0
};

} // namespace quern::formats

#endif // QUERN_FORMATS_INTEGERBLOCKS_H

// Reads a stored block straight from the format's description, field by field and bit by bit. Written apart from the
// decoder and the packer that compiled code depends on, so that the reference does not share their mistakes.
#ifndef QUERN_LIB_REFERENCE_BLOCKREADER_H
#define QUERN_LIB_REFERENCE_BLOCKREADER_H

#include "quern/Formats/FormatSpec.h"

namespace quern::reference {

class BlockReader {
public:
  explicit BlockReader(const formats::FormatSpec &spec) : spec(spec) {}

  /// t(c[i]): the code less its zero point, or its entry of the table.
  int code(const uint8_t *block, unsigned i) const;
  /// s[g] = d * sub[g] * unit, rounded to f32.
  float scale(const uint8_t *block, unsigned group) const { return number(spec.scale, block, group) * spec.unit; }
  /// m[g], rounded to f32, with the sign that makes it an addend of s * t(c); 0 if the format has no minimums.
  float addend(const uint8_t *block, unsigned group) const;
  /// The weight: s * t(c), rounded, plus the addend, rounded.
  float weight(const uint8_t *block, unsigned i) const;

private:
  static float number(const formats::Scale &scale, const uint8_t *block, unsigned group);

  const formats::FormatSpec &spec;
};

} // namespace quern::reference

#endif // QUERN_LIB_REFERENCE_BLOCKREADER_H

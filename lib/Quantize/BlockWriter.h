// Puts codes, scales and minimums into the places of a stored block that the format's description names.
#ifndef QUERN_LIB_QUANTIZE_BLOCKWRITER_H
#define QUERN_LIB_QUANTIZE_BLOCKWRITER_H

#include "quern/Formats/IntWriter.h"

namespace quern::quantize {

/// One block, as numbers. With factors (hierarchical scales), scale[0] and minimum[0] are the super-block's.
struct BlockParts {
  const uint8_t *codes;     ///< raw bits, one for each weight
  const float *scale;       ///< one for each group; without the format's unit
  const float *minimum;     ///< subtracted; null where the format has none
  uint8_t scaleFactor[16];  ///< raw bits
  uint8_t minimumFactor[16];
};

class BlockWriter {
public:
  explicit BlockWriter(const formats::FormatSpec &spec);
  const formats::FormatSpec &format() const { return spec; }
  /// Writes all `format().bytes` bytes.
  void write(const BlockParts &parts, uint8_t *block) const;

private:
  formats::FormatSpec spec;
  formats::IntWriter codes, scaleFactors, minimumFactors;
};

/// What a reader of the stored number will see.
float asStored(formats::ScaleKind kind, float value);

} // namespace quern::quantize

#endif // QUERN_LIB_QUANTIZE_BLOCKWRITER_H

// From stored blocks to numbers: the integers and scales of a block, and rows widened to f32. Everything follows from
// the format's description.
#ifndef QUERN_FORMATS_DECODER_H
#define QUERN_FORMATS_DECODER_H

#include "quern/Formats/IntReader.h"

namespace quern::formats {

/// One block taken apart: w[k] = (scale[g] * scaleFactor[g]) * value[k] -/+ (minimum[g] * minimumFactor[g]).
struct DecodedBlock {
  std::vector<uint8_t> code;  ///< raw bits of each weight
  std::vector<int16_t> value; ///< t(c) of each weight
  std::vector<float> scale;   ///< of each group: the number stored (the block's, where groups have factors), times unit
  std::vector<int> scaleFactor; ///< of each group; 1 where scales are plain
  std::vector<float> minimum; ///< as `scale`, without unit; 0 where the format has none
  std::vector<int> minimumFactor;
};

/// Decodes one format. Safe to share between threads.
class Decoder {
public:
  explicit Decoder(const FormatSpec &spec);

  const FormatSpec &format() const { return spec; }

  /// Takes apart the `spec.bytes` bytes at `block`; reuses the vectors of `out`.
  void decodeBlock(const uint8_t *block, DecodedBlock &out) const;

  /// Widens `count` weights (whole blocks) of one row to f32. Rounds after each operation: scale times factor, times
  /// code; minimum times factor; their sum or difference. A NaN or infinite scale gives NaN or infinity, no error.
  void decodeRow(const uint8_t *blocks, int64_t count, float *out) const;

private:
  struct ScaleReader {
    ScaleReader() = default;
    explicit ScaleReader(const Scale &scale);
    void read(const Scale &scale, const uint8_t *block, float unit, std::vector<float> &numbers,
              std::vector<int> &factors) const;
    IntReader factors;
  };

  FormatSpec spec;
  IntReader codes;
  ScaleReader scales, minimums;
  std::vector<int16_t> values; ///< t(c) by the code's raw bits
};

} // namespace quern::formats

#endif // QUERN_FORMATS_DECODER_H

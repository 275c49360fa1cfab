// From numbers to stored blocks of any format: plain nearest values, so that tests can make files of every format. The
// searches by which real files are made (they weigh errors) are no part of this.
#ifndef QUERN_FORMATS_ENCODER_H
#define QUERN_FORMATS_ENCODER_H

#include "quern/Formats/IntWriter.h"

namespace quern::formats {

/// Encodes one format. Safe to share between threads.
///
/// For each group: the minimum that the group needs, then the least scale whose grid covers all of it (the sign that
/// gives the finer grid, where the format can keep one); factors are rounded away from zero, so that nothing is cut
/// off; then for each weight the code nearest to it. Scales saturate at the greatest finite number of their kind.
class Encoder {
public:
  explicit Encoder(const FormatSpec &spec);

  /// Encodes `count` finite weights (whole blocks) of one row into `count / block * bytes` bytes at `out`.
  void encodeRow(const float *row, int64_t count, uint8_t *out) const;

private:
  struct Range {
    float low, high;
  };
  void encodeBlock(const float *weights, uint8_t *block) const;
  std::vector<float> encodeMinimums(const std::vector<Range> &ranges, uint8_t *block) const;
  std::vector<float> encodeNumbers(const Scale &scale, float unit, const std::vector<float> &wanted,
                                   uint8_t *block) const;
  unsigned nearestCode(float value, float scale) const;

  FormatSpec spec;
  IntWriter codeWriter;
  std::vector<int> values; ///< t(c) by the code's raw bits
  int least, greatest;     ///< of `values`
};

} // namespace quern::formats

#endif // QUERN_FORMATS_ENCODER_H

// From weights to stored blocks with the searches by which model files are made: for each group the scale (and minimum)
// of least weighted error among a fixed list of candidates, then the codes nearest under the numbers really stored.
// The bytes are those of the reference encoder of each GGUF format. Free of MLIR.
#ifndef QUERN_QUANTIZE_QUANTIZER_H
#define QUERN_QUANTIZE_QUANTIZER_H

#include "quern/Formats/FormatSpec.h"
#include "quern/Support/Result.h"

#include <memory>

namespace quern::quantize {

/// Quantizes rows to one format. Safe to share between threads.
///
/// Sums are taken in f32 in the order of the weights, without fused multiply-add, whatever the processor; so the bytes
/// depend on the input alone.
class Quantizer {
public:
  /// Fails for formats that no search is known for. `spec` is copied.
  static Result<Quantizer> create(const formats::FormatSpec &spec);
  Quantizer(Quantizer &&) noexcept;
  Quantizer &operator=(Quantizer &&) noexcept;
  ~Quantizer();

  const formats::FormatSpec &format() const;

  /// Quantizes `count` finite weights (whole blocks) of one row into `count / block * bytes` bytes at `out`.
  /// `importance` is null, or has one number for each column: the mean square of what the weight is multiplied with;
  /// only their ratios matter. Q8_0 and MXFP4 have no use for it.
  void quantizeRow(const float *row, int64_t count, const float *importance, uint8_t *out) const;

private:
  struct State;
  explicit Quantizer(std::unique_ptr<State> state);
  std::unique_ptr<const State> state;
};

} // namespace quern::quantize

#endif // QUERN_QUANTIZE_QUANTIZER_H

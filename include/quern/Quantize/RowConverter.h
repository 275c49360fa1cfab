// Rows of one element type to rows of another: floats widened, narrowed and quantized, blocks decoded.
#ifndef QUERN_QUANTIZE_ROWCONVERTER_H
#define QUERN_QUANTIZE_ROWCONVERTER_H

#include "quern/Formats/Decoder.h"
#include "quern/Quantize/ElementTypes.h"
#include "quern/Quantize/Quantizer.h"

#include <cstddef>
#include <optional>

namespace quern::quantize {

/// Safe to share between threads.
class RowConverter {
public:
  /// The formats of both types must outlive this. Fails where no quantizer is known.
  static Result<RowConverter> create(const ElementType &from, const ElementType &to);

  /// Converts one row of `columns` weights (whole blocks of both types); `importance` as in Quantizer. `scratch` is
  /// reused between calls of one thread. Fails, with a sentence that goes on after the row's number, if a weight is
  /// infinite or no number, or too large for the type.
  Status convert(const std::byte *row, uint64_t columns, const float *importance, std::vector<float> &scratch,
                 std::byte *out) const;

private:
  RowConverter(const ElementType &from, const ElementType &to) : from(from), to(to) {}
  ElementType from, to;
  std::optional<formats::Decoder> decoder;
  std::optional<Quantizer> quantizer;
};

} // namespace quern::quantize

#endif // QUERN_QUANTIZE_ROWCONVERTER_H

// Integer weights with zero points and scales, laid out anew in block formats of 32: the differences from the zero
// points and the scales stay what they are. Private to the importers of quantized models.
#ifndef QUERN_LIB_IMPORT_BLOCKLAYOUT_H
#define QUERN_LIB_IMPORT_BLOCKLAYOUT_H

#include "quern/Import/GGUF.h"

#include <memory>

namespace quern::import {

inline constexpr int64_t kLayoutBlock = 32; ///< columns of a block of these formats

/// A quantized matrix of another layout: w[n, k] = difference * scale. Several threads may read it at once.
class IntegerMatrix {
public:
  virtual ~IntegerMatrix() = default;
  virtual int64_t rows() const = 0;
  virtual int64_t columns() const = 0; ///< a multiple of 32
  /// Row n: `columns()` integers less zero points.
  virtual void differences(int64_t n, std::span<int16_t> out) const = 0;
  /// Row n: the scale of each 32 columns.
  virtual void scales(int64_t n, std::span<float> out) const = 0;
};

/// A weight in memory.
struct BlockWeight {
  uint32_t typeId; ///< GGUF's, or the table's own
  std::vector<std::byte> bytes;
};

/// A weight whose rows are made when they are read.
struct MadeWeight {
  uint32_t typeId; ///< GGUF's, or the table's own
  gguf::RowMaker rows;
};

/// The smallest of the formats that holds all differences exactly: Q4_0, Q5_0 and Q8_0 where all scales are f16
/// numbers, else I4_F32, I5_F32 and I8_F32. Reads all of the matrix once to choose. Fails where a difference does not
/// fit a signed byte, or `types` does not know the formats.
Result<MadeWeight> toBlocks(std::shared_ptr<const IntegerMatrix> matrix, const gguf::TypeTable &types);

} // namespace quern::import

#endif // QUERN_LIB_IMPORT_BLOCKLAYOUT_H

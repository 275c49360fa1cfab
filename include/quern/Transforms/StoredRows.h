// The rows of a `dq.source` in the weight's own type: as they lie in the file, or quantized from there.
#ifndef QUERN_TRANSFORMS_STOREDROWS_H
#define QUERN_TRANSFORMS_STOREDROWS_H

#include "dialects/DQ/DQ.h"
#include "quern/Quantize/RowConverter.h"

#include <memory>

namespace quern::transforms {

/// The tensor type of that name, size and format; nothing for types that weights do not have.
std::optional<quantize::ElementType> elementTypeOf(mlir::Type element);

/// Safe to share between threads.
class StoredRows {
public:
  StoredRows() = default;
  /// `file` as in SourceOp::readBytes; the bytes that it gives must outlive this. Errors do not name the weight.
  static Result<StoredRows>
  get(dq::SourceOp source, const std::function<Result<std::span<const uint8_t>>(int64_t, int64_t, int64_t)> &file);

  /// Whether rows lie in memory as they are wanted.
  bool areStored() const { return !converter; }
  /// The tensor's bytes as they lie in the file.
  std::span<const uint8_t> stored() const { return bytes; }
  /// Bytes of a row as it is wanted.
  int64_t rowBytes() const { return wantedBytes; }
  /// A row as it is wanted: the stored one, or one made in the `rowBytes()` bytes at `made`. `scratch` is reused
  /// between calls of one thread. Fails on values that cannot be quantized, naming the row.
  Result<const uint8_t *> row(int64_t index, uint8_t *made, std::vector<float> &scratch) const;

private:
  std::span<const uint8_t> bytes;
  int64_t columns = 0, storedBytes = 0, wantedBytes = 0;
  std::shared_ptr<const quantize::RowConverter> converter; ///< null: rows are stored as they are wanted
  const float *importance = nullptr;
};

} // namespace quern::transforms

#endif // QUERN_TRANSFORMS_STOREDROWS_H

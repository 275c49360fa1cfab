// The rows of a `dq.source` in the weight's own type, a few at a time: as they lie in the file, or quantized from it.
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
  /// Where rows are made that no file holds as they are wanted; reused between calls of one thread.
  struct Room {
    std::vector<std::byte> stored, wanted;
    std::vector<float> wide;
  };

  StoredRows() = default;
  /// Source and `file` must outlive this. Errors do not name the weight.
  static Result<StoredRows> get(dq::SourceOp source, const dq::SourceReader &file);

  /// Bytes of a row as it is wanted.
  int64_t rowBytes() const { return wantedBytes; }
  /// Rows `first` to `first + count` as they are wanted, one after another: where they lie, or in `room`. Fails on
  /// values that cannot be quantized, naming the row.
  Result<std::span<const uint8_t>> read(int64_t first, int64_t count, Room &room) const;

private:
  mutable dq::SourceOp source; ///< whose accessors are not const, but change nothing
  const dq::SourceReader *file = nullptr;
  int64_t columns = 0, storedBytes = 0, wantedBytes = 0;
  std::shared_ptr<const quantize::RowConverter> converter; ///< null: rows are stored as they are wanted
  const float *importance = nullptr;
};

} // namespace quern::transforms

#endif // QUERN_TRANSFORMS_STOREDROWS_H

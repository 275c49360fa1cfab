// Writes GGUF files, version 3, in one pass: the header first, then the tensors' data in order, never holding more than
// the caller's buffers in memory. The file appears under its name only when it is complete (written beside it as
// PATH.tmp.PID, synced, renamed). Free of MLIR.
#ifndef QUERN_IMPORT_GGUFWRITER_H
#define QUERN_IMPORT_GGUFWRITER_H

#include "quern/Import/GGUF.h"

#include <memory>

namespace quern::gguf {

/// A tensor to be written; `dims` with ne0, the contiguous dimension, first.
struct TensorInfo {
  std::string name;
  uint32_t typeId;
  std::vector<uint64_t> dims;
  uint64_t bytes;
};

class Writer {
public:
  /// Creates the temporary file beside `path`, and writes the header: metadata in the order given (the keys of a split
  /// file and of another alignment are left out, as the result is one file of the usual alignment), tensors in order.
  static Result<Writer> create(const std::string &path, std::span<const File::Entry> metadata,
                               std::span<const TensorInfo> tensors);
  Writer(Writer &&) noexcept;
  Writer &operator=(Writer &&) = delete;
  ~Writer(); ///< removes the temporary file unless `finish` succeeded

  /// Appends to the data of the current tensor; one that is full is padded, and the next one begins. Fails on data past
  /// the last tensor, and when the disk is full.
  Status write(std::span<const std::byte> data);

  /// Syncs and renames; fails if data are missing.
  Status finish();

private:
  struct State;
  explicit Writer(std::unique_ptr<State> state);
  std::unique_ptr<State> state;
};

} // namespace quern::gguf

#endif // QUERN_IMPORT_GGUFWRITER_H

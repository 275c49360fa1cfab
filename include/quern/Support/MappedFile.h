// A whole file mapped read-only: weights are read in place, never copied to the heap.
#ifndef QUERN_SUPPORT_MAPPEDFILE_H
#define QUERN_SUPPORT_MAPPEDFILE_H

#include "quern/Support/Result.h"

#include <cstddef>
#include <span>
#include <string>
#include <utility>

namespace quern {

/// Owns the mapping; it ends with the object, and so does every span taken from it. Movable (the address stays).
class MappedFile {
public:
  /// Maps `path`, which must be a regular file; an empty one gives an empty span. Errors name the path and the cause.
  static Result<MappedFile> open(const std::string &path);

  MappedFile() = default;
  MappedFile(MappedFile &&other) noexcept : content(std::exchange(other.content, {})) {}
  MappedFile &operator=(MappedFile &&other) noexcept {
    std::swap(content, other.content);
    return *this;
  }
  ~MappedFile();

  std::span<const std::byte> bytes() const { return content; }

  /// Lets the system take back the memory of whole pages of `part`; what is read of it later comes from the file again.
  /// Does nothing for what lies elsewhere.
  void release(std::span<const std::byte> part) const;

private:
  std::span<const std::byte> content;
};

} // namespace quern

#endif // QUERN_SUPPORT_MAPPEDFILE_H

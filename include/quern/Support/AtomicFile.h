// A file that appears under its name only when it is whole: written beside it as PATH.tmp.PID, synced, renamed.
#ifndef QUERN_SUPPORT_ATOMICFILE_H
#define QUERN_SUPPORT_ATOMICFILE_H

#include "quern/Support/Result.h"

#include <cstdint>
#include <span>
#include <string>
#include <utility>

namespace quern {

/// Errors name the path and the cause (a full disk, a folder that is missing or may not be written).
class AtomicFile {
public:
  static Result<AtomicFile> create(const std::string &path);
  AtomicFile(AtomicFile &&other) noexcept
      : target(std::move(other.target)), temporary(std::move(other.temporary)), fd(std::exchange(other.fd, -1)) {}
  AtomicFile &operator=(AtomicFile &&) = delete;
  ~AtomicFile(); ///< removes what was written, unless `finish` succeeded

  const std::string &path() const { return target; }
  /// Writes where the last `append` ended; at first, at the beginning.
  Status append(std::span<const uint8_t> bytes);
  /// Writes at `offset`, in bytes; does not move where `append` writes.
  Status writeAt(uint64_t offset, std::span<const uint8_t> bytes);
  /// Reads back what was written; fails where the file ends before `bytes` does.
  Status readAt(uint64_t offset, std::span<uint8_t> bytes) const;
  /// Cuts the file, or lengthens it with zeros.
  Status resize(uint64_t size);
  /// Syncs the file, gives it its name and syncs that.
  Status finish();

private:
  AtomicFile(std::string target, std::string temporary, int fd)
      : target(std::move(target)), temporary(std::move(temporary)), fd(fd) {}
  tl::unexpected<Error> failed(const char *what) const;

  std::string target, temporary;
  int fd;
};

} // namespace quern

#endif // QUERN_SUPPORT_ATOMICFILE_H

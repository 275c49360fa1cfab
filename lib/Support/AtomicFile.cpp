#include "quern/Support/AtomicFile.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

using namespace quern;

tl::unexpected<Error> AtomicFile::failed(const char *what) const {
  return fail(target + ": " + what + " failed: " + std::strerror(errno));
}

Result<AtomicFile> AtomicFile::create(const std::string &path) {
  std::string temporary = path + ".tmp." + std::to_string(::getpid());
  int fd = ::open(temporary.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  AtomicFile file(path, std::move(temporary), fd);
  if (fd < 0)
    return file.failed("creating a file beside it");
  return file;
}

AtomicFile::~AtomicFile() {
  if (fd < 0)
    return;
  ::close(fd);
  ::unlink(temporary.c_str());
}

Status AtomicFile::append(std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    ssize_t count = ::write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      return failed("writing");
    bytes = bytes.subspan(size_t(count));
  }
  return {};
}

Status AtomicFile::writeAt(uint64_t offset, std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    ssize_t count = ::pwrite(fd, bytes.data(), bytes.size(), off_t(offset));
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      return failed("writing");
    bytes = bytes.subspan(size_t(count));
    offset += uint64_t(count);
  }
  return {};
}

Status AtomicFile::readAt(uint64_t offset, std::span<uint8_t> bytes) const {
  while (!bytes.empty()) {
    ssize_t count = ::pread(fd, bytes.data(), bytes.size(), off_t(offset));
    if (count < 0 && errno == EINTR)
      continue;
    if (count == 0)
      return fail(target + ": reading back failed: the file ends at byte " + std::to_string(offset));
    if (count < 0)
      return failed("reading back");
    bytes = bytes.subspan(size_t(count));
    offset += uint64_t(count);
  }
  return {};
}

Status AtomicFile::resize(uint64_t size) {
  if (::ftruncate(fd, off_t(size)) != 0)
    return failed("reserving room");
  return {};
}

Status AtomicFile::finish() {
  if (::fsync(fd) != 0)
    return failed("syncing");
  if (::rename(temporary.c_str(), target.c_str()) != 0)
    return failed("renaming the finished file");
  ::close(std::exchange(fd, -1)); // nothing is left to remove
  size_t slash = target.rfind('/');
  std::string folder = slash == std::string::npos ? "." : target.substr(0, slash + 1);
  if (int parent = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); parent >= 0) {
    ::fsync(parent); // makes the name durable; a file system that cannot do so still has the file
    ::close(parent);
  }
  return {};
}

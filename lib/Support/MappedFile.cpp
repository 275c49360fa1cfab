#include "quern/Support/MappedFile.h"

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace quern;

static tl::unexpected<Error> failWith(const std::string &path, const char *action, int error) {
  return fail(path + ": cannot " + action + " the file: " + std::strerror(error));
}

Result<MappedFile> MappedFile::open(const std::string &path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); // not waiting for the writer of a pipe
  if (fd < 0)
    return failWith(path, "open", errno);
  struct stat info;
  if (fstat(fd, &info) != 0) {
    int error = errno;
    close(fd);
    return failWith(path, "examine", error);
  }
  if (!S_ISREG(info.st_mode)) {
    close(fd);
    return fail(path + ": expected a regular file");
  }
  MappedFile file;
  size_t size = static_cast<size_t>(info.st_size);
  if (size == 0) {
    close(fd);
    return file;
  }
  void *address = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  int error = errno;
  close(fd);
  if (address == MAP_FAILED)
    return failWith(path, "map", error);
  file.content = {static_cast<const std::byte *>(address), size};
  return file;
}

void MappedFile::release(std::span<const std::byte> part) const {
  if (part.data() < content.data() || part.data() + part.size() > content.data() + content.size())
    return;
  auto page = uintptr_t(sysconf(_SC_PAGESIZE)), begin = reinterpret_cast<uintptr_t>(part.data());
  uintptr_t first = (begin + page - 1) / page * page, last = (begin + part.size()) / page * page;
  if (first < last)
    madvise(reinterpret_cast<void *>(first), last - first, MADV_DONTNEED);
}

MappedFile::~MappedFile() {
  if (!content.empty())
    munmap(const_cast<std::byte *>(content.data()), content.size());
}

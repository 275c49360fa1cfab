#include "Memory.h"

#include <algorithm>
#include <cstdio>
#include <sys/mman.h>

namespace quern::runtime {

Outcome<Memory> Memory::allocate(uint64_t bytes, const std::string &what, const std::string &advice) {
  // The system would promise nearly any amount and kill the process when it is touched: ask first.
  uint64_t available = availableMemory();
  if (bytes > available)
    return fault(QUERN_OUT_OF_MEMORY, what + " needs " + describeBytes(bytes) + ", but only " +
                                          describeBytes(available) + " of memory are available; " + advice);
  Memory out;
  if (bytes == 0)
    return out;
  void *mapped =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED)
    return fault(QUERN_OUT_OF_MEMORY,
                 what + " needs " + describeBytes(bytes) + ", which the system refuses; " + advice);
  out.start = static_cast<uint8_t *>(mapped);
  out.length = bytes;
  return out;
}

Memory::~Memory() {
  if (start)
    ::munmap(start, length);
}

/// A number at the start of a file, or the one after `key` at the start of a line; UINT64_MAX if there is none.
static uint64_t readNumber(const char *path, const char *format) {
  std::FILE *file = std::fopen(path, "re");
  if (!file)
    return UINT64_MAX;
  unsigned long long value = 0;
  uint64_t out = UINT64_MAX;
  for (char line[256]; std::fgets(line, sizeof line, file);)
    if (std::sscanf(line, format, &value) == 1) {
      out = value;
      break;
    }
  std::fclose(file);
  return out;
}

uint64_t availableMemory() {
  uint64_t available = readNumber("/proc/meminfo", "MemAvailable: %llu kB");
  uint64_t swap = readNumber("/proc/meminfo", "SwapFree: %llu kB");
  uint64_t machine = available == UINT64_MAX ? available : 1024 * (available + (swap == UINT64_MAX ? 0 : swap));
  // A container's limit counts what the process already has, so this is only an upper bound.
  return std::min(machine, readNumber("/sys/fs/cgroup/memory.max", "%llu"));
}

std::string describeBytes(uint64_t bytes) {
  const char *units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = double(bytes);
  int unit = 0;
  for (; value >= 1024 && unit < 6; ++unit)
    value /= 1024;
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
  return text;
}

} // namespace quern::runtime

// Anonymous memory straight from the system: zeroed, page-aligned, taken only where it is touched.
#ifndef QUERN_LIB_RUNTIME_MEMORY_H
#define QUERN_LIB_RUNTIME_MEMORY_H

#include "Fault.h"

#include <cstdint>
#include <string>
#include <utility>

namespace quern::runtime {

class Memory {
public:
  Memory() = default;
  /// `what` it is for and `advice` go into the message when there is not enough.
  static Outcome<Memory> allocate(uint64_t bytes, const std::string &what, const std::string &advice);
  Memory(Memory &&other) noexcept
      : start(std::exchange(other.start, nullptr)), length(std::exchange(other.length, 0)) {}
  Memory &operator=(Memory &&other) noexcept {
    std::swap(start, other.start);
    std::swap(length, other.length);
    return *this;
  }
  ~Memory();

  uint8_t *data() const { return start; }
  uint64_t size() const { return length; }

private:
  uint8_t *start = nullptr;
  uint64_t length = 0;
};

/// Bytes that this process can still have without swapping others out; UINT64_MAX where the system does not say.
uint64_t availableMemory();

/// "1.5 GiB".
std::string describeBytes(uint64_t bytes);

} // namespace quern::runtime

#endif // QUERN_LIB_RUNTIME_MEMORY_H

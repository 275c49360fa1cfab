// The device's memory: allocations of the host at their own addresses, with a gap of nothing around each.
#ifndef QUERN_TEST_PTX_GLOBAL_MEMORY_H
#define QUERN_TEST_PTX_GLOBAL_MEMORY_H

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace quern::ptx {

/// Not for several threads at once.
class GlobalMemory {
public:
  /// Device addresses are aligned to 256 bytes, as the driver's. Fresh memory is filled with 0xff (NaN as a float).
  /// 0 where the host has no memory, or for 0 bytes.
  uint64_t allocate(size_t bytes);

  /// False if no allocation begins there.
  bool release(uint64_t address);

  /// The host's pointer to `bytes` bytes that lie in one allocation, or null.
  std::byte *find(uint64_t address, size_t bytes);

  /// The same for a kernel that writes there.
  std::byte *findToWrite(uint64_t address, size_t bytes);
  /// Whether a kernel has written to the allocation that `address`, which `find` has found, lies in.
  bool isWritten(uint64_t address);

private:
  struct Allocation {
    uint64_t begin, end;
    std::unique_ptr<std::byte[]> storage;
    bool written = false;
  };
  std::vector<Allocation> all; ///< in ascending order
  size_t last = 0;             ///< found by the last access; the next is often there too
};

} // namespace quern::ptx

#endif // QUERN_TEST_PTX_GLOBAL_MEMORY_H

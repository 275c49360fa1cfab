// The shared memory of a block, with what is known of each byte: which variable it belongs to, who wrote and read it
// last, and between which barriers.
//
// Two accesses by different threads, one of them a write, are a race unless a barrier of the block stands between them,
// or, for lanes of one warp, a `bar.warp.sync`. The order in which threads happen to run does not matter, so a removed
// barrier is found in every run. Of the readers since the last barrier two are kept: the first, and another one.
#ifndef QUERN_TEST_PTX_SHARED_MEMORY_H
#define QUERN_TEST_PTX_SHARED_MEMORY_H

#include "test/ptx/Program.h"

namespace quern::ptx {

/// Who accesses memory, and between which barriers.
struct Access {
  static constexpr uint32_t nobody = ~0u;
  uint32_t thread = nobody;
  uint32_t epoch = 0, warpEpoch = 0;
  uint32_t line = 0;

  bool together(const Access &other) const;
};

class SharedMemory {
public:
  SharedMemory(const Kernel &kernel, uint32_t dynamicBytes);

  /// For the next block: every byte 0xff, touched by nobody.
  void clear();

  /// Nothing if the access is fine; else what is wrong with it. Addresses are those of the shared state space.
  std::string load(uint64_t address, void *to, uint32_t bytes, const Access &by);
  std::string store(uint64_t address, const void *from, uint32_t bytes, const Access &by);

  /// A cp.async begins to write these bytes; until `arrive` nobody may touch them.
  std::string beginCopy(uint64_t address, uint32_t bytes, const Access &by);
  void arrive(uint64_t address, const void *from, uint32_t bytes, const Access &by);

private:
  struct ByteState {
    Access writer, reader, otherReader, copier;
  };
  std::string checkPlace(uint64_t address, uint32_t bytes) const;
  std::string check(uint64_t address, uint32_t bytes, const Access &by, bool writes) const;

  std::vector<Place> variables;
  std::vector<std::byte> data;
  std::vector<uint16_t> owner; ///< of each byte: 1 + index of its variable, 0 of a gap
  std::vector<ByteState> states;
};

} // namespace quern::ptx

#endif // QUERN_TEST_PTX_SHARED_MEMORY_H

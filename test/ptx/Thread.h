// The state of one CUDA thread, and of the block that it shares.
#ifndef QUERN_TEST_PTX_THREAD_H
#define QUERN_TEST_PTX_THREAD_H

#include "test/ptx/GlobalMemory.h"
#include "test/ptx/Program.h"
#include "test/ptx/SharedMemory.h"
#include "test/ptx/Visibility.h"

namespace quern::ptx {

// Generic addresses: these windows lie where no address of the host does.
inline constexpr uint64_t kSharedWindow = uint64_t(0x7f00) << 48;
inline constexpr uint64_t kLocalWindow = uint64_t(0x7e00) << 48;
inline constexpr uint64_t kParameterWindow = uint64_t(0x7d00) << 48;
inline constexpr uint64_t kWindowMask = uint64_t(0xff00) << 48;

/// What all threads of a block see.
struct Block {
  const Kernel *kernel;
  GlobalMemory *global;
  SharedMemory *shared;
  std::span<const std::byte> parameters;
  uint32_t epoch = 0;               ///< counts the barriers of the block that are behind
  std::vector<uint32_t> warpEpochs; ///< counts `bar.warp.sync` of each warp
  Visibility *visibility = nullptr; ///< of kernels with atomic accesses
};

/// A copy that cp.async began. Its bytes move when the thread waits for its group.
struct PendingCopy {
  uint64_t from;
  uint32_t to, bytes, zeros; ///< `zeros` bytes follow those that are read
  uint32_t line;
  bool committed = false;
  uint32_t group = 0;
};

struct Thread {
  enum State : uint8_t { ready, atBarrier, atWarp, done };

  uint64_t *slots = nullptr; ///< Kernel::initial.size() of them
  std::byte *local = nullptr;
  Block *block = nullptr;
  uint32_t pc = 0;
  uint32_t index = 0; ///< in the block
  State state = ready;
  std::vector<PendingCopy> copies;
  uint32_t groups = 0; ///< of copies that were committed
  bool awaits = false; ///< has yet to wait for the launch before
  std::string why;     ///< of a fault

  uint32_t warp() const { return index / 32; }
  uint32_t lane() const { return index % 32; }
  Access access() const { return {index, block->epoch, block->warpEpochs[warp()], 0}; }

  template <typename T> T get(uint32_t slot) const { return fromBits<T>(slots[slot]); }
  template <typename T> void set(uint32_t slot, T value) { slots[slot] = toBits(value); }

  Step fault(std::string text) {
    why = std::move(text);
    return Step::fault;
  }
};

/// Reads from or writes to memory in a state space; checks alignment and bounds, and shared memory for races. False
/// with Thread::why set where the access is a fault.
enum class Space : uint8_t { generic, global, shared, local, param };
bool loadBytes(Thread &thread, Space space, uint64_t address, void *to, uint32_t bytes, uint32_t line);
bool storeBytes(Thread &thread, Space space, uint64_t address, const void *from, uint32_t bytes, uint32_t line);
/// Bytes of an atomic access to global memory; null with Thread::why set where it is a fault.
std::byte *globalBytes(Thread &thread, uint64_t address, uint32_t bytes);

} // namespace quern::ptx

#endif // QUERN_TEST_PTX_THREAD_H

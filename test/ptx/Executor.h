// Runs a kernel: block after block, each thread until it waits, both in an order that a seed says.
#ifndef QUERN_TEST_PTX_EXECUTOR_H
#define QUERN_TEST_PTX_EXECUTOR_H

#include "test/ptx/GlobalMemory.h"
#include "test/ptx/Program.h"

namespace quern::ptx {

struct LaunchShape {
  std::array<uint32_t, 3> grid = {1, 1, 1}, block = {1, 1, 1};
  uint32_t dynamicSharedBytes = 0;
};

struct LaunchOptions {
  uint32_t seed = 0;                            ///< of the order of blocks and threads; 0 is that of their numbers
  uint64_t maxInstructions = uint64_t(1) << 36; ///< of the whole launch; one more is an error
  /// The launch before may still be running: until a thread has waited for it (griddepcontrol.wait), it may read what
  /// no kernel has written, and write nothing.
  bool overlaps = false;
};

/// Executed instructions, those of threads whose guard is false included.
struct LaunchCounts {
  uint64_t instructions = 0;
};

/// An error for a block or grid that no device takes, or that is not the one which the kernel was made for.
Status checkLaunch(const Kernel &kernel, const LaunchShape &shape);

/// `parameters` are the kernel's, each at its place (Kernel::parameters), just Kernel::parameterBytes bytes.
///
/// Errors name the kernel, the line of the PTX, the block and the thread: an access that is misaligned or out of
/// bounds, a race in shared memory, a cp.async or a launch before that nobody waited for, a barrier or warp instruction
/// that not all reach, a trap, a kernel that does not end. Memory that was written before the error stays written.
Result<LaunchCounts> launch(const Kernel &kernel, GlobalMemory &memory, const LaunchShape &shape,
                            std::span<const std::byte> parameters, const LaunchOptions &options = {});

} // namespace quern::ptx

#endif // QUERN_TEST_PTX_EXECUTOR_H

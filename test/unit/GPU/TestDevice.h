// What runs the kernels of tests: the PTX executor, or a device of OpenCL.
#ifndef QUERN_TEST_UNIT_GPU_TESTDEVICE_H
#define QUERN_TEST_UNIT_GPU_TESTDEVICE_H

#include "quern/Support/Result.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace quern {

struct TestLaunch {
  std::string kernel;
  std::array<uint32_t, 3> grid;
  uint32_t threads;                ///< of a block
  std::vector<uint64_t> arguments; ///< addresses of `upload`, and whole numbers
  uint32_t seed = 0;               ///< the first of the executor's orders of threads
  uint32_t sharedBytes = 0;        ///< dynamic
};

/// A loaded module, and memory that its kernels run on.
class TestDevice {
public:
  virtual ~TestDevice() = default;
  /// What are no weights counts as written by the launch before, which kernels have to wait for where they may overlap.
  virtual uint64_t upload(std::span<const std::byte> bytes, bool areWeights) = 0;
  virtual void download(uint64_t address, std::span<std::byte> bytes) = 0;
  /// Returns when the kernel has ended.
  virtual Status launch(const TestLaunch &launch) = 0;
};

/// Runs PTX in the executor, each launch in several orders of threads, which have to agree to the bit; SPIR-V on the
/// first device of OpenCL, opened once for the whole program.
Result<std::unique_ptr<TestDevice>> loadCode(const std::string &code);

/// Why SPIR-V cannot run here; empty where it can.
std::string openClProblem();

/// Of a fixture's SetUp: tests for the target "spirv" need a device of OpenCL.
inline void skipWithoutDevice(const std::string &chip) {
  if (std::string problem = chip == "spirv" ? openClProblem() : ""; !problem.empty())
    GTEST_SKIP() << problem;
}

/// The cases that the executor runs, on a device of OpenCL: SPIR-V of the same kernels. Faults are planted in PTX only.
class OpenCl : public testing::Test {
protected:
  void SetUp() override { skipWithoutDevice("spirv"); }
};

} // namespace quern

#endif // QUERN_TEST_UNIT_GPU_TESTDEVICE_H

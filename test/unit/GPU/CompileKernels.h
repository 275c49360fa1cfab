// Compiles kernels in MLIR to PTX or SPIR-V and runs them.
#ifndef QUERN_TEST_UNIT_GPU_COMPILEKERNELS_H
#define QUERN_TEST_UNIT_GPU_COMPILEKERNELS_H

#include "quern/Codegen/Spirv.h"
#include "test/unit/GPU/TestDevice.h"

#include "mlir/Parser/Parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quern {

/// The code of the kernels in MLIR text, for one chip; "spirv" is one.
inline std::string compileText(const std::string &text, const std::string &chip) {
  mlir::DialectRegistry registry;
  codegen::registerPtxDialects(registry);
  mlir::MLIRContext context(registry);
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  auto target = codegen::findGpuTarget(chip);
  EXPECT_TRUE(module && target);
  auto code = codegen::emitDeviceCode(*module, **target);
  EXPECT_TRUE(mlir::succeeded(code));
  return mlir::succeeded(code) ? *code : "";
}

/// A loaded module, and memory that its kernels run on.
class GpuProgram {
public:
  /// Of PTX or SPIR-V.
  explicit GpuProgram(const std::string &code) {
    auto loaded = loadCode(code);
    EXPECT_TRUE(loaded) << loaded.error().message;
    if (loaded)
      device = std::move(*loaded);
  }

  template <typename T> uint64_t upload(const std::vector<T> &values, bool areWeights = false) {
    return device ? device->upload(std::as_bytes(std::span(values)), areWeights) : 0;
  }

  template <typename T> std::vector<T> download(uint64_t address, size_t count) {
    std::vector<T> values(count);
    if (device)
      device->download(address, std::as_writable_bytes(std::span(values)));
    return values;
  }

  Status launch(const std::string &name, std::array<uint32_t, 3> grid, uint32_t threads,
                const std::vector<uint64_t> &arguments, uint32_t seed, uint32_t sharedBytes = 0) {
    return device ? device->launch({name, grid, threads, arguments, seed, sharedBytes}) : fail("nothing is loaded");
  }

private:
  std::unique_ptr<TestDevice> device;
};

/// Every target and some orders of threads.
class GpuKernels : public testing::TestWithParam<std::tuple<std::string, uint32_t>> {
protected:
  void SetUp() override { skipWithoutDevice(chip()); }
  std::string chip() const { return std::get<0>(GetParam()); }
  uint32_t seed() const { return std::get<1>(GetParam()); }
};

} // namespace quern

#endif // QUERN_TEST_UNIT_GPU_COMPILEKERNELS_H

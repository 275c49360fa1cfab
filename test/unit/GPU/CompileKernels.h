// Compiles kernels in MLIR to PTX and runs them in the executor.
#ifndef QUERN_TEST_UNIT_GPU_COMPILEKERNELS_H
#define QUERN_TEST_UNIT_GPU_COMPILEKERNELS_H

#include "quern/Codegen/GPU.h"
#include "test/ptx/Executor.h"
#include "test/unit/Ptx/Buffers.h"

#include "mlir/Parser/Parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quern {

/// The PTX of the kernels in MLIR text, for one chip.
inline std::string compileToPtx(const std::string &text, const std::string &chip) {
  mlir::DialectRegistry registry;
  codegen::registerPtxDialects(registry);
  mlir::MLIRContext context(registry);
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  auto target = codegen::findGpuTarget(chip);
  EXPECT_TRUE(module && target);
  auto ptx = codegen::emitPtx(*module, **target);
  EXPECT_TRUE(mlir::succeeded(ptx));
  return mlir::succeeded(ptx) ? *ptx : "";
}

/// A loaded module, and memory that its kernels run on.
class GpuProgram {
public:
  explicit GpuProgram(const std::string &ptx) {
    auto loaded = ptx::loadModule(ptx);
    EXPECT_TRUE(loaded) << loaded.error().message << "\n" << ptx;
    if (loaded)
      module = std::move(*loaded);
  }

  template <typename T> uint64_t upload(const std::vector<T> &values) { return ptx::upload(memory, values); }

  template <typename T> std::vector<T> download(uint64_t address, size_t count) {
    std::vector<T> values(count);
    ptx::download(memory, address, values);
    return values;
  }

  Status launch(const std::string &name, std::array<uint32_t, 3> grid, uint32_t threads,
                const std::vector<uint64_t> &pointers, uint32_t seed) {
    const ptx::Kernel *kernel = module.find(name);
    if (!kernel)
      return fail("no kernel " + name);
    ptx::LaunchOptions options;
    options.seed = seed;
    QUERN_TRY(ptx::launch(*kernel, memory, {grid, {threads, 1, 1}, 0}, std::as_bytes(std::span(pointers)), options));
    return {};
  }

private:
  ptx::Module module;
  ptx::GlobalMemory memory;
};

/// Every target and some orders of threads.
class GpuKernels : public testing::TestWithParam<std::tuple<std::string, uint32_t>> {
protected:
  std::string chip() const { return std::get<0>(GetParam()); }
  uint32_t seed() const { return std::get<1>(GetParam()); }
};

} // namespace quern

#endif // QUERN_TEST_UNIT_GPU_COMPILEKERNELS_H

// The kernels of the lit tests, run against double precision.
#include "test/unit/GPU/CompileKernels.h"

#include "quern/Support/Half.h"

#include <cmath>
#include <fstream>
#include <random>

namespace quern {
namespace {

std::string readTest(const std::string &name) {
  std::ifstream file(std::string(QUERN_SOURCE_DIR) + "/test/lit/Codegen/GPU/" + name);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<float> randomFloats(size_t count, float scale, uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> values(-scale, scale);
  std::vector<float> made(count);
  for (float &value : made)
    value = values(random);
  return made;
}

TEST_P(GpuKernels, Add) {
  GpuProgram program(compileText(readTest("kernels.mlir"), chip()));
  auto a = randomFloats(1000, 10, 1), b = randomFloats(1000, 10, 2);
  uint64_t out = program.upload(std::vector<float>(1000));
  auto status = program.launch("add", {8, 1, 1}, 128, {program.upload(a), program.upload(b), out}, seed());
  ASSERT_TRUE(status) << status.error().message;
  auto sums = program.download<float>(out, 1000);
  for (size_t i = 0; i < 1000; ++i)
    EXPECT_EQ(sums[i], a[i] + b[i]);
}

TEST_P(GpuKernels, Silu) {
  GpuProgram program(compileText(readTest("kernels.mlir"), chip()));
  auto x = randomFloats(4096, 12, 3);
  uint64_t out = program.upload(std::vector<uint16_t>(4096));
  auto status = program.launch("silu", {32, 1, 1}, 128, {program.upload(x), out}, seed());
  ASSERT_TRUE(status) << status.error().message;
  auto values = program.download<uint16_t>(out, 4096);
  for (size_t i = 0; i < 4096; ++i) {
    // Rounding to f16 is half a unit in the last place, 2^-11; f32's own errors are far below.
    double expected = x[i] / (1 + std::exp(-double(x[i])));
    EXPECT_NEAR(halfToFloat(values[i]), expected, std::abs(expected) * 0x1.01p-11 + 0x1p-25) << x[i];
  }
}

TEST_P(GpuKernels, Norm) {
  GpuProgram program(compileText(readTest("kernels.mlir"), chip()));
  auto x = randomFloats(8 * 1024, 3, 4);
  uint64_t out = program.upload(std::vector<float>(x.size()));
  auto status = program.launch("norm", {8, 1, 1}, 128, {program.upload(x), out}, seed());
  ASSERT_TRUE(status) << status.error().message;
  auto y = program.download<float>(out, x.size());
  for (size_t row = 0; row < 8; ++row) {
    double squares = 0;
    for (size_t k = 0; k < 1024; ++k)
      squares += double(x[row * 1024 + k]) * x[row * 1024 + k];
    double scale = 1 / std::sqrt(squares / 1024 + 1e-6);
    // A sum of 1,024 squares in chains of 8, 5 and 4 additions, a root and a product: less than 16 roundings of 2^-24.
    for (size_t k = 0; k < 1024; ++k)
      EXPECT_NEAR(y[row * 1024 + k], x[row * 1024 + k] * scale, 16 * 0x1p-24 * std::abs(x[row * 1024 + k] * scale));
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, GpuKernels,
                         testing::Combine(testing::Values("sm_75", "sm_80", "sm_90"), testing::Values(0, 1, 2)));
INSTANTIATE_TEST_SUITE_P(OpenCl, GpuKernels, testing::Values(std::tuple("spirv", 0)));

TEST(GpuTensorCores, Multiply) {
  std::string ptx = compileText(readTest("tensor-cores.mlir"), "sm_80");
  std::vector<uint16_t> a(16 * 16), b(8 * 16);
  for (size_t i = 0; i < a.size(); ++i)
    a[i] = floatToHalf(float(int(i * 7 % 23) - 11));
  for (size_t i = 0; i < b.size(); ++i)
    b[i] = floatToHalf(float(int(i * 5 % 19) - 9));
  for (uint32_t seed : {0u, 1u, 2u}) {
    GpuProgram program(ptx);
    uint64_t out = program.upload(std::vector<float>(128));
    auto status = program.launch("multiply", {1, 1, 1}, 32, {program.upload(a), program.upload(b), out}, seed);
    ASSERT_TRUE(status) << status.error().message;
    auto c = program.download<float>(out, 128);
    for (size_t m = 0; m < 16; ++m)
      for (size_t n = 0; n < 8; ++n) {
        float expected = 0; // small integers: exact
        for (size_t k = 0; k < 16; ++k)
          expected += halfToFloat(a[m * 16 + k]) * halfToFloat(b[n * 16 + k]);
        EXPECT_EQ(c[m * 8 + n], expected) << m << " " << n;
      }
  }
}

/// The PTX without the first line that holds `what`.
std::string without(const std::string &ptx, const std::string &what) {
  size_t at = ptx.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  size_t begin = ptx.rfind('\n', at), end = ptx.find('\n', at);
  return ptx.substr(0, begin) + ptx.substr(end);
}

TEST(GpuFaults, RemovedBarrierInEmittedCode) {
  GpuProgram program(without(compileText(readTest("kernels.mlir"), "sm_80"), "bar.sync"));
  uint64_t x = program.upload(randomFloats(8 * 1024, 3, 4)), y = program.upload(std::vector<float>(8 * 1024));
  for (uint32_t seed : {0u, 1u, 2u}) {
    auto status = program.launch("norm", {8, 1, 1}, 128, {x, y}, seed);
    ASSERT_FALSE(status);
    EXPECT_THAT(status.error().message, testing::HasSubstr("race in shared memory"));
  }
}

TEST(GpuFaults, RemovedWaitInEmittedCode) {
  GpuProgram program(without(compileText(readTest("tensor-cores.mlir"), "sm_80"), "cp.async.wait_group"));
  uint64_t a = program.upload(std::vector<uint16_t>(256)), b = program.upload(std::vector<uint16_t>(128));
  auto status = program.launch("multiply", {1, 1, 1}, 32, {a, b, program.upload(std::vector<float>(128))}, 0);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, testing::HasSubstr("has not been waited for"));
}

TEST(GpuFaults, TooLittleAlignmentInEmittedCode) {
  std::string text = readTest("tensor-cores.mlir");
  std::string alignment = " {llvm.align = 16 : i64}";
  text.erase(text.find(alignment), alignment.size());
  GpuProgram program(compileText(text, "sm_80"));
  uint64_t a = program.upload(std::vector<uint16_t>(256)), b = program.upload(std::vector<uint16_t>(128));
  auto status = program.launch("multiply", {1, 1, 1}, 32, {a, b, program.upload(std::vector<float>(128))}, 0);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, testing::HasSubstr("misaligned access: 16 bytes at shared address"));
}

/// Which thread stores last is no race that the executor sees: it looks for those in shared memory.
TEST(GpuFaults, ResultsThatDependOnTheOrderOfThreads) {
  GpuProgram program(compileText(R"(
    module attributes {gpu.container_module} {
    gpu.module @kernels {
      gpu.func @last(%out: !llvm.ptr) kernel {
        %thread = gpu.thread_id x
        %number = arith.index_cast %thread : index to i32
        llvm.store %number, %out : i32, !llvm.ptr
        gpu.return
      }
    }
    })",
                                 "sm_80"));
  auto status = program.launch("last", {1, 1, 1}, 128, {program.upload(std::vector<int32_t>(1))}, 0);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, testing::HasSubstr("last: what comes out depends on the order of threads"));
}

TEST(GpuFaults, TooShortBuffer) {
  GpuProgram program(compileText(readTest("kernels.mlir"), "sm_80"));
  uint64_t whole = program.upload(std::vector<float>(1000)), cut = program.upload(std::vector<float>(999));
  auto status = program.launch("add", {8, 1, 1}, 128, {whole, whole, cut}, 0);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, testing::HasSubstr("out of bounds of global memory"));
}

} // namespace
} // namespace quern

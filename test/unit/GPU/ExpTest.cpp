// The exponential over its whole range: the device library's, and OpenCL's.
#include "test/unit/GPU/CompileKernels.h"

#include <cmath>
#include <limits>

namespace quern {
namespace {

constexpr char kExp[] = R"(
module attributes {gpu.container_module} {
gpu.module @kernels {
  gpu.func @exponential(%x: memref<4096xf32>, %y: memref<4096xf32>) kernel {
    %i = gpu.global_id x
    %v = memref.load %x[%i] : memref<4096xf32>
    %e = math.exp %v : f32
    memref.store %e, %y[%i] : memref<4096xf32>
    gpu.return
  }
}
})";

std::vector<float> exponentials(const std::vector<float> &x, const std::string &chip) {
  GpuProgram program(compileText(kExp, chip));
  uint64_t out = program.upload(std::vector<float>(x.size()));
  auto status = program.launch("exponential", {uint32_t(x.size() / 128), 1, 1}, 128, {program.upload(x), out}, 0);
  EXPECT_TRUE(status) << status.error().message;
  return program.download<float>(out, x.size());
}

/// `error` relative to the result.
void expectAccurate(const std::string &chip, double error) {
  std::vector<float> x(4096);
  for (size_t i = 0; i < x.size(); ++i)
    x[i] = -87.3f + 176.0f * float(i) / 4096;
  auto y = exponentials(x, chip);
  for (size_t i = 0; i < x.size(); ++i) {
    double expected = std::exp(double(x[i]));
    EXPECT_NEAR(y[i], expected, expected * error) << x[i];
  }
}

// Three roundings (two factors and their product) and what the fraction loses: its own rounding, at most 2^-24.
TEST(GpuExp, IsAccurateWhereItIsNormal) { expectAccurate("sm_80", 3 * 0x1p-24); }
// OpenCL allows 3 ulp.
TEST_F(OpenCl, ExpIsAccurateWhereItIsNormal) { expectAccurate("spirv", 3 * 0x1p-23); }

void expectEnds(const std::string &chip) {
  float infinity = std::numeric_limits<float>::infinity();
  std::vector<float> x(128, 0.0f);
  x[1] = -infinity;
  x[2] = infinity;
  x[3] = 88.73f;
  x[4] = -104.0f;
  x[5] = std::nanf("");
  x[6] = -100.0f;
  x[7] = 1e30f;
  x[8] = -1e30f;
  auto y = exponentials(x, chip);
  EXPECT_EQ(y[0], 1.0f);
  EXPECT_EQ(y[1], 0.0f);
  EXPECT_EQ(y[2], infinity);
  EXPECT_EQ(y[3], infinity);
  EXPECT_EQ(y[4], 0.0f);
  EXPECT_TRUE(std::isnan(y[5]));
  EXPECT_NEAR(y[6], std::exp(-100.0), 0x1p-149) << "a subnormal number";
  EXPECT_EQ(y[7], infinity);
  EXPECT_EQ(y[8], 0.0f);
}

TEST(GpuExp, EndsWhereF32Does) { expectEnds("sm_80"); }
TEST_F(OpenCl, ExpEndsWhereF32Does) { expectEnds("spirv"); }

} // namespace
} // namespace quern

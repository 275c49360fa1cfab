// Rows of f32 split into two of f16, run in the executor: what they add up to.
#include "test/unit/GPU/EmitKernels.h"

#include "lib/Codegen/GPU/SplitRows.h"
#include "quern/Support/Half.h"

#include <bit>
#include <cmath>

namespace quern {
namespace {

using codegen::SplitRows;

struct Split {
  std::vector<uint16_t> halves; ///< [T, 2, width]
  std::vector<float> scales;    ///< [T]
};

Split split(const std::vector<float> &x, int64_t width, const std::string &chip, uint32_t seed = 1) {
  SplitRows rows{width};
  size_t count = x.size() / size_t(width);
  GpuProgram program(emitCode(chip, [&](auto module, auto &) { codegen::emitSplitRows(module, rows); }));
  uint64_t halves = program.upload(std::vector<uint16_t>(2 * x.size(), 0x7fff));
  uint64_t scales = program.upload(std::vector<float>(count, NAN));
  auto status = program.launch(rows.name(), {uint32_t(count), 1, 1}, uint32_t(32 * rows.warps()),
                               {program.upload(x), halves, scales}, seed);
  EXPECT_TRUE(status) << status.error().message;
  return {program.download<uint16_t>(halves, 2 * x.size()), program.download<float>(scales, count)};
}

/// Each row's numbers, put together, are off by as much as SplitRows.h says, and its scale is a power of two.
void expectSums(const std::vector<float> &x, int64_t width, const std::string &chip) {
  Split made = split(x, width, chip);
  for (size_t t = 0; t < made.scales.size(); ++t) {
    double scale = made.scales[t], greatest = 0;
    EXPECT_EQ(std::bit_cast<uint32_t>(made.scales[t]) & 0x807fffff, 0u) << "a normal power of two";
    for (int64_t k = 0; k < width; ++k)
      greatest = std::max(greatest, double(std::abs(x[t * width + k])));
    for (int64_t k = 0; k < width; ++k) {
      double number = x[t * width + k], high = halfToFloat(made.halves[2 * t * width + k]);
      double low = halfToFloat(made.halves[(2 * t + 1) * width + k]);
      EXPECT_NEAR(scale * (high + low), number, 0x1p-23 * std::abs(number) + 0x1p-39 * greatest) << t << ", " << k;
      EXPECT_LE(std::abs(low), 0x1p-11 * std::abs(high) + 0x1p-25) << "high is the nearest f16";
    }
  }
}

/// Rows of all magnitudes, down to the least that f32 has; a block of one warp and of eight.
TEST(GpuSplitRows, AddUpToTheNumbers) {
  const float scales[] = {1, 3e37f, 1e-37f, 1e-43f, 0, 77};
  for (int64_t width : {8, 1544}) {
    auto x = normalFloats(6 * width, 3);
    for (size_t i = 0; i < x.size(); ++i)
      x[i] = std::clamp(x[i], -5.0f, 5.0f) * (i % 3 ? 1 : 1e-4f) * scales[i / size_t(width)];
    x[0] = 0x1.fffffep-1f; // whose f16 is the next power of two
    for (const char *chip : {"sm_75", "sm_80", "sm_90"})
      expectSums(x, width, chip);
  }
}

TEST(GpuSplitRows, DoNotDependOnTheOrderOfThreads) {
  auto x = normalFloats(2 * 1544, 3);
  Split one = split(x, 1544, "sm_80", 1), other = split(x, 1544, "sm_80", 7);
  EXPECT_EQ(one.halves, other.halves);
  EXPECT_EQ(one.scales, other.scales);
}

TEST(GpuSplitRows, KeepWhatIsNotFiniteInItsPlace) {
  std::vector<float> x = {1, INFINITY, 2, 3, 4, 5, 6, 7, 1, 2, NAN, 3, 4, 5, 6, 7};
  Split made = split(x, 8, "sm_80");
  for (size_t t : {0, 1})
    for (size_t k = 0; k < 8; ++k) {
      float sum = halfToFloat(made.halves[16 * t + k]) + halfToFloat(made.halves[16 * t + 8 + k]);
      EXPECT_EQ(std::isnan(sum), k == 1 + t) << t << ", " << k;
    }
}

} // namespace
} // namespace quern

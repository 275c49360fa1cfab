// The quantization of activations on the device, bit for bit that of the reference, which is the CPU's.
#include "test/unit/GPU/CompileOps.h"

#include "quern/Reference/Rows.h"

#include <cmath>
#include <limits>
#include <random>

namespace quern {
namespace {

reference::Rows someRows(int64_t count, int64_t width) {
  reference::Rows rows(count, width);
  std::mt19937 random(9);
  std::normal_distribution<float> normal;
  for (double &value : rows.values)
    value = normal(random);
  for (int64_t k = 0; k < 32; ++k) {
    rows.values[k] = 0;                                          // a scale of 0
    rows.values[32 + k] = std::ldexp(float(k), -149);            // 1 / d is infinite
    rows.values[64 + k] = float(k % 2 ? 127 : -0.5 * double(k)); // ties
  }
  rows.values[70] = 3e38f;
  if (count > 1)
    rows.values[width + 40] = -std::numeric_limits<float>::infinity();
  return rows;
}

/// What the kernel writes.
struct Quantized {
  std::vector<int8_t> codes;
  std::vector<float> scales;
  std::vector<int16_t> sums;
};

Quantized runQuantize(const reference::Rows &rows, const std::string &chip, uint32_t seed) {
  int64_t count = rows.count, width = rows.width, padded = (width + 127) / 128 * 128;
  auto shape = std::to_string(count) + "x" + std::to_string(width);
  CompiledOps compiled = compileOps("func.func @f(%x: tensor<" + shape + "xf32>) -> tensor<" + shape +
                                        "x!dq.act8<32>> {\n%q = dq.quantize %x : tensor<" + shape + "xf32> -> tensor<" +
                                        shape + "x!dq.act8<32>>\nreturn %q : tensor<" + shape + "x!dq.act8<32>>\n}",
                                    chip);
  GpuProgram program(compiled.code);
  uint64_t codes = program.upload(std::vector<int8_t>(count * padded, 1));
  uint64_t scales = program.upload(std::vector<float>(count * padded / 32, 1));
  uint64_t sums = program.upload(std::vector<int16_t>(count * padded / 16, 1));
  uint64_t x = program.upload(std::vector<float>(rows.values.begin(), rows.values.end()));
  std::string name = "quantize_" + shape;
  auto status = program.launch(name, {compiled.blocks.at(name), 1, 1}, 128, {x, codes, scales, sums}, seed);
  EXPECT_TRUE(status) << status.error().message;
  return {program.download<int8_t>(codes, count * padded), program.download<float>(scales, count * padded / 32),
          program.download<int16_t>(sums, count * padded / 16)};
}

void expectRows(int64_t count, int64_t width, const std::string &chip, uint32_t seed) {
  reference::Rows rows = someRows(count, width);
  reference::Act8Rows expected = reference::quantize(rows);
  auto [gotCodes, gotScales, gotSums] = runQuantize(rows, chip, seed);
  int64_t padded = (width + 127) / 128 * 128;
  for (int64_t t = 0; t < count; ++t)
    for (int64_t k = 0; k < padded; ++k) {
      EXPECT_EQ(gotCodes[t * padded + k], k < width ? expected.codes[t * width + k] : 0) << t << " " << k;
      EXPECT_EQ(gotScales[(t * padded + k) / 32], k < width ? expected.scales[t * expected.groups() + k / 32] : 0);
      EXPECT_EQ(gotSums[(t * padded + k) / 16], k < width ? expected.sums[t * expected.sumsOfRow() + k / 16] : 0);
    }
}

TEST(GpuQuantize, EqualsTheReferenceToTheBit) {
  expectRows(3, 896, "sm_80", 1);
  expectRows(1, 96, "sm_75", 2);
  expectRows(2, 1536, "sm_90", 0);
  expectRows(5, 480, "sm_80", 3);
}

TEST_F(OpenCl, QuantizeEqualsTheReferenceToTheBit) {
  expectRows(1, 96, "spirv", 0);
  expectRows(3, 896, "spirv", 0);
}

void expectNanInScale(const std::string &chip) {
  reference::Rows rows(1, 128);
  std::ranges::fill(rows.values, 1);
  rows.values[37] = -std::nanf("");
  rows.values[38] = std::numeric_limits<float>::infinity();
  Quantized got = runQuantize(rows, chip, 1);
  for (int64_t group = 0; group < 4; ++group)
    EXPECT_EQ(std::isnan(got.scales[group]), group == 1) << "group " << group;
  for (int64_t k = 0; k < 128; ++k)
    EXPECT_EQ(got.codes[k], k / 32 == 1 ? 0 : 127) << k; // those of a NaN count as zero, as on the CPU
  EXPECT_EQ(got.sums[2], 0);
  EXPECT_EQ(got.sums[4], 16 * 127);
}

TEST(GpuQuantize, ANanReachesTheScale) {
  for (const char *chip : {"sm_75", "sm_80"})
    expectNanInScale(chip);
}

TEST_F(OpenCl, QuantizeLetsANanReachTheScale) { expectNanInScale("spirv"); }

} // namespace
} // namespace quern

// Kernels over rows of activations: gathering, sums, gates, rounding and norms, against double precision.
#include "test/unit/GPU/EmitKernels.h"

#include "lib/Codegen/GPU/Elementwise.h"
#include "lib/Codegen/GPU/Gather.h"
#include "lib/Codegen/GPU/RmsNorm.h"
#include "quern/Codegen/GpuLayout.h"
#include "quern/Reference/Rows.h"
#include "quern/Support/Half.h"

#include <cmath>

namespace quern {
namespace {

using codegen::Elementwise;
using codegen::HeadNorm;
using codegen::RmsNorm;

void expectRowsTaken(const std::string &chip) {
  GpuProgram program(emitCode(chip, [](auto module, auto &target) { emitGatherRows(module, 197, target); }));
  auto x = normalFloats(5 * 197, 1);
  std::vector<int32_t> rows = {4, 0, 4};
  uint64_t out = program.upload(std::vector<float>(3 * 197));
  auto status = program.launch("gather_rows_197", {3, 1, 1}, 128, {program.upload(x), program.upload(rows), out}, 1);
  ASSERT_TRUE(status) << status.error().message;
  auto y = program.download<float>(out, 3 * 197);
  for (size_t o = 0; o < 3; ++o)
    for (size_t k = 0; k < 197; ++k)
      EXPECT_EQ(y[o * 197 + k], x[rows[o] * 197 + k]);
}

TEST(GpuGather, TakesRows) { expectRowsTaken("sm_80"); }
TEST_F(OpenCl, GatherTakesRows) { expectRowsTaken("spirv"); }

/// Two rows of 130 columns become rows of 261.
class ColumnGather {
public:
  explicit ColumnGather(const std::string &chip)
      : program(emitCode(chip, [](auto module, auto &target) { emitGatherColumns(module, 130, 261, target); })) {
    for (size_t k = 0; k < columns.size(); ++k)
      columns[k] = int32_t(k * 37 % 130);
  }

  Status run() {
    uint64_t out = program.upload(y);
    auto status =
        program.launch("gather_columns_130to261", {2, 1, 1}, 128, {program.upload(x), program.upload(columns), out}, 2);
    y = program.download<float>(out, y.size());
    return status;
  }

  void expectOrder() {
    auto status = run();
    ASSERT_TRUE(status) << status.error().message;
    for (size_t t = 0; t < 2; ++t)
      for (size_t k = 0; k < 261; ++k)
        EXPECT_EQ(y[t * 261 + k], x[t * 130 + columns[k]]);
  }

  std::vector<int32_t> columns = std::vector<int32_t>(261);

private:
  GpuProgram program;
  std::vector<float> x = normalFloats(2 * 130, 2), y = std::vector<float>(2 * 261);
};

TEST(GpuGather, PutsColumnsInOrder) {
  ColumnGather gather("sm_75");
  gather.expectOrder();
  gather.columns[260] = 130 * 2; // beyond both rows
  auto status = gather.run();
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, testing::HasSubstr("out of bounds of global memory"));
}

TEST_F(OpenCl, GatherPutsColumnsInOrder) { ColumnGather("spirv").expectOrder(); }

void expectElementwise(const std::string &chip) {
  GpuProgram program(emitCode(chip, [](auto module, auto &) {
    emitElementwise(module, Elementwise::Sum, 197);
    emitElementwise(module, Elementwise::Swiglu, 197);
  }));
  auto a = normalFloats(3 * 197, 1, 4), b = normalFloats(3 * 197, 2);
  a[0] = -200, a[1] = 200; // whose exponentials are infinite and zero
  uint64_t second = program.upload(b);
  auto run = [&](Elementwise kind) {
    uint64_t inPlace = program.upload(a);
    auto status = program.launch(elementwiseName(kind, 197), {2, 3, 1}, 128, {inPlace, second, inPlace}, 1);
    EXPECT_TRUE(status) << status.error().message;
    return program.download<float>(inPlace, a.size());
  };
  auto sums = run(Elementwise::Sum), gated = run(Elementwise::Swiglu);
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(sums[i], a[i] + b[i]);
    double expected = a[i] / (1 + std::exp(-double(a[i]))) * b[i];
    // Three roundings of the exponential, as its test says, and those of a sum, a quotient and a product.
    EXPECT_NEAR(gated[i], expected, 6 * 0x1p-24 * std::abs(expected) + 1e-38) << i;
  }
}

TEST(GpuElementwise, AgreesWithDoublePrecision) { expectElementwise("sm_75"); }
TEST_F(OpenCl, ElementwiseAgreesWithDoublePrecision) { expectElementwise("spirv"); }

void expectRounded(const std::string &chip) {
  constexpr Elementwise kKind = Elementwise::RoundToBfloat;
  GpuProgram program(emitCode(chip, [](auto module, auto &) { emitElementwise(module, kKind, 197); }));
  auto x = normalFloats(2 * 197, 7);
  x[3] = std::nanf("");
  x[4] = INFINITY;
  x[5] = std::bit_cast<float>(0x3f808000); // ties go to even
  x[6] = std::bit_cast<float>(0x3f818000);
  x[7] = -3.4e38f; // becomes infinite
  uint64_t out = program.upload(std::vector<uint16_t>(x.size()));
  auto status =
      program.launch(elementwiseName(kKind, 197), {2, 2, 1}, codegen::kElementwiseThreads, {program.upload(x), out}, 1);
  ASSERT_TRUE(status) << status.error().message;
  auto y = program.download<uint16_t>(out, x.size());
  for (size_t i = 0; i < x.size(); ++i)
    if (std::isnan(x[i]))
      EXPECT_TRUE(std::isnan(bfloatToFloat(y[i])));
    else
      EXPECT_EQ(y[i], floatToBfloat(x[i])) << x[i];
}

TEST(GpuElementwise, RoundsAsTheCpu) { expectRounded("sm_75"); }
TEST_F(OpenCl, ElementwiseRoundsAsTheCpu) { expectRounded("spirv"); }

/// The factor of a row in double precision.
double factorOf(const float *x, int64_t width, double eps) {
  double squares = 0;
  for (int64_t k = 0; k < width; ++k)
    squares += double(x[k]) * x[k];
  return 1 / std::sqrt(squares / double(width) + eps);
}

/// Sums of squares in chains of at most 32 + 5 + 5 roundings, halved by the root; then a root, a quotient, two
/// products.
constexpr double kNormRoundings = 26 * 0x1p-24;

struct NormRun {
  std::vector<float> rows;
  std::vector<int8_t> codes;
  std::vector<float> scales;
  std::vector<int16_t> sums;
};

/// The norm of x as f32 and quantized.
NormRun runNorm(const std::vector<float> &x, const std::vector<float> &gain, const std::string &chip, uint32_t seed) {
  int64_t width = int64_t(gain.size()), count = int64_t(x.size()) / width, padded = codegen::gpuRowWidth(width);
  RmsNorm norm{width, 1e-6}, quantized{width, 1e-6, true};
  GpuProgram program(emitCode(chip, [&](auto module, auto &target) {
    emitRmsNorm(module, norm, target);
    emitRmsNorm(module, quantized, target);
  }));
  uint64_t from = program.upload(x), factors = program.upload(gain), out = program.upload(std::vector<float>(x.size()));
  uint64_t codes = program.upload(std::vector<int8_t>(count * padded, 1));
  uint64_t scales = program.upload(std::vector<float>(count * padded / 32, 1));
  uint64_t sums = program.upload(std::vector<int16_t>(count * padded / 16, 1));
  std::array<uint32_t, 3> grid = {uint32_t(count), 1, 1};
  auto first = program.launch(norm.name(), grid, uint32_t(32 * norm.warps()), {from, factors, out}, seed);
  auto second = program.launch(quantized.name(), grid, uint32_t(32 * quantized.warps()),
                               {from, factors, codes, scales, sums}, seed);
  EXPECT_TRUE(first) << first.error().message;
  EXPECT_TRUE(second) << second.error().message;
  return {program.download<float>(out, x.size()), program.download<int8_t>(codes, count * padded),
          program.download<float>(scales, count * padded / 32), program.download<int16_t>(sums, count * padded / 16)};
}

void expectNorm(int64_t count, int64_t width, const std::string &chip, uint32_t seed) {
  auto x = normalFloats(count * width, 3, 4), gain = normalFloats(width, 4);
  NormRun got = runNorm(x, gain, chip, seed);
  reference::Rows rows(count, width);
  rows.values.assign(got.rows.begin(), got.rows.end());
  for (int64_t i = 0; i < count * width; ++i) {
    double expected = x[i] * factorOf(&x[i / width * width], width, 1e-6) * gain[i % width];
    EXPECT_NEAR(got.rows[i], expected, kNormRoundings * std::abs(expected)) << i;
  }
  // Quantized to the bit what the norm gives as f32.
  reference::Act8Rows expected = reference::quantize(rows);
  int64_t padded = codegen::gpuRowWidth(width);
  for (int64_t t = 0; t < count; ++t)
    for (int64_t k = 0; k < padded; ++k) {
      float scale = k / 32 < expected.groups() ? expected.scales[t * expected.groups() + k / 32] : 0;
      int32_t sum = k / 16 < expected.sumsOfRow() ? expected.sums[t * expected.sumsOfRow() + k / 16] : 0;
      EXPECT_EQ(got.codes[t * padded + k], k < width ? expected.codes[t * width + k] : 0) << t << " " << k;
      EXPECT_EQ(got.scales[(t * padded + k) / 32], scale) << t << " " << k;
      EXPECT_EQ(got.sums[(t * padded + k) / 16], sum) << t << " " << k;
    }
}

TEST(GpuRmsNorm, AgreesWithDoublePrecision) {
  expectNorm(2, 896, "sm_80", 1);
  expectNorm(3, 96, "sm_75", 2);
  expectNorm(1, 1536, "sm_90", 3);
  expectNorm(2, 205, "sm_80", 2); // no multiple of anything
  expectNorm(1, 5120, "sm_80", 0);
}

TEST_F(OpenCl, RmsNormAgreesWithDoublePrecision) {
  expectNorm(2, 896, "spirv", 0);
  expectNorm(2, 205, "spirv", 0);
}

TEST(GpuRmsNorm, ARemovedBarrierIsFound) {
  RmsNorm norm{896, 1e-6};
  std::string ptx = emitCode("sm_80", [&](auto module, auto &target) { emitRmsNorm(module, norm, target); });
  for (const std::string &faulty : withoutEach(ptx, "bar.sync")) {
    GpuProgram program(faulty);
    uint64_t x = program.upload(normalFloats(896, 1));
    for (uint32_t seed : {0u, 1u, 2u}) {
      auto status = program.launch(norm.name(), {1, 1, 1}, uint32_t(32 * norm.warps()), {x, x, x}, seed);
      ASSERT_FALSE(status);
      EXPECT_THAT(status.error().message, testing::HasSubstr("race in shared memory"));
    }
  }
}

void expectHeadNorms(const std::string &chip) {
  for (HeadNorm norm : {HeadNorm{5, 128, 1e-6}, HeadNorm{3, 80, 1e-5}, HeadNorm{4, 64, 1e-6}}) {
    GpuProgram program(emitCode(chip, [&](auto module, auto &target) { emitHeadNorm(module, norm, target); }));
    int64_t count = 2 * norm.heads;
    auto x = normalFloats(count * norm.headDim, 5, 3), gain = normalFloats(norm.headDim, 6);
    uint64_t inPlace = program.upload(x);
    uint32_t blocks = uint32_t(norm.heads + HeadNorm::kWarps - 1) / HeadNorm::kWarps;
    auto status = program.launch(norm.name(), {blocks, 2, 1}, 128, {inPlace, program.upload(gain), inPlace}, 1);
    ASSERT_TRUE(status) << status.error().message;
    auto y = program.download<float>(inPlace, x.size());
    for (int64_t i = 0; i < int64_t(x.size()); ++i) {
      int64_t d = i % norm.headDim;
      double expected = x[i] * factorOf(&x[i - d], norm.headDim, norm.eps) * gain[d];
      EXPECT_NEAR(y[i], expected, kNormRoundings * std::abs(expected)) << norm.name() << " " << i;
    }
  }
}

TEST(GpuHeadNorm, AgreesWithDoublePrecision) { expectHeadNorms("sm_80"); }
TEST_F(OpenCl, HeadNormAgreesWithDoublePrecision) { expectHeadNorms("spirv"); }

} // namespace
} // namespace quern

// Matmuls with few columns, run on packed weights, against double precision.
#include "test/unit/GPU/CompileMatvec.h"

namespace quern {
namespace {

struct Case {
  std::string format;
  int64_t rows, width, columns;
  bool epilogue = false; ///< bias and residual
  std::string chip = "sm_80";
};

std::ostream &operator<<(std::ostream &out, const Case &c) {
  return out << c.format << " " << c.rows << "x" << c.width << " t" << c.columns << " " << c.chip;
}

Matvec of(int64_t width, int64_t columns) { return {.segments = {}, .width = width, .columns = columns}; }

class GpuMatvec : public testing::TestWithParam<Case> {
  void SetUp() override { skipWithoutDevice(GetParam().chip); }
};

std::string nameOf(const testing::TestParamInfo<Case> &info) {
  const Case &c = info.param;
  return c.format + "_" + std::to_string(c.width) + "_t" + std::to_string(c.columns);
}

TEST_P(GpuMatvec, AgreesWithDoublePrecision) {
  const Case &c = GetParam();
  Matvec matvec = of(c.width, c.columns);
  matvec.bias = matvec.residual = c.epilogue;
  MatvecTest test(matvec, {{c.format, c.rows}}, c.chip);
  auto y = test.run(1);
  test.expectSums(y);
  EXPECT_EQ(y, test.run(2)) << "does not depend on the order of threads";
}

// One column and several, rows that fill no block and no warp, widths that fill no unit and no lane, and those for
// which a lane takes several units one after the other.
INSTANTIATE_TEST_SUITE_P(
    Formats, GpuMatvec,
    testing::Values(Case{"q8_0", 10, 896, 1}, Case{"q8_0", 8, 896, 3, true, "sm_90"},
                    Case{"q8_0", 5, 1024, 8, false, "sm_75"}, Case{"q8_0", 3, 4960, 1}, Case{"q8_0", 7, 480, 6, true},
                    Case{"q4_0", 6, 896, 2}, Case{"q4_0", 3, 4864, 1}, Case{"q4_1", 6, 896, 3},
                    Case{"q4_1", 3, 224, 7, false, "sm_75"}, Case{"q5_0", 6, 96, 2, true}, Case{"q5_0", 3, 9600, 1},
                    Case{"q5_1", 6, 96, 1, true}, Case{"q5_1", 5, 800, 5}, Case{"q2_K", 6, 768, 1},
                    Case{"q2_K", 4, 1536, 8, true}, Case{"q3_K", 6, 768, 2}, Case{"q4_K", 6, 768, 1},
                    Case{"q4_K", 4, 1536, 8, true}, Case{"q5_K", 6, 768, 2}, Case{"q5_K", 37, 1536, 1},
                    Case{"q6_K", 6, 768, 1}, Case{"q6_K", 4, 1536, 8, true, "sm_75"}, Case{"q6_K", 3, 8960, 1},
                    Case{"iq4_nl", 6, 896, 1}, Case{"iq4_nl", 5, 160, 4, true}, Case{"iq4_xs", 6, 768, 1},
                    Case{"iq4_xs", 3, 2048, 8}, Case{"mxfp4", 6, 896, 1, true}, Case{"mxfp4", 5, 96, 3},
                    Case{"mxfp6_e2m3", 6, 896, 1}, Case{"mxfp6_e2m3", 5, 96, 3, true},
                    Case{"mxfp6_e3m2", 6, 896, 1, true}, Case{"mxfp6_e3m2", 5, 96, 8}, Case{"i4_f32", 6, 896, 1},
                    Case{"i4_f32", 5, 96, 5, true}, Case{"i5_f32", 6, 896, 1, true}, Case{"i5_f32", 5, 96, 2},
                    Case{"i8_f32", 6, 896, 1}, Case{"i8_f32", 5, 96, 8, true}, Case{"f32", 6, 896, 1},
                    Case{"f32", 5, 100, 3, true}, Case{"f16", 6, 896, 1, true}, Case{"f16", 5, 104, 8},
                    Case{"bf16", 6, 896, 1}, Case{"bf16", 5, 104, 8, true, "sm_75"}, Case{"bf16", 3, 4864, 2},
                    Case{"q4_K", 37, 2048, 1, true, "sm_90"}, Case{"q8_0", 6, 960, 2, true, "sm_90"},
                    Case{"f16", 6, 416, 2, true, "sm_90"}, Case{"bf16", 6, 416, 1, true, "sm_90"}),
    nameOf);

/// Each format with one column, and a few with more.
std::vector<Case> openClCases() {
  std::vector<Case> cases;
  for (const char *format : {"q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "iq4_nl", "mxfp4", "mxfp6_e2m3", "mxfp6_e3m2",
                             "i4_f32", "i5_f32", "i8_f32", "f32", "f16", "bf16"})
    cases.push_back({format, 6, 224, 1, false, "spirv"});
  for (const char *format : {"q2_K", "q3_K", "q4_K", "q5_K", "q6_K", "iq4_xs"})
    cases.push_back({format, 6, 768, 1, true, "spirv"});
  cases.insert(cases.end(), {{"q8_0", 7, 480, 6, true, "spirv"},
                             {"q4_K", 4, 768, 8, false, "spirv"},
                             {"q6_K", 5, 1536, 3, false, "spirv"},
                             {"bf16", 5, 104, 8, true, "spirv"}});
  return cases;
}
INSTANTIATE_TEST_SUITE_P(OpenCl, GpuMatvec, testing::ValuesIn(openClCases()), nameOf);

// Five rows of activations more than the kernel's columns, with the residual in place.
void expectAnyRows(const std::string &format, int64_t columns, const std::string &chip) {
  Matvec matvec = of(256, columns);
  matvec.more = matvec.residual = true;
  MatvecTest test(matvec, {{format, 6}}, chip);
  test.expectSums(test.run(1));
}

TEST(GpuMatvecOfAnyRows, AgreesWithDoublePrecision) {
  for (const char *format : {"f16", "bf16", "f32", "mxfp6_e3m2", "q4_K"})
    expectAnyRows(format, 8, "sm_80");
}

TEST_F(OpenCl, MatvecOfAnyRowsAgreesWithDoublePrecision) {
  for (const char *format : {"q8_0", "q4_K", "bf16"})
    expectAnyRows(format, 1, "spirv");
}

/// The last block of a weight of 5 GB, of which the memory holds only the last rows: a pointer to where the first one
/// would be is enough for it.
TEST(GpuMatvecPlaces, GoBeyond32Bits) {
  constexpr int64_t kRows = 151933, kWidth = 8192, kRowBytes = kWidth * 4;
  Matvec matvec{.segments = {codegen::matvecSegment(4, false, kRows)}, .width = kWidth, .columns = 1};
  CompiledMatvec compiled = compileMatvec(matvec, "sm_80");
  int64_t first = (compiled.blocks - 1) * 4, count = kRows - first;
  ASSERT_EQ(count, 1);
  std::string ptx = compiled.code;
  size_t at = ptx.find("%ctaid.x");
  ASSERT_NE(at, std::string::npos);
  GpuProgram program(ptx.replace(at, strlen("%ctaid.x"), std::to_string(compiled.blocks - 1)));
  std::mt19937 random(3);
  std::vector<float> weights = randomNumbers(count * kWidth, random), x = randomNumbers(kWidth, random);
  uint64_t y = program.upload(std::vector<float>(count, NAN));
  std::vector<uint64_t> arguments = {program.upload(weights) - uint64_t(first * kRowBytes), program.upload(x),
                                     y - uint64_t(first * 4)};
  auto status = program.launch(compiled.name, {1, 1, 1}, compiled.threads, arguments, 1);
  ASSERT_TRUE(status) << status.error().message;
  double sum = 0, magnitude = 0;
  for (int64_t k = 0; k < kWidth; ++k) {
    sum += double(weights[k]) * x[k];
    magnitude += std::abs(double(weights[k]) * x[k]);
  }
  EXPECT_NEAR(program.download<float>(y, 1)[0], sum, (double(kWidth) / 32 + 12) * 0x1p-24 * magnitude);
}

/// Queries, keys and values: blocks are divided between weights of several formats and sizes.
void expectSegments(int64_t columns, const std::string &chip) {
  Matvec matvec = of(896, columns);
  matvec.bias = true;
  MatvecTest test(matvec, {{"q5_0", 37}, {"q8_0", 9}, {"q4_0", 5}, {"q8_0", 1}}, chip);
  EXPECT_EQ(test.matvec.name(), "matvec_q5_0_37_q8_0_9_q4_0_5_q8_0_1_x896_t" + std::to_string(columns) + "_bias");
  auto y = test.run(1);
  ASSERT_EQ(y.size(), 4u);
  test.expectSums(y);
  EXPECT_EQ(y, test.run(2));
}

TEST(GpuSegments, EachHasItsBlocksAndItsResult) {
  expectSegments(1, "sm_80");
  expectSegments(3, "sm_75");
}

TEST_F(OpenCl, MatvecSegmentsHaveTheirBlocksAndResults) { expectSegments(1, "spirv"); }

void expectFloatSegments(const std::string &chip) {
  MatvecTest test(of(104, 2), {{"f32", 5}, {"f16", 9}}, chip);
  test.expectSums(test.run(1));
}

TEST(GpuSegments, MayBeFloats) { expectFloatSegments("sm_80"); }
TEST_F(OpenCl, MatvecSegmentsMayBeFloats) { expectFloatSegments("spirv"); }

/// silu(gate) * up, with an error of its own for each.
void expectGated(const MatvecTest &test, const std::vector<float> &y) {
  TestActivations a = test.activations();
  int64_t rows = test.weights[0].rows;
  for (int64_t t = 0; t < test.tokens; ++t)
    for (int64_t n = 0; n < rows; ++n) {
      auto [g, gMagnitude] = test.expected(a, 0, t, n);
      auto [u, uMagnitude] = test.expected(a, 1, t, n);
      double silu = g / (1 + std::exp(-g)); // has a slope of at most 1.1
      double error = test.tolerance() * (1.1 * gMagnitude * std::abs(u) + uMagnitude * std::abs(silu)) +
                     8 * 0x1p-24 * std::abs(silu * u);
      EXPECT_NEAR(y[t * rows + n], silu * u, error) << "column " << t << ", row " << n;
    }
}

Matvec gated(int64_t width, int64_t columns, RowKind output = RowKind::Float) {
  return {.segments = {}, .width = width, .columns = columns, .swiglu = true, .output = output};
}

/// A gate of one format and values of another.
TEST(GpuSwiglu, AgreesWithDoublePrecision) {
  MatvecTest test(gated(896, 2), {{"q5_0", 9}, {"q8_0", 9}}, "sm_80");
  expectGated(test, test.run(1)[0]);
  MatvecTest floats(gated(96, 1), {{"bf16", 9}, {"bf16", 9}}, "sm_90");
  expectGated(floats, floats.run(2)[0]);
}

TEST_F(OpenCl, MatvecSwigluAgreesWithDoublePrecision) {
  for (bool more : {false, true}) {
    Matvec matvec = gated(896, 1);
    matvec.more = more;
    MatvecTest test(matvec, {{"q5_0", 9}, {"q8_0", 9}}, "spirv");
    expectGated(test, test.run(0)[0]);
  }
}

struct Quantized {
  std::vector<int8_t> codes;
  std::vector<float> scales;
  std::vector<int16_t> sums;
  bool operator==(const Quantized &) const = default;
};

Quantized runQuantized(const MatvecTest &test, uint32_t seed) {
  GpuProgram program(test.compiled().code);
  size_t count = test.matvec.columns * codegen::gpuRowWidth(test.weights[0].rows);
  std::vector<uint64_t> results = {program.upload(std::vector<int8_t>(count, 1)),
                                   program.upload(std::vector<float>(count / 32, 1)),
                                   program.upload(std::vector<int16_t>(count / 16, 1))};
  test.launch(program, results, seed);
  return {program.download<int8_t>(results[0], count), program.download<float>(results[1], count / 32),
          program.download<int16_t>(results[2], count / 16)};
}

/// The bits of the reference's quantization of what the kernel with f32 results makes.
void expectQuantized(const std::string &gate, const std::string &up, Case c) {
  std::vector<std::pair<std::string, int64_t>> formats = {{gate, c.rows}, {up, c.rows}};
  MatvecTest plain(gated(c.width, c.columns), formats, c.chip);
  MatvecTest test(gated(c.width, c.columns, RowKind::Act8), formats, c.chip);
  Quantized got = runQuantized(test, 1);
  EXPECT_EQ(got, runQuantized(test, 2)) << "does not depend on the order of threads";
  TestActivations expected(RowKind::Act8, c.columns, c.rows, plain.run(1)[0]);
  const reference::Act8Rows &rows = expected.quantized;
  int64_t padded = codegen::gpuRowWidth(c.rows);
  EXPECT_EQ(got.codes, expected.padRows<int8_t>(rows.codes, c.rows, padded)) << gate;
  EXPECT_EQ(got.scales, expected.padRows<float>(rows.scales, rows.groups(), padded / 32)) << gate;
  EXPECT_EQ(got.sums, expected.padRows<int16_t>(rows.sums, rows.sumsOfRow(), padded / 16)) << gate;
}

TEST(GpuSwiglu, QuantizesItsResultToTheBit) {
  expectQuantized("q4_K", "q6_K", {"", 96, 256, 1, false, "sm_80"});
  expectQuantized("q8_0", "q8_0", {"", 130, 96, 8, false, "sm_75"});
  expectQuantized("q5_0", "q4_0", {"", 40, 1536, 3, false, "sm_90"});
  expectQuantized("f16", "f16", {"", 33, 64, 2, false, "sm_80"});
}

TEST_F(OpenCl, MatvecSwigluQuantizesItsResultToTheBit) {
  expectQuantized("q4_K", "q6_K", {"", 96, 256, 1, false, "spirv"});
  expectQuantized("f16", "f16", {"", 33, 64, 2, false, "spirv"});
}

void expectRoundedToBfloat(int64_t columns, const std::string &chip) {
  std::vector<std::pair<std::string, int64_t>> formats = {{"bf16", 19}, {"bf16", 19}};
  MatvecTest plain(gated(64, columns), formats, chip);
  MatvecTest test(gated(64, columns, RowKind::BFloat), formats, chip);
  GpuProgram program(test.compiled().code);
  uint64_t result = program.upload(std::vector<uint16_t>(columns * 19));
  test.launch(program, {result}, 1);
  std::vector<uint16_t> expected;
  std::vector<float> numbers = plain.run(1)[0];
  for (float number : numbers)
    expected.push_back(floatToBfloat(number));
  EXPECT_EQ(program.download<uint16_t>(result, expected.size()), expected);
}

TEST(GpuSwiglu, RoundsItsResultToBfloat) {
  expectRoundedToBfloat(1, "sm_80");
  expectRoundedToBfloat(4, "sm_80");
}

TEST_F(OpenCl, MatvecSwigluRoundsItsResultToBfloat) { expectRoundedToBfloat(1, "spirv"); }

} // namespace
} // namespace quern

// Quantized activations and the exact fold against hand-worked values and against the double-precision product.
#include "quern/Reference/ExactFold.h"
#include "TestBlocks.h"

#include <gtest/gtest.h>

#include <cmath>

using namespace quern;
using namespace quern::reference;

static Rows oneRow(std::vector<double> values) {
  Rows rows(1, values.size());
  rows.values = std::move(values);
  return rows;
}

static Rows randomRow(int64_t width, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  Rows rows(1, width);
  for (double &value : rows.values)
    value = normal(random);
  return rows;
}

TEST(Act8, ScalesByTheGreatestAndRoundsHalfToEven) {
  std::vector<double> x(32, 0.0);
  x[0] = -127, x[1] = 0.5, x[2] = 1.5, x[3] = 2.5, x[4] = -2.5, x[16] = 3.4, x[31] = 126.6;
  Act8Rows q = quantize(oneRow(x));
  EXPECT_EQ(q.scales, std::vector<float>{1.0f});
  EXPECT_EQ(q.codes[0], -127);
  EXPECT_EQ(q.codes[1], 0);
  EXPECT_EQ(q.codes[2], 2);
  EXPECT_EQ(q.codes[3], 2);
  EXPECT_EQ(q.codes[4], -2);
  EXPECT_EQ(q.codes[16], 3);
  EXPECT_EQ(q.codes[31], 127);
  EXPECT_EQ(q.sums, (std::vector<int32_t>{-125, 130}));
}

TEST(Act8, MultipliesByTheInverse) {
  // In f32, 1 / d times x and x / d may round to different codes; compiled code multiplies.
  std::vector<double> x(32, 0.0);
  x[0] = 3.0f;
  float d = 3.0f / 127.0f, inverse = 1.0f / d;
  for (int i = 1; i < 32; ++i)
    x[i] = float(i + 0.5f) * d;
  Act8Rows q = quantize(oneRow(x));
  for (int i = 0; i < 32; ++i)
    EXPECT_EQ(q.codes[i], int(std::nearbyint(float(x[i]) * inverse))) << i;
}

TEST(Act8, AGroupOfZerosHasScaleZero) {
  Act8Rows q = quantize(oneRow(std::vector<double>(32, 0.0)));
  EXPECT_EQ(q.scales[0], 0.0f);
  EXPECT_EQ(q.codes, std::vector<int8_t>(32, 0));
}

TEST(Act8, AGroupBelowTheInversesRangeHasCodesZero) {
  std::vector<double> x(32, 0.0);
  x[3] = std::ldexp(1.0, -125);
  Act8Rows q = quantize(oneRow(x));
  EXPECT_GT(q.scales[0], 0.0f);
  EXPECT_EQ(q.codes, std::vector<int8_t>(32, 0));
}

TEST(Act8, TheLastGroupMayBeShort) {
  std::vector<double> x(40, 1.0);
  x[39] = -2.0;
  Act8Rows q = quantize(oneRow(x));
  ASSERT_EQ(q.scales.size(), 2u);
  ASSERT_EQ(q.sums.size(), 3u);
  EXPECT_EQ(q.scales[1], 2.0f / 127.0f);
  EXPECT_EQ(q.codes[39], -127);
  EXPECT_EQ(q.codes[32], 64); // 63.5 half to even
  EXPECT_EQ(q.sums[2], 7 * 64 - 127);
}

TEST(ExactFold, IsTheHandWorkedSum) {
  // Scale 2, minimum 3, codes 0 to 15 twice; x = 1 everywhere but one -127 (d = 1).
  std::vector<uint8_t> block(20);
  putHalf(block, 0, 0x4000);
  putHalf(block, 2, 0x4200);
  for (unsigned i = 0; i < 16; ++i)
    block[4 + i] = uint8_t(i | i << 4);
  std::vector<double> x(32, 1.0);
  x[5] = -127;
  // dot = 2 * 120 - 128 * 5, sum = 32 - 128
  float expected = 2.0f * (240 - 640) + 3.0f * (32 - 128);
  Act8Rows q = quantize(oneRow(x));
  for (MultiplyAdd kind : {MultiplyAdd::Fused, MultiplyAdd::Separate})
    EXPECT_EQ(foldExact(nibblesWithMinimum(), block, q.row(0), kind), expected);
}

TEST(ExactFold, ReadsFactorsSignsAndUnit) {
  // Groups: scale 2 * 0.5 * 3 = 3 with minimum 1, and 2 * 0.5 * -2 = -2 with minimum 0.
  std::vector<uint8_t> block(40);
  putHalf(block, 0, 0x4000);
  block[2] = 0xe3; // 3 and -2
  putHalf(block, 36, 0x3c00);
  block[4] = 0xfb;      // -5, the first of group 0
  block[4 + 31] = 0x07; // the last of group 1
  std::vector<double> x(32, 127.0);
  Act8Rows q = quantize(oneRow(x));
  float expected = 127.0f * (3 * -5 - 16 * 1 - 2 * 7);
  EXPECT_EQ(foldExact(bytesInTwoGroups(), block, q.row(0), MultiplyAdd::Fused), expected);
}

/// The fold in double, with the same weights and quantized activations.
static double foldDouble(const formats::FormatSpec &spec, const std::vector<uint8_t> &blocks, const Act8Rows &x,
                         const std::function<double(size_t)> &weight) {
  double sum = 0;
  Rows rows = dequantize(x);
  for (int64_t k = 0; k < x.width; ++k)
    sum += weight(k) * rows.values[k];
  return sum;
}

TEST(ExactFold, StaysNearTheDoubleFold) {
  constexpr size_t kBlocks = 28;
  std::vector<uint8_t> blocks = randomBlocks(kBlocks, 20, {0, 2}, 1);
  Act8Rows x = quantize(randomRow(32 * kBlocks, 2));
  auto half = [&](size_t at) {
    unsigned bits = blocks[at] | blocks[at + 1] << 8;
    return std::ldexp(1.0 + (bits & 0x3ff) / 1024.0, int(bits >> 10) - 15);
  };
  auto weight = [&](size_t k) {
    size_t block = k / 32 * 20, i = k % 32;
    int code = blocks[block + 4 + i % 16] >> (i / 16 * 4) & 15;
    return half(block) * code + half(block + 2);
  };
  formats::FormatSpec spec = nibblesWithMinimum();
  double expected = foldDouble(spec, blocks, x, weight);
  // Each of the 2 * 28 steps rounds a sum below 2^5 in the worst case: 2^-24 * 2^5 a step, products included twofold.
  double tolerance = 2 * 2 * kBlocks * std::ldexp(1.0, 5 - 24);
  float fused = foldExact(spec, blocks, x.row(0), MultiplyAdd::Fused);
  float separate = foldExact(spec, blocks, x.row(0), MultiplyAdd::Separate);
  EXPECT_NEAR(fused, expected, tolerance);
  EXPECT_NEAR(separate, expected, tolerance);
  EXPECT_NE(fused, separate) << "over 56 steps, rounding products once more should show";
}

TEST(ExactFold, PairsTakeTwoPartialSumsTheOddProductFirst) {
  // 2^24 + 1 is lost in f32 unless the one meets it in another partial sum; k 4 and 5 are of the first again.
  std::vector<float> ones(8, 1.0f);
  EXPECT_EQ(foldExactPairs(std::vector<float>{0x1p24f, 0, 1, 1, 0, 0, 0, 0}, ones), 0x1p24f + 2);
  EXPECT_EQ(foldExactPairs(std::vector<float>{0x1p24f, 0, 0, 0, 1, 1, 0, 0}, ones), 0x1p24f);
  // In one pair: 2^24 - 2^24 + 1 keeps the one, 2^24 + 1 - 2^24 loses it.
  EXPECT_EQ(foldExactPairs(std::vector<float>{0, 0x1p24f, 0, 0, 1, -0x1p24f, 0, 0}, ones), 1.0f);
  EXPECT_EQ(foldExactPairs(std::vector<float>{0, 0x1p24f, 0, 0, -0x1p24f, 1, 0, 0}, ones), 0.0f);
}

TEST(ExactFold, PairsCountSubnormalsAsZero) {
  std::vector<float> one(2, 1.0f), small(2, 0x1p-70f);
  EXPECT_EQ(foldExactPairs(std::vector<float>{0x1p-127f, 0x1p-130f}, std::vector<float>(2, 0x1p20f)), 0.0f);
  EXPECT_EQ(foldExactPairs(std::vector<float>{0x1p-70f, 0}, small), 0.0f);
  EXPECT_EQ(foldExactPairs(std::vector<float>{0x1p-126f, 0}, one), 0x1p-126f);
}

TEST(ExactFold, FloatWeightsTakeFourPartialSums) {
  // 2^24 + 1 is lost in f32 unless the ones meet in a partial sum of their own.
  std::vector<float> w = {16777216.0f, 1, 0, 0, 0, 1, 0, 0}, x(8, 1.0f);
  EXPECT_EQ(foldExact(w, x, MultiplyAdd::Fused), 16777218.0f);
  std::vector<float> together = {16777216.0f, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0}, ones(12, 1.0f);
  EXPECT_EQ(foldExact(together, ones, MultiplyAdd::Fused), 16777216.0f);
}

// The three examples of ONNX's documentation of DynamicQuantizeLinear, a row each.
TEST(Act8, QuantizesRowsAsDynamicQuantizeLinearDoes) {
  struct Example {
    std::vector<double> x;
    float scale;
    int32_t zero;
    std::vector<int> codes;
  };
  const Example examples[] = {
      {{0, 2, -3, -2.5, 1.34, 0.5}, 0.0196078438f, 153, {153, 255, 0, 26, 221, 179}},
      {{-1, -2.1, -1.3, -2.5, -3.34, -4}, 0.0156862754f, 255, {191, 121, 172, 96, 42, 0}},
      {{1, 2.1, 1.3, 2.5, 3.34, 4, 1.5, 2.6, 3.9, 4, 3, 2.345},
       0.0156862754f,
       0,
       {64, 134, 83, 159, 213, 255, 96, 166, 249, 255, 191, 149}},
  };
  for (const Example &example : examples) {
    Act8Rows q = quantizeByRow(oneRow(example.x));
    EXPECT_EQ(q.scales, std::vector<float>{example.scale});
    EXPECT_EQ(q.zeros, std::vector<int32_t>{example.zero - 128});
    Rows wide = dequantize(q);
    for (size_t i = 0; i < example.x.size(); ++i) {
      EXPECT_EQ(q.codes[i], example.codes[i] - 128) << i;
      EXPECT_EQ(wide.values[i], example.scale * float(example.codes[i] - example.zero)) << i;
    }
  }
}

TEST(Act8, ARowOfZerosHasScaleZero) {
  Act8Rows q = quantizeByRow(oneRow(std::vector<double>(40, 0.0)));
  EXPECT_EQ(q.scales, (std::vector<float>{0, 0}));
  EXPECT_EQ(q.zeros, std::vector<int32_t>{-128});
  EXPECT_EQ(q.codes, std::vector<int8_t>(40, -128));
  EXPECT_EQ(q.sums, (std::vector<int32_t>{-2048, -2048, -1024}));
}

// A half lies between two codes; the zero point and a code round to even, each before they are added.
TEST(Act8, RowsRoundHalfToEven) {
  Act8Rows q = quantizeByRow(oneRow({-0.5, 254.5, 0.5, 1.5, 2.5}));
  EXPECT_EQ(q.scales, std::vector<float>{1.0f});
  EXPECT_EQ(q.zeros, std::vector<int32_t>{-128}); // of 0.5
  EXPECT_EQ(q.codes, (std::vector<int8_t>{-128, 126, -128, -126, -126}));
}

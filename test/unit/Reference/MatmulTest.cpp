// Matmuls on block weights, and the graph before and after fusion.
#include "TestBlocks.h"
#include "TestModule.h"

#include "quern/Formats/Decoder.h"
#include "quern/Reference/ExactFold.h"

#include <cmath>
#include <numeric>

using namespace quern;
using namespace quern::reference;

static std::string matrix(int n, int k, const std::string &element) {
  return "tensor<" + std::to_string(n) + "x" + std::to_string(k) + "x" + element + ">";
}

TEST(Dequantize, DecodesQ5_0) {
  TestModule test;
  std::vector<uint8_t> block(22);
  putHalf(block, 0, 0x3800); // 0.5
  block[2] = 0x01;           // fifth bit of weight 0
  block[6] = 0x9f;           // weights 0 (15 + 16) and 16 (9)
  std::string type = matrix(1, 32, "!dq.block<q5_0>");
  test.addWeight("w", type, block);
  Rows out = test.run("func.func @f(%ids: tensor<?xi32>) -> tensor<?x32xf32> {\n%w = dq.weight @w : " + type +
                          "\n%0 = lm.embedding %ids, %w : tensor<?xi32>, " + type +
                          " -> tensor<?x32xf32>\nreturn %0 : tensor<?x32xf32>\n}",
                      {Ids{0}});
  std::vector<double> expected(32, -8.0);
  expected[0] = 7.5, expected[16] = -3.5;
  expectNear(out, expected, 0);
}

/// Activations that quantize without error: integers, with 127 in each group.
static Rows integerRows(int64_t count, int64_t width, unsigned seed) {
  std::mt19937 random(seed);
  Rows rows(count, width);
  for (double &value : rows.values)
    value = int(random() % 255) - 127;
  for (size_t i = 0; i < rows.values.size(); i += 32)
    rows.values[i] = 127;
  return rows;
}

namespace {
/// Two weights of different formats over 64 inputs, and a bias each.
class FusedMatmul : public ::testing::Test {
protected:
  void SetUp() override {
    test.addWeight("w0", type0, randomBlocks(10, 22, {0}, 3));
    test.addWeight("w1", type1, randomBlocks(10, 20, {0, 2}, 4));
    test.addWeight<float>("b0", "tensor<5xf32>", {1, 2, 3, 4, 5});
    test.addWeight<float>("b1", "tensor<5xf32>", {-1, -2, -3, -4, -5});
    head = "func.func @f(%x: tensor<?x64xf32>, %r: tensor<?x5xf32>) -> (tensor<?x5xf32>, tensor<?x5xf32>) {\n"
           "%w0 = dq.weight @w0 : " +
           type0 + "\n%w1 = dq.weight @w1 : " + type1 +
           "\n%b0 = dq.weight @b0 : tensor<5xf32>\n%b1 = dq.weight @b1 : tensor<5xf32>\n";
  }

  /// Runs the graph as imported, and fused; expects the same of both.
  void expectEqual(const std::string &imported, const std::string &fused) {
    std::string linear = "%f0 = dq.dequantize %w0 : " + type0 + " -> tensor<5x64xf32>\n" +
                         "%f1 = dq.dequantize %w1 : " + type1 + " -> tensor<5x64xf32>\n";
    std::string quantize = "%q = dq.quantize %x : tensor<?x64xf32> -> tensor<?x64x!dq.act8<32>>\n";
    std::vector<Evaluator::Argument> arguments = {integerRows(3, 64, 5), makeRows(5, std::vector<double>(15, 0.25))};
    auto before = test.load(head + linear + imported + "}").call("f", arguments);
    auto after = test.load(head + quantize + fused + "}").call("f", arguments);
    ASSERT_TRUE(before) << before.error().message;
    ASSERT_TRUE(after) << after.error().message;
    // Weights of magnitude below 1 round to f32 before fusion: 64 times 127 times 2^-25.
    for (int i = 0; i < 2; ++i)
      expectNear((*after)[i], (*before)[i].values, 64 * 127 * std::ldexp(1.0, -25));
  }

  TestModule test;
  std::string type0 = matrix(5, 64, "!dq.block<q5_0>"), type1 = matrix(5, 64, kNibblesWithMinimum), head;
  std::string linear0 = "%l0 = lm.linear %x, %f0 : tensor<?x64xf32>, tensor<5x64xf32> -> tensor<?x5xf32>\n";
  std::string linear1 = "%l1 = lm.linear %x, %f1 : tensor<?x64xf32>, tensor<5x64xf32> -> tensor<?x5xf32>\n";
  std::string types = " : tensor<?x64x!dq.act8<32>>, [" + type0 + ", " + type1 + "]";
};
} // namespace

TEST_F(FusedMatmul, SegmentsWithBiases) {
  expectEqual(
      "%l0 = lm.linear %x, %f0 bias(%b0 : tensor<5xf32>) : tensor<?x64xf32>, tensor<5x64xf32> -> tensor<?x5xf32>\n"
      "%l1 = lm.linear %x, %f1 bias(%b1 : tensor<5xf32>) : tensor<?x64xf32>, tensor<5x64xf32> -> tensor<?x5xf32>\n"
      "return %l0, %l1 : tensor<?x5xf32>, tensor<?x5xf32>\n",
      "%m:2 = dq.matmul %q, [%w0, %w1] bias(%b0, %b1)" + types +
          ", (tensor<5xf32>, tensor<5xf32>) -> tensor<?x5xf32>, tensor<?x5xf32>\n"
          "return %m#0, %m#1 : tensor<?x5xf32>, tensor<?x5xf32>\n");
}

TEST_F(FusedMatmul, Residual) {
  expectEqual(linear1 + "%s = arith.addf %r, %l1 : tensor<?x5xf32>\nreturn %s, %s : tensor<?x5xf32>, tensor<?x5xf32>\n",
              "%m = dq.matmul %q, [%w1] residual(%r : tensor<?x5xf32>) : tensor<?x64x!dq.act8<32>>, [" + type1 +
                  "] -> tensor<?x5xf32>\nreturn %m, %m : tensor<?x5xf32>, tensor<?x5xf32>\n");
}

TEST_F(FusedMatmul, Swiglu) {
  expectEqual(linear0 + linear1 +
                  "%s = lm.swiglu %l0, %l1 : tensor<?x5xf32> -> tensor<?x5xf32>\n"
                  "return %s, %r : tensor<?x5xf32>, tensor<?x5xf32>\n",
              "%m = dq.matmul swiglu %q, [%w0, %w1]" + types +
                  " -> tensor<?x5xf32>\nreturn %m, %r : tensor<?x5xf32>, tensor<?x5xf32>\n");
}

TEST(Matmul, FoldsGroupsOf16NearTheExactFold) {
  TestModule test;
  std::vector<uint8_t> blocks = randomBlocks(4, 40, {0, 36, 38}, 7);
  std::string type = matrix(2, 64,
                            "!dq.block<#dq.format<bytes, block = 32, bytes = 40, group = 16, "
                            "codes = signed [8 bits at 4 + i], unit = 0.5, scale = f16 at 0 times signed "
                            "[4 bits at 2 shift i * 4], minus = f16 at 36 step 2>>");
  test.addWeight("w", type, blocks);
  Rows x = integerRows(1, 64, 8);
  for (double &value : x.values)
    value *= 0.01;
  Rows out = test.run("func.func @f(%x: tensor<?x64xf32>) -> tensor<?x2xf32> {\n%w = dq.weight @w : " + type +
                          "\n%q = dq.quantize %x : tensor<?x64xf32> -> tensor<?x64x!dq.act8<32>>\n"
                          "%m = dq.matmul %q, [%w] : tensor<?x64x!dq.act8<32>>, [" +
                          type + "] -> tensor<?x2xf32>\nreturn %m : tensor<?x2xf32>\n}",
                      {x});
  Act8Rows q = quantize(x);
  for (int n = 0; n < 2; ++n) {
    std::span<const uint8_t> row(blocks.data() + n * 80, 80);
    // Eight roundings, each of a sum below 64 (|s| < 2^-3, |c| <= 128, |x| <= 1.27, 64 terms of random sign).
    EXPECT_NEAR(out.values[n], foldExact(bytesInTwoGroups(), row, q.row(0), MultiplyAdd::Fused),
                2 * 8 * std::ldexp(1.0, 6 - 24));
  }
}

/// Overwrites the stored numbers of random blocks by moderate ones: f16 and f32 between 2^-6 and 2^-5, e8m0 between
/// 2^-6 and 1.
static void tameScales(const formats::FormatSpec &spec, const formats::Scale &scale, std::vector<uint8_t> &bytes) {
  std::mt19937 random(10);
  for (size_t block = 0; block < bytes.size(); block += spec.bytes)
    for (unsigned group = 0; group < (scale.sub ? 1 : spec.groups()); ++group) {
      size_t at = block + scale.byte + scale.stride * group;
      if (scale.kind == formats::ScaleKind::E8M0)
        bytes[at] = uint8_t(121 + random() % 7);
      else if (scale.kind == formats::ScaleKind::F32) {
        float number = std::ldexp(1.0f + float(random() % 1024) / 1024, -6);
        std::memcpy(&bytes[at], &number, sizeof number);
      } else
        putHalf(bytes, at, uint16_t(0x2400 | (random() & 0x3ff)));
    }
}

/// Random weights of a format, added to the module as "w_<name>"; returns their bytes.
static std::vector<uint8_t> addRandomWeight(TestModule &test, const formats::FormatSpec &spec, int64_t n, int64_t k) {
  std::vector<uint8_t> blocks = randomBlocks(n * k / spec.block, spec.bytes, {}, 12);
  tameScales(spec, spec.scale, blocks);
  if (spec.minimum)
    tameScales(spec, *spec.minimum, blocks);
  test.addWeight("w_" + spec.name, matrix(n, k, "!dq.block<" + spec.name + ">"), blocks);
  return blocks;
}

TEST(Embedding, DecodesEveryFormatAsTheDecoderDoes) {
  TestModule test;
  for (dq::FormatAttr format : test.formats()) {
    const formats::FormatSpec &spec = format.getSpec();
    std::vector<uint8_t> blocks = addRandomWeight(test, spec, 3, 512);
    std::string type = matrix(3, 512, "!dq.block<" + spec.name + ">");
    Rows out = test.run("func.func @f(%ids: tensor<?xi32>) -> tensor<?x512xf32> {\n%w = dq.weight @w_" + spec.name +
                            " : " + type + "\n%0 = lm.embedding %ids, %w : tensor<?xi32>, " + type +
                            " -> tensor<?x512xf32>\nreturn %0 : tensor<?x512xf32>\n}",
                        {Ids{0, 1, 2}});
    std::vector<float> decoded(3 * 512);
    formats::Decoder(spec).decodeRow(blocks.data(), decoded.size(), decoded.data());
    EXPECT_EQ(out.values, std::vector<double>(decoded.begin(), decoded.end())) << spec.name;
  }
}

TEST(Matmul, EveryFormatFoldsNearTheExactFold) {
  constexpr int64_t kWidth = 512, kRows = 4;
  TestModule test;
  std::vector<dq::FormatAttr> formats = test.formats();
  ASSERT_GE(formats.size(), 13u);
  std::mt19937 random(11);
  std::normal_distribution<double> normal;
  Rows x(1, kWidth);
  for (double &value : x.values)
    value = float(normal(random));
  Act8Rows q = quantize(x);
  for (dq::FormatAttr format : formats) {
    const formats::FormatSpec &spec = format.getSpec();
    std::vector<uint8_t> blocks = addRandomWeight(test, spec, kRows, kWidth);
    std::string type = matrix(kRows, kWidth, "!dq.block<" + spec.name + ">"), name = "w_" + spec.name;
    std::string function = "func.func @f(%x: tensor<?x512xf32>) -> tensor<?x4xf32> {\n%w = dq.weight @" + name + " : " +
                           type + "\n%q = dq.quantize %x : tensor<?x512xf32> -> tensor<?x512x!dq.act8<32>>\n" +
                           "%m = dq.matmul %q, [%w] : tensor<?x512x!dq.act8<32>>, [" + type +
                           "] -> tensor<?x4xf32>\nreturn %m : tensor<?x4xf32>\n}";
    Rows inDouble = test.run(function, {x});
    size_t rowBytes = blocks.size() / kRows;
    // At most 64 steps, each with roundings of 2^-24 of sums that stay below 2^14 (q6_K: |w| < 2^7).
    double tolerance = 64 * std::ldexp(1.0, 14 - 24);
    for (MultiplyAdd kind : {MultiplyAdd::Fused, MultiplyAdd::Separate}) {
      Rows exact = test.run(function, {x}, {.precision = Precision::Exact, .multiplyAdd = kind});
      for (int64_t n = 0; n < kRows; ++n) {
        float fold = foldExact(spec, std::span(blocks).subspan(n * rowBytes, rowBytes), q.row(0), kind);
        EXPECT_EQ(exact.values[n], fold) << spec.name << ", row " << n;
        EXPECT_NEAR(inDouble.values[n], fold, tolerance) << spec.name << ", row " << n;
      }
    }
  }
}

TEST(Matmul, FloatWeightsTakeRowsAsTheyAre) {
  TestModule test;
  test.addWeight<uint16_t>("w", "tensor<2x3xf16>", {0x3c00, 0x4000, 0x4200, 0xbc00, 0x0000, 0x3800});
  Rows out = test.run(R"(func.func @f(%x: tensor<?x3xf32>) -> tensor<?x2xf32> {
    %w = dq.weight @w : tensor<2x3xf16>
    %m = dq.matmul %x, [%w] : tensor<?x3xf32>, [tensor<2x3xf16>] -> tensor<?x2xf32>
    return %m : tensor<?x2xf32>
  })",
                      {makeRows(3, {1, 10, 0.1})});
  expectNear(out, {1 + 20 + 0.3, -1 + 0.05});
}

TEST(Quantize, ANormAndAGateQuantizeTheirResult) {
  TestModule test;
  test.addWeight<float>("g", "tensor<32xf32>", std::vector<float>(32, 1.0f));
  std::string tail =
      "%d = dq.dequantize %q : tensor<?x32x!dq.act8<32>> -> tensor<?x32xf32>\nreturn %d : tensor<?x32xf32>\n}";
  std::string head = "func.func @f(%x: tensor<?x32xf32>) -> tensor<?x32xf32> {\n%g = dq.weight @g : tensor<32xf32>\n";
  auto expectSame = [&](const std::string &apart, const std::string &fused) {
    std::string quantize = "%q = dq.quantize %h : tensor<?x32xf32> -> tensor<?x32x!dq.act8<32>>\n";
    Rows x = integerRows(2, 32, 9);
    expectNear(test.run(head + fused + tail, {x}), test.run(head + apart + quantize + tail, {x}).values, 0);
  };
  std::string norm = " = lm.rms_norm %x, %g {eps = 1.0e-6 : f32} : tensor<?x32xf32>, tensor<32xf32> -> ";
  expectSame("%h" + norm + "tensor<?x32xf32>\n", "%q" + norm + "tensor<?x32x!dq.act8<32>>\n");
  std::string gate = " = lm.swiglu %x, %x : tensor<?x32xf32> -> ";
  expectSame("%h" + gate + "tensor<?x32xf32>\n", "%q" + gate + "tensor<?x32x!dq.act8<32>>\n");
}

/// x times the widened weight, in double: what a product of rows with zero points comes to.
TEST(Matmul, RowsWithZeroPointsGiveTheProductOfWhatTheyStandFor) {
  constexpr int64_t kWidth = 512, kRows = 4;
  TestModule test;
  Rows x(3, kWidth);
  std::mt19937 random(11);
  std::normal_distribution<double> normal;
  for (int64_t t = 0; t < x.count; ++t)
    for (double &value : x.row(t))
      value = float(normal(random) + 2 * double(t - 1)); // the greatest part of a row on one side of zero
  Rows wide = dequantize(quantizeByRow(x));
  for (dq::FormatAttr format : test.formats()) {
    const formats::FormatSpec &spec = format.getSpec();
    std::vector<uint8_t> blocks = addRandomWeight(test, spec, kRows, kWidth);
    std::vector<float> decoded(kRows * kWidth);
    formats::Decoder(spec).decodeRow(blocks.data(), kRows * kWidth, decoded.data());
    std::string type = matrix(kRows, kWidth, "!dq.block<" + spec.name + ">");
    std::string function = "func.func @f(%x: tensor<?x512xf32>) -> tensor<?x4xf32> {\n%w = dq.weight @w_" + spec.name +
                           " : " + type + "\n%q = dq.quantize %x : tensor<?x512xf32> -> tensor<?x512x!dq.act8<row>>\n" +
                           "%m = dq.matmul %q, [%w] : tensor<?x512x!dq.act8<row>>, [" + type +
                           "] -> tensor<?x4xf32>\nreturn %m : tensor<?x4xf32>\n}";
    std::vector<double> expected;
    for (int64_t t = 0; t < x.count; ++t)
      for (int64_t n = 0; n < kRows; ++n)
        expected.push_back(
            std::inner_product(wide.row(t).begin(), wide.row(t).end(), decoded.begin() + n * kWidth, 0.0));
    // Numbers below 2^3 that were rounded to f32, times weights below 2^7, 512 of them; then, in f32, some 64 steps as
    // in the test above, of sums below 2^16.
    SCOPED_TRACE(spec.name);
    expectNear(test.run(function, {x}), expected, 512 * std::ldexp(1.0, 3 + 7 - 24));
    expectNear(test.run(function, {x}, {.precision = Precision::Exact}), expected, 64 * std::ldexp(1.0, 16 - 24));
  }
}

// The exact evaluation: near the double one op by op, and equal to itself however rows are batched.
#include "TestModule.h"

#include <cmath>
#include <random>

using namespace quern;
using namespace quern::reference;

static constexpr Options kFused{.precision = Precision::Exact};
static constexpr Options kSeparate{.precision = Precision::Exact, .multiplyAdd = MultiplyAdd::Separate};

static Rows randomRows(int64_t count, int64_t width, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Rows rows(count, width);
  for (double &value : rows.values)
    value = normal(random);
  return rows;
}

/// Expects each value within `tolerance`, relative to the greater of it and `floor`.
static void expectClose(const Rows &rows, const Rows &expected, double tolerance, double floor) {
  ASSERT_EQ(rows.values.size(), expected.values.size());
  for (size_t i = 0; i < rows.values.size(); ++i)
    EXPECT_NEAR(rows.values[i], expected.values[i], tolerance * std::max(floor, std::fabs(expected.values[i]))) << i;
}

TEST(ExactArithmetic, SiluKeepsToAFewLastPlaces) {
  std::string function = R"(func.func @f(%g: tensor<?x1xf32>, %u: tensor<?x1xf32>) -> tensor<?x1xf32> {
    %0 = lm.swiglu %g, %u : tensor<?x1xf32> -> tensor<?x1xf32>
    return %0 : tensor<?x1xf32>
  })";
  std::vector<double> x, ones;
  for (double value = -80; value <= 80; value += 0.37)
    x.push_back(float(value)), ones.push_back(1);
  TestModule test;
  Rows expected = test.run(function, {makeRows(1, x), makeRows(1, ones)});
  // The polynomial is good to about two last places; the sum, the division and the product add half of one each.
  for (const Options &options : {kFused, kSeparate})
    expectClose(test.run(function, {makeRows(1, x), makeRows(1, ones)}, options), expected, 4 * std::ldexp(1.0, -23),
                0);
}

TEST(ExactArithmetic, SiluOfGreatNumbers) {
  TestModule test;
  Rows out = test.run(R"(func.func @f(%g: tensor<?x1xf32>) -> tensor<?x1xf32> {
    %0 = lm.swiglu %g, %g : tensor<?x1xf32> -> tensor<?x1xf32>
    return %0 : tensor<?x1xf32>
  })",
                      {makeRows(1, {1000, -1000})}, kFused);
  EXPECT_EQ(out.values[0], 1e6);
  EXPECT_NEAR(out.values[1], 0, 1e-30);
}

TEST(ExactArithmetic, RotaryAnglesAreRightToALastPlace) {
  std::string function = R"(func.func @f(%p: tensor<?xi32>) -> tensor<?x64xf32> {
    %0 = lm.rotary_angles %p {theta = 1.0e6 : f64} : tensor<?xi32> -> tensor<?x64xf32>
    return %0 : tensor<?x64xf32>
  })";
  TestModule test;
  Ids positions = {0, 1, 2, 3, 100, 4095, 131071, 1048575};
  Rows expected = test.run(function, {positions});
  // Half a last place of f32, and where the value is near zero the error of the reduced angle.
  expectClose(test.run(function, {positions}, kFused), expected, std::ldexp(1.0, -24) * 1.01, 1e-3);
}

TEST(ExactArithmetic, NormAndProductsStayNear) {
  TestModule test;
  test.addWeight<float>("g", "tensor<100xf32>", std::vector<float>(100, 0.75f));
  std::vector<float> weights;
  for (double value : randomRows(7, 100, 1).values)
    weights.push_back(float(value));
  test.addWeight("w", "tensor<7x100xf32>", weights);
  std::string function = R"(func.func @f(%x: tensor<?x100xf32>) -> tensor<?x7xf32> {
    %g = dq.weight @g : tensor<100xf32>
    %w = dq.weight @w : tensor<7x100xf32>
    %0 = lm.rms_norm %x, %g {eps = 1.0e-6 : f32} : tensor<?x100xf32>, tensor<100xf32> -> tensor<?x100xf32>
    %1 = lm.linear %0, %w : tensor<?x100xf32>, tensor<7x100xf32> -> tensor<?x7xf32>
    return %1 : tensor<?x7xf32>
  })";
  Rows x = randomRows(5, 100, 2), expected = test.run(function, {x});
  // 25 steps in each of four sums of about 10, each rounded to 2^-24 of it.
  for (const Options &options : {kFused, kSeparate})
    expectClose(test.run(function, {x}, options), expected, 25 * std::ldexp(1.0, -24), 10);
}

/// Attention over more than one tile of 64 keys.
static constexpr char kAttention[] = R"(
  func.func @f(%q: tensor<?x32xf32>, %k: tensor<?x16xf32>, %v: tensor<?x16xf32>, %p: tensor<?xi32>,
               %c: !lm.cache<layers = 1, kv_heads = 1, head_dim = 16>) -> tensor<?x32xf32> {
    %0 = lm.attention %q, %k, %v at %p in %c {layer = 0, scale = 0.25 : f32}
      : tensor<?x32xf32>, tensor<?x16xf32>, tensor<?xi32>, !lm.cache<layers = 1, kv_heads = 1, head_dim = 16>
    return %0 : tensor<?x32xf32>
  })";

TEST(ExactArithmetic, AttentionOverTilesStaysNear) {
  constexpr int32_t kTokens = 150;
  Rows q = randomRows(kTokens, 32, 3), k = randomRows(kTokens, 16, 4), v = randomRows(kTokens, 16, 5);
  Ids positions(kTokens);
  for (int32_t t = 0; t < kTokens; ++t)
    positions[t] = t;
  TestModule test;
  std::vector<Evaluator::Argument> arguments = {q, k, v, positions, std::monostate()};
  Rows expected = test.run(kAttention, arguments);
  // Scores of about 4 rounded to 2^-24 give weights that much off, and means of values of about 1 as much.
  for (const Options &options : {kFused, kSeparate})
    expectClose(test.run(kAttention, arguments, options), expected, 8 * std::ldexp(1.0, -22), 1);
}

TEST(ExactArithmetic, ResultsDoNotDependOnBatching) {
  constexpr int32_t kTokens = 70;
  Rows q = randomRows(kTokens, 32, 6), k = randomRows(kTokens, 16, 7), v = randomRows(kTokens, 16, 8);
  Ids positions(kTokens);
  for (int32_t t = 0; t < kTokens; ++t)
    positions[t] = t;
  TestModule together, apart;
  Rows all = together.run(kAttention, {q, k, v, positions, std::monostate()}, kFused);
  Evaluator &evaluator = apart.load(kAttention, kFused);
  auto rowOf = [](const Rows &rows, int64_t t) {
    return makeRows(rows.width, {rows.row(t).begin(), rows.row(t).end()});
  };
  for (int32_t t = 0; t < kTokens; ++t) {
    auto one = evaluator.call("f", {rowOf(q, t), rowOf(k, t), rowOf(v, t), Ids{t}, std::monostate()});
    ASSERT_TRUE(one) << one.error().message;
    EXPECT_EQ(one->front().values, rowOf(all, t).values) << t;
  }
}

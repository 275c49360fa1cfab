// Attention and its cache against hand-worked values.
#include "TestModule.h"

#include <cmath>

using namespace quern;
using namespace quern::reference;

/// Two query heads of two elements share one key-value head; scale 0.5.
static constexpr char kAttention[] = R"(
  func.func @f(%q: tensor<?x4xf32>, %k: tensor<?x2xf32>, %v: tensor<?x2xf32>, %p: tensor<?xi32>,
               %c: !lm.cache<layers = 1, kv_heads = 1, head_dim = 2>) -> tensor<?x4xf32> {
    %0 = lm.attention %q, %k, %v at %p in %c {layer = 0, scale = 0.5 : f32}
      : tensor<?x4xf32>, tensor<?x2xf32>, tensor<?xi32>, !lm.cache<layers = 1, kv_heads = 1, head_dim = 2>
    return %0 : tensor<?x4xf32>
  })";

static Result<std::vector<Rows>> attend(Evaluator &evaluator, std::vector<double> q, std::vector<double> k,
                                        std::vector<double> v, Ids positions) {
  return evaluator.call("f", {makeRows(4, q), makeRows(2, k), makeRows(2, v), positions, std::monostate()});
}

TEST(Attention, WeighsValuesBySoftmax) {
  TestModule test;
  Evaluator &evaluator = test.load(kAttention);
  auto first = attend(evaluator, {7, 7, 7, 7}, {1, 0}, {3, 5}, {0});
  ASSERT_TRUE(first);
  expectNear(first->front(), {3, 5, 3, 5});
  // Scores 0.5 * (2 * 1), 0.5 * (2 * 3) for head 0; 0.5 * (4 * 0), 0.5 * (4 * -1) for head 1.
  auto second = attend(evaluator, {2, 0, 0, 4}, {3, -1}, {-1, 1}, {1});
  ASSERT_TRUE(second);
  double a = 1 / (1 + std::exp(2)), b = 1 / (1 + std::exp(-2));
  expectNear(second->front(), {3 * a - (1 - a), 5 * a + (1 - a), 3 * b - (1 - b), 5 * b + (1 - b)});
}

TEST(Attention, IsCausalWithinAStep) {
  TestModule test;
  auto out = attend(test.load(kAttention), {2, 0, 0, 4, 2, 0, 0, 4}, {1, 0, 3, -1}, {3, 5, -1, 1}, {0, 1});
  ASSERT_TRUE(out);
  double a = 1 / (1 + std::exp(2)), b = 1 / (1 + std::exp(-2));
  expectNear(out->front(), {3, 5, 3, 5, 3 * a - (1 - a), 5 * a + (1 - a), 3 * b - (1 - b), 5 * b + (1 - b)});
}

TEST(Attention, RefusesAGap) {
  TestModule test;
  Evaluator &evaluator = test.load(kAttention);
  auto out = attend(evaluator, {1, 1, 1, 1}, {1, 0}, {3, 5}, {1});
  ASSERT_FALSE(out);
  EXPECT_NE(out.error().message.find("row 0 has position 1, but the next position of the cache is 0"),
            std::string::npos);
  EXPECT_TRUE(attend(evaluator, {1, 1, 1, 1}, {1, 0}, {3, 5}, {0}));
  EXPECT_FALSE(attend(evaluator, {1, 1, 1, 1}, {1, 0}, {3, 5}, {0}));
  evaluator.clearCache();
  EXPECT_TRUE(attend(evaluator, {1, 1, 1, 1}, {1, 0}, {3, 5}, {0}));
}

TEST(Attention, RoundsTheCacheToF16UnlessToldNotTo) {
  double v = 1.0 + std::ldexp(1.0, -11) + std::ldexp(1.0, -20), tie = 1.0 + 3 * std::ldexp(1.0, -11);
  std::vector<double> stored;
  for (CachePrecision cache : {CachePrecision::F16, CachePrecision::Unrounded}) {
    TestModule test;
    auto out = attend(test.load(kAttention, {.cache = cache}), {1, 1, 1, 1}, {1, 0}, {v, tie}, {0});
    ASSERT_TRUE(out);
    stored.insert(stored.end(), out->front().values.begin(), out->front().values.begin() + 2);
  }
  EXPECT_EQ(stored, (std::vector<double>{1 + std::ldexp(1.0, -10), 1 + std::ldexp(1.0, -9), v, tie}));
}

TEST(Attention, HalvesOverflowAndUnderflow) {
  TestModule test;
  double tiny = std::ldexp(1.0, -24);
  auto out = attend(test.load(kAttention), {0, 0, 0, 0}, {0, 0}, {1.5 * tiny, 65519}, {0});
  ASSERT_TRUE(out);
  expectNear(out->front(), {2 * tiny, 65504, 2 * tiny, 65504}, 0);
}

/// Two elements are one group: scales 2 / 127 and 1 / 127 as f16, codes 127 and 64 (of 63.5), and -127 and 0.
TEST(Attention, KeepsTheCacheInBytesWhereTold) {
  TestModule test;
  auto out = attend(test.load(kAttention, {.cache = CachePrecision::Q8_0}), {0, 0, 0, 0}, {1, 0}, {2, 1}, {0});
  ASSERT_TRUE(out);
  double scale = std::ldexp(std::nearbyint(std::ldexp(2.0 / 127, 16)), -16); // 2 / 127 lies between 2^-6 and 2^-5
  expectNear(out->front(), {127 * scale, 64 * scale, 127 * scale, 64 * scale}, 0);
}

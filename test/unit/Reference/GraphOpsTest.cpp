// Each op of the graph dialect against hand-worked values.
#include "TestModule.h"

#include <cmath>

using namespace quern;
using namespace quern::reference;

TEST(Embedding, LooksUpF16AndBF16) {
  TestModule test;
  test.addWeight<uint16_t>("half", "tensor<2x2xf16>", {0x3c00, 0xc000, 0x0001, 0x7bff});   // 1, -2, 2^-24, 65504
  test.addWeight<uint16_t>("brain", "tensor<2x2xbf16>", {0x3f80, 0xc000, 0x4049, 0x0000}); // 1, -2, 3.140625, 0
  auto lookUp = [&](const std::string &name, const std::string &type) {
    return test.run("func.func @f(%ids: tensor<?xi32>) -> tensor<?x2xf32> {\n %w = dq.weight @" + name + " : " + type +
                        "\n %0 = lm.embedding %ids, %w : tensor<?xi32>, " + type +
                        " -> tensor<?x2xf32>\n return %0 : tensor<?x2xf32>\n}",
                    {Ids{1, 0, 1}});
  };
  double tiny = std::ldexp(1.0, -24);
  expectNear(lookUp("half", "tensor<2x2xf16>"), {tiny, 65504, 1, -2, tiny, 65504}, 0);
  expectNear(lookUp("brain", "tensor<2x2xbf16>"), {3.140625, 0, 1, -2, 3.140625, 0}, 0);
}

TEST(Embedding, RefusesAnIdOutsideTheTable) {
  TestModule test;
  test.addWeight<float>("w", "tensor<2x1xf32>", {1, 2});
  Evaluator &evaluator = test.load(R"(func.func @f(%ids: tensor<?xi32>) -> tensor<?x1xf32> {
    %w = dq.weight @w : tensor<2x1xf32>
    %0 = lm.embedding %ids, %w : tensor<?xi32>, tensor<2x1xf32> -> tensor<?x1xf32>
    return %0 : tensor<?x1xf32>
  })");
  auto result = evaluator.call("f", {Ids{2}});
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message.find("token id 2 is outside the table of 2 rows"), std::string::npos);
  EXPECT_FALSE(evaluator.call("f", {Ids{-1}}));
}

TEST(Linear, MultipliesByTheTransposeAndAddsTheBias) {
  TestModule test;
  test.addWeight<float>("w", "tensor<3x2xf32>", {1, 2, 3, 4, -5, 0.5});
  test.addWeight<float>("b", "tensor<3xf32>", {10, 20, 30});
  Rows out = test.run(R"(func.func @f(%x: tensor<?x2xf32>) -> tensor<?x3xf32> {
    %w = dq.weight @w : tensor<3x2xf32>
    %b = dq.weight @b : tensor<3xf32>
    %0 = lm.linear %x, %w bias(%b : tensor<3xf32>) : tensor<?x2xf32>, tensor<3x2xf32> -> tensor<?x3xf32>
    return %0 : tensor<?x3xf32>
  })",
                      {makeRows(2, {1, 10, 2, 0})});
  expectNear(out, {1 + 20 + 10, 3 + 40 + 20, -5 + 5 + 30, 2 + 10, 6 + 20, -10 + 30});
}

TEST(RmsNorm, DividesByTheRootMeanSquare) {
  TestModule test;
  test.addWeight<float>("g", "tensor<2xf32>", {1, 2});
  Rows out = test.run(R"(func.func @f(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
    %g = dq.weight @g : tensor<2xf32>
    %0 = lm.rms_norm %x, %g {eps = 0.5 : f32} : tensor<?x2xf32>, tensor<2xf32> -> tensor<?x2xf32>
    return %0 : tensor<?x2xf32>
  })",
                      {makeRows(2, {3, 4, 0, 0})});
  expectNear(out, {3 / std::sqrt(13), 8 / std::sqrt(13), 0, 0});
}

static Rows rotate(const std::string &style, const std::vector<double> &x, Ids positions) {
  TestModule test;
  return test.run("func.func @f(%x: tensor<?x4xf32>, %p: tensor<?xi32>) -> tensor<?x4xf32> {\n"
                  "%a = lm.rotary_angles %p {theta = 100.0 : f64} : tensor<?xi32> -> tensor<?x4xf32>\n"
                  "%0 = lm.rotary " +
                      style +
                      " %x, %a : tensor<?x4xf32>, tensor<?x4xf32>\n"
                      "return %0 : tensor<?x4xf32>\n}",
                  {makeRows(4, x), positions});
}

TEST(Rotary, TurnsPairsByPositionAndFrequency) {
  // Frequencies 1 and 100^(-2/4) = 0.1. The pairs are (1, 3), (2, 4) in halves; (1, 2), (3, 4) interleaved.
  double c = std::cos(2), s = std::sin(2), d = std::cos(0.2), t = std::sin(0.2);
  expectNear(rotate("half", {1, 2, 3, 4}, {2}), {c - 3 * s, 2 * d - 4 * t, 3 * c + s, 4 * d + 2 * t});
  expectNear(rotate("interleaved", {1, 2, 3, 4}, {2}), {c - 2 * s, 2 * c + s, 3 * d - 4 * t, 4 * d + 3 * t});
  expectNear(rotate("half", {1, 2, 3, 4}, {0}), {1, 2, 3, 4});
}

TEST(RotaryAngles, DividesFrequenciesByFactors) {
  TestModule test;
  test.addWeight<float>("factors", "tensor<2xf32>", {1, 4});
  Rows out = test.run(R"(func.func @f(%p: tensor<?xi32>) -> tensor<?x4xf32> {
    %f = dq.weight @factors : tensor<2xf32>
    %0 = lm.rotary_angles %p factors(%f : tensor<2xf32>) {theta = 100.0 : f64} : tensor<?xi32> -> tensor<?x4xf32>
    return %0 : tensor<?x4xf32>
  })",
                      {Ids{131071}});
  double slow = 131071 * 0.1 / 4;
  expectNear(out, {std::cos(131071.0), std::cos(slow), std::sin(131071.0), std::sin(slow)}, 1e-9);
}

TEST(Swiglu, IsSiluTimesUp) {
  TestModule test;
  Rows out = test.run(R"(func.func @f(%g: tensor<?x2xf32>, %u: tensor<?x2xf32>) -> tensor<?x2xf32> {
    %0 = lm.swiglu %g, %u : tensor<?x2xf32> -> tensor<?x2xf32>
    return %0 : tensor<?x2xf32>
  })",
                      {makeRows(2, {0, 1}), makeRows(2, {5, 2})});
  expectNear(out, {0, 2 / (1 + std::exp(-1))});
}

TEST(GatherRowsAndAdd, TakeRowsAndAddThem) {
  TestModule test;
  std::string function = R"(func.func @f(%x: tensor<?x2xf32>, %r: tensor<?xi32>) -> tensor<?x2xf32> {
    %0 = lm.gather_rows %x, %r : tensor<?x2xf32>, tensor<?xi32> -> tensor<?x2xf32>
    %1 = arith.addf %0, %0 : tensor<?x2xf32>
    return %1 : tensor<?x2xf32>
  })";
  expectNear(test.run(function, {makeRows(2, {1, 2, 3, 4, 5, 6}), Ids{2, 0}}), {10, 12, 2, 4});
  EXPECT_FALSE(test.load(function).call("f", {makeRows(2, {1, 2}), Ids{1}}));
}

TEST(Evaluator, RefusesWhatItDoesNotKnow) {
  TestModule test;
  Evaluator &evaluator = test.load(R"(func.func @f(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
    %0 = arith.mulf %x, %x : tensor<?x2xf32>
    return %0 : tensor<?x2xf32>
  })");
  auto result = evaluator.call("f", {makeRows(2, {1, 2})});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message.rfind("arith.mulf at ", 0), 0u) << result.error().message;
  EXPECT_FALSE(evaluator.call("g", {}));
  EXPECT_FALSE(evaluator.call("f", {}));
  EXPECT_FALSE(evaluator.call("f", {makeRows(3, {1, 2, 3})}));
  EXPECT_FALSE(evaluator.step({}, {}, {}));
}

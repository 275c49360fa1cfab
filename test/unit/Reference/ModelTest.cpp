// A tiny random model of two layers: feeding tokens one by one equals feeding them all at once, and the quantize phase
// keeps what the model computes.
#include "TestBlocks.h"
#include "TestModule.h"
#include "quern/Pipelines/Phases.h"

#include <cmath>

using namespace quern;
using namespace quern::reference;

namespace {

/// H 64, two query heads on one key-value head of 32, F 96, V 10; matrices in q5_0 or f32.
class TinyModel {
public:
  explicit TinyModel(bool quantized = true) : quantized(quantized) {
    addMatrix("embedding", 10, 64);
    step = "func.func @step(%ids: tensor<?xi32> {lm.name = \"token_ids\", lm.size = \"tokens\"},\n"
           "  %positions: tensor<?xi32> {lm.name = \"positions\", lm.size = \"tokens\"},\n"
           "  %cache: !lm.cache<layers = 2, kv_heads = 1, head_dim = 32> {lm.name = \"caches\"},\n"
           "  %rows: tensor<?xi32> {lm.name = \"output_rows\", lm.size = \"outputs\"}) -> tensor<?x10xf32> {\n"
           "%table = dq.weight @embedding : " +
           matrix(10, 64) +
           "\n"
           "%x0 = lm.embedding %ids, %table : tensor<?xi32>, " +
           matrix(10, 64) +
           " -> tensor<?x64xf32>\n"
           "%angles = lm.rotary_angles %positions {theta = 1.0e4 : f64} : tensor<?xi32> -> tensor<?x32xf32>\n";
    addLayer("0", "%x0", "%x1");
    addLayer("1", "%x1", "%x2");
    norm("final", "%x2", "%h");
    step += "%last = lm.gather_rows %h, %rows : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>\n";
    step += "%logits = lm.linear %last, %table : tensor<?x64xf32>, " + matrix(10, 64) +
            " -> tensor<?x10xf32>\n"
            "return %logits : tensor<?x10xf32>\n}";
  }

  Evaluator &load() { return test.load(step); }
  Evaluator &loadQuantized(Options options = {}) { return test.load(step, options, pipelines::buildQuantizePipeline); }

private:
  static std::string rows(int width) { return "tensor<?x" + std::to_string(width) + "xf32>"; }
  std::string matrix(int n, int k) {
    return "tensor<" + std::to_string(n) + "x" + std::to_string(k) + (quantized ? "x!dq.block<q5_0>>" : "xf32>");
  }
  void addMatrix(const std::string &name, int n, int k) {
    if (quantized)
      return test.addWeight(name, matrix(n, k), randomBlocks(n * k / 32, 22, {0}, ++seed));
    std::mt19937 random(++seed);
    std::normal_distribution<float> normal(0, 0.2f);
    std::vector<float> weights(n * k);
    for (float &weight : weights)
      weight = normal(random);
    test.addWeight(name, matrix(n, k), weights);
  }
  void linear(const std::string &name, int n, int k, const std::string &x, const std::string &out) {
    addMatrix(name, n, k);
    step += "%w_" + name + " = dq.weight @" + name + " : " + matrix(n, k) + "\n" + out + " = lm.linear " + x + ", %w_" +
            name + " : " + rows(k) + ", " + matrix(n, k) + " -> " + rows(n) + "\n";
  }
  void norm(const std::string &name, const std::string &x, const std::string &out) {
    test.addWeight(name, "tensor<64xf32>", std::vector<float>(64, 1.0f));
    step += "%w_" + name + " = dq.weight @" + name + " : tensor<64xf32>\n" + out + " = lm.rms_norm " + x + ", %w_" +
            name + " {eps = 1.0e-6 : f32} : tensor<?x64xf32>, tensor<64xf32> -> tensor<?x64xf32>\n";
  }
  void addLayer(const std::string &l, const std::string &x, const std::string &out) {
    norm("norm" + l, x, "%h" + l);
    linear("q" + l, 64, 64, "%h" + l, "%q" + l);
    linear("k" + l, 32, 64, "%h" + l, "%k" + l);
    linear("v" + l, 32, 64, "%h" + l, "%v" + l);
    step += "%qr" + l + " = lm.rotary half %q" + l + ", %angles : tensor<?x64xf32>, tensor<?x32xf32>\n";
    step += "%kr" + l + " = lm.rotary half %k" + l + ", %angles : tensor<?x32xf32>, tensor<?x32xf32>\n";
    step += "%o" + l + " = lm.attention %qr" + l + ", %kr" + l + ", %v" + l + " at %positions in %cache {layer = " + l +
            ", scale = 0.17 : f32} : tensor<?x64xf32>, tensor<?x32xf32>, tensor<?xi32>, "
            "!lm.cache<layers = 2, kv_heads = 1, head_dim = 32>\n";
    linear("out" + l, 64, 64, "%o" + l, "%p" + l);
    step += "%a" + l + " = arith.addf " + x + ", %p" + l + " : tensor<?x64xf32>\n";
    norm("mlp_norm" + l, "%a" + l, "%m" + l);
    linear("gate" + l, 96, 64, "%m" + l, "%g" + l);
    linear("up" + l, 96, 64, "%m" + l, "%u" + l);
    step += "%s" + l + " = lm.swiglu %g" + l + ", %u" + l + " : tensor<?x96xf32> -> tensor<?x96xf32>\n";
    linear("down" + l, 64, 96, "%s" + l, "%d" + l);
    step += out + " = arith.addf %a" + l + ", %d" + l + " : tensor<?x64xf32>\n";
  }

  TestModule test;
  bool quantized;
  std::string step;
  unsigned seed = 0;
};

} // namespace

TEST(Model, OneByOneEqualsAllAtOnce) {
  TinyModel model;
  Evaluator &evaluator = model.load();
  Ids tokens = {3, 1, 4, 1, 5, 9, 2, 6}, positions = {0, 1, 2, 3, 4, 5, 6, 7};
  auto all = evaluator.step(tokens, positions, positions);
  ASSERT_TRUE(all) << all.error().message;
  ASSERT_EQ(all->count, 8);
  ASSERT_EQ(all->width, 10);
  evaluator.clearCache();
  for (int32_t t = 0; t < 8; ++t) {
    auto one = evaluator.step({tokens[t]}, {t}, {0});
    ASSERT_TRUE(one) << one.error().message;
    for (int i = 0; i < 10; ++i)
      EXPECT_EQ(one->values[i], all->row(t)[i]) << "token " << t << ", logit " << i;
  }
}

TEST(Model, LogitsDependOnEarlierTokensAndPositions) {
  TinyModel model;
  Evaluator &evaluator = model.load();
  auto a = evaluator.step({3, 1, 4}, {0, 1, 2}, {2});
  evaluator.clearCache();
  auto b = evaluator.step({1, 3, 4}, {0, 1, 2}, {2});
  ASSERT_TRUE(a && b);
  EXPECT_NE(a->values, b->values);
}

TEST(Model, TheQuantizePhaseKeepsAFloatModel) {
  TinyModel model(/*quantized=*/false);
  Ids tokens = {3, 1, 4, 1, 5}, positions = {0, 1, 2, 3, 4};
  auto before = model.load().step(tokens, positions, positions);
  auto after = model.loadQuantized().step(tokens, positions, positions);
  ASSERT_TRUE(before) << before.error().message;
  ASSERT_TRUE(after) << after.error().message;
  EXPECT_EQ(after->values, before->values);
}

TEST(Model, TheQuantizePhaseRoundsActivationsOnly) {
  TinyModel model;
  Ids tokens = {3, 1, 4, 1, 5}, positions = {0, 1, 2, 3, 4};
  auto before = model.load().step(tokens, positions, positions);
  auto after = model.loadQuantized().step(tokens, positions, positions);
  ASSERT_TRUE(before && after);
  double error = 0, size = 0;
  for (size_t i = 0; i < before->values.size(); ++i) {
    error += std::pow(after->values[i] - before->values[i], 2);
    size += std::pow(before->values[i], 2);
  }
  // A rounding is 1/254 of a group's greatest at most, some 0.5 % of the rows' size as they are; a few add up.
  EXPECT_GT(error, 0);
  EXPECT_LT(std::sqrt(error / size), 0.05) << std::sqrt(error / size);
}

TEST(Model, InDoubleOnExactCodesStaysNearTheExactEvaluation) {
  TinyModel model;
  Ids tokens = {3, 1, 4, 1, 5, 9, 2, 6}, positions = {0, 1, 2, 3, 4, 5, 6, 7};
  for (MultiplyAdd kind : {MultiplyAdd::Fused, MultiplyAdd::Separate}) {
    auto exact =
        model.loadQuantized({.precision = Precision::Exact, .multiplyAdd = kind}).step(tokens, positions, positions);
    auto inDouble = model.loadQuantized({.precision = Precision::DoubleOnExactCodes, .multiplyAdd = kind})
                        .step(tokens, positions, positions);
    ASSERT_TRUE(exact && inDouble);
    double greatest = 0;
    for (double value : inDouble->values)
      greatest = std::max(greatest, std::fabs(value));
    // No code differs, so what is left is the rounding of some dozens of f32 sums; one code more or less would show
    // as about 1e-3.
    for (size_t i = 0; i < exact->values.size(); ++i)
      EXPECT_NEAR(exact->values[i], inDouble->values[i], 1e-5 * greatest) << i;
  }
}

TEST(Model, TheExactEvaluationOneByOneEqualsAllAtOnce) {
  TinyModel model;
  Evaluator &evaluator = model.loadQuantized({.precision = Precision::Exact});
  Ids tokens = {3, 1, 4, 1, 5, 9, 2, 6}, positions = {0, 1, 2, 3, 4, 5, 6, 7};
  auto all = evaluator.step(tokens, positions, positions);
  ASSERT_TRUE(all);
  evaluator.clearCache();
  for (int32_t t = 0; t < 8; ++t) {
    auto one = evaluator.step({tokens[t]}, {t}, {0});
    ASSERT_TRUE(one);
    EXPECT_TRUE(std::equal(one->values.begin(), one->values.end(), all->row(t).begin())) << "token " << t;
  }
}

// The evaluator that the recogniser of language models runs samples through: what hostile graphs may not make it do.
#include "TestOnnx.h"
#include "lib/Import/Onnx/LanguageModel/Evaluator.h"
#include "lib/Import/Onnx/LanguageModel/ImportedGraph.h"

#include <cmath>
#include <gtest/gtest.h>

using namespace quern;
using namespace quern::import;
using namespace quern::import::language;
using quern::import::test::OnnxModel;

namespace {

/// The value of "y", or the error, where inputs have these values.
Result<Array> evaluate(const OnnxModel &model, std::map<std::string, Array> values) {
  QUERN_ASSIGN(OnnxFile file, model.read());
  QUERN_ASSIGN(auto imported, ImportedGraph::make(std::make_shared<OnnxFile>(std::move(file))));
  Surroundings around;
  Evaluator evaluator(imported->graph(), around, std::move(values));
  QUERN_ASSIGN(const Array *found, evaluator.get("y"));
  return *found;
}

void set(OnnxModel &model, const char *name, std::vector<int64_t> integers) {
  onnx::AttributeProto *attribute = model.graph->mutable_node(0)->add_attribute();
  attribute->set_name(name);
  attribute->set_type(integers.size() == 1 ? onnx::AttributeProto::INT : onnx::AttributeProto::INTS);
  if (integers.size() == 1)
    attribute->set_i(integers[0]);
  else
    for (int64_t value : integers)
      attribute->add_ints(value);
}

Array filled(std::vector<int64_t> shape, double value) {
  Array array = *Array::zeros(std::move(shape));
  std::fill(array.data.begin(), array.data.end(), value);
  return array;
}

TEST(OnnxEvaluator, AnAxisIsPermutedOnce) {
  OnnxModel model;
  model.input("x", {2, 2}).node("Transpose", {"x"}, {"y"}).output("y", {2, 2});
  set(model, "perm", {0, 0});
  auto made = evaluate(model, {{"x", filled({2, 2}, 1)}});
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().message.find("permutes an axis twice"), std::string::npos) << made.error().message;
}

TEST(OnnxEvaluator, AnAxisOfZeroHidesNoGreatOnes) {
  EXPECT_TRUE(Array::zeros({0, 7}));
  EXPECT_FALSE(Array::zeros({int64_t(1) << 40, 0}));
  EXPECT_FALSE(Array::zeros({0, int64_t(1) << 62, 4}));
}

TEST(OnnxEvaluator, KeysOfOtherSequencesThanTheQueriesAreRefused) {
  OnnxModel model;
  model.input("q", {1, 1, 4}).input("k", {9, 1, 4}).input("v", {9, 1, 4}).input("lengths", {1, 1}).input("c", {8, 2});
  model.node("GroupQueryAttention", {"q", "k", "v", "", "", "lengths", "", "c", "c"}, {"y", "pk", "pv"});
  model.output("y", {1, 1, 4});
  model.graph->mutable_node(0)->set_domain("com.microsoft");
  onnx::OperatorSetIdProto *set1 = model.message.add_opset_import();
  set1->set_domain("com.microsoft");
  set1->set_version(1);
  for (auto [name, value] : {std::pair("num_heads", 1), std::pair("kv_num_heads", 1), std::pair("do_rotary", 1)})
    set(model, name, {value});
  Array lengths = filled({1, 1}, 0);
  lengths.integer = true;
  auto with = [&](int64_t batch) {
    return evaluate(model, {{"q", filled({1, 1, 4}, 1)}, {"k", filled({batch, 1, 4}, 1)},
                            {"v", filled({batch, 1, 4}, 3)}, {"lengths", lengths}, {"c", filled({8, 2}, 1)}});
  };
  auto made = with(1);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->data, std::vector<double>(4, 3.0));
  auto wrong = with(9);
  ASSERT_FALSE(wrong);
  EXPECT_NE(wrong.error().message.find("another number of sequences"), std::string::npos) << wrong.error().message;
}

TEST(OnnxEvaluator, ANormThatSkipsHasADefaultOfItsOwn) {
  OnnxModel model;
  model.input("x", {1, 1, 2}).input("s", {1, 1, 2}).output("y", {1, 1, 2});
  model.node("SkipSimplifiedLayerNormalization", {"x", "s", "w"}, {"y"});
  model.graph->mutable_node(0)->set_domain("com.microsoft");
  onnx::OperatorSetIdProto *imported = model.message.add_opset_import();
  imported->set_domain("com.microsoft");
  imported->set_version(1);
  onnx::TensorProto *weight = model.initializer("w", {2});
  weight->add_float_data(1);
  weight->add_float_data(1);
  auto made = evaluate(model, {{"x", filled({1, 1, 2}, 1e-6)}, {"s", filled({1, 1, 2}, 0)}});
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_NEAR(made->data[0], std::sqrt(0.5), 1e-6); // the square of the elements is as large as epsilon
}

} // namespace

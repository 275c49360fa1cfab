// Changed graphs of the models in test/models/onnx: what of them is still recognised, and as what.
#include "lib/Import/Onnx/LanguageModel/ImportedGraph.h"
#include "lib/Import/Onnx/LanguageModel/LanguageModel.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <gtest/gtest.h>
#include <limits>
#include <set>

using namespace quern;
using namespace quern::import;
using namespace quern::import::language;

namespace {

onnx::ModelProto modelOf(const std::string &name) {
  onnx::ModelProto model;
  std::ifstream file(QUERN_SOURCE_DIR "/test/models/onnx/" + name + ".onnx", std::ios::binary);
  EXPECT_TRUE(file) << name;
  EXPECT_TRUE(model.ParseFromIstream(&file)) << name;
  return model;
}

Result<LanguageModel> recogniseMessage(const onnx::ModelProto &model) {
  std::string bytes = model.SerializeAsString();
  QUERN_ASSIGN(OnnxFile file, OnnxFile::fromBytes(std::as_bytes(std::span(bytes)), "m.onnx"));
  QUERN_ASSIGN(auto imported, ImportedGraph::make(std::make_shared<OnnxFile>(std::move(file))));
  return recognise(imported->graph());
}

/// The attention of this model's layers is the same graph, so that the roles in one are taken over from the other.
onnx::TensorProto &headNorm(onnx::ModelProto &model, int layer, char which) {
  std::string name = "model.layers." + std::to_string(layer) + ".attn." + which + "_norm.layernorm.weight";
  for (onnx::TensorProto &tensor : *model.mutable_graph()->mutable_initializer())
    if (tensor.name() == name)
      return tensor;
  ADD_FAILURE() << "no tensor " << name;
  return *model.mutable_graph()->add_initializer();
}

std::vector<float> fill(onnx::TensorProto &tensor, float first) {
  std::vector<float> values(static_cast<size_t>(tensor.dims(0)));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = first + float(i) / 64;
  tensor.set_raw_data(values.data(), values.size() * sizeof(float));
  return values;
}

TEST(OnnxLanguageModel, NormsOfHeadsAreAsWideAsHeadsInEveryLayer) {
  onnx::ModelProto narrow = modelOf("builder-qwen3");
  headNorm(narrow, 0, 'q').set_dims(0, 2);
  headNorm(narrow, 0, 'q').mutable_raw_data()->resize(2 * sizeof(float));
  onnx::ModelProto integer = modelOf("builder-qwen3");
  headNorm(integer, 0, 'q').set_data_type(onnx::TensorProto::INT32);
  for (const onnx::ModelProto &model : {narrow, integer}) {
    auto found = recogniseMessage(model);
    ASSERT_FALSE(found);
    EXPECT_NE(found.error().message.find("should be the last product of causal grouped-query attention"),
              std::string::npos)
        << found.error().message;
  }
}

/// Equal weights in the layer that is looked at first, the last, do not tell which of the norms is the query's.
TEST(OnnxLanguageModel, EqualNormsInOneLayerMayDifferInAnother) {
  for (auto [query, key] : {std::pair(0.5f, 1.0f), std::pair(1.0f, 0.5f)}) {
    onnx::ModelProto model = modelOf("builder-qwen3");
    for (char which : {'q', 'k'})
      fill(headNorm(model, 1, which), 0.5f);
    std::vector<float> queries = fill(headNorm(model, 0, 'q'), query), keys = fill(headNorm(model, 0, 'k'), key);
    auto found = recogniseMessage(model);
    ASSERT_TRUE(found) << found.error().message;
    EXPECT_EQ(found->layers[0].queryNorm, queries);
    EXPECT_EQ(found->layers[0].keyNorm, keys);
    EXPECT_EQ(found->layers[1].queryNorm, found->layers[1].keyNorm);
  }
}

/// The whole steps reach position 38; a token farther on is asked for as far as there are cosines.
TEST(OnnxLanguageModel, TablesOfCosinesMayBeShort) {
  for (int64_t rows : {38, 39, 64}) {
    onnx::ModelProto model = modelOf("builder-qwen3");
    int tables = 0;
    for (onnx::TensorProto &tensor : *model.mutable_graph()->mutable_initializer())
      if (tensor.name() == "cos_cache" || tensor.name() == "sin_cache") {
        ASSERT_GE(tensor.dims(0), rows);
        tensor.mutable_raw_data()->resize(tensor.raw_data().size() / size_t(tensor.dims(0)) * size_t(rows));
        tensor.set_dims(0, rows);
        ++tables;
      }
    EXPECT_EQ(tables, 2);
    auto found = recogniseMessage(model);
    ASSERT_EQ(found.has_value(), rows > 38) << rows << (found ? "" : found.error().message);
  }
}

onnx::NodeProto node(const std::string &op, std::vector<std::string> inputs, const std::string &output) {
  onnx::NodeProto made;
  made.set_op_type(op);
  made.set_name("the_" + output);
  for (const std::string &name : inputs)
    made.add_input(name);
  made.add_output(output);
  return made;
}

/// How many keys there are, as [1], of what the first layer's attention reads: old ones and new ones together.
onnx::NodeProto countKeys(const std::string &output) {
  onnx::NodeProto made = node("Shape", {"present.0.key"}, output);
  for (auto [name, value] : {std::pair("start", 2), std::pair("end", 3)}) {
    onnx::AttributeProto *attribute = made.add_attribute();
    attribute->set_name(name);
    attribute->set_type(onnx::AttributeProto::INT);
    attribute->set_i(value);
  }
  return made;
}

void addConstant(onnx::ModelProto &model, const std::string &name, int64_t value) {
  onnx::TensorProto *tensor = model.mutable_graph()->add_initializer();
  tensor->set_name(name);
  tensor->set_data_type(onnx::TensorProto::INT64);
  tensor->add_dims(1);
  tensor->add_int64_data(value);
}

/// Puts `nodes` before the sum of scores and mask in each layer's attention, and adds `mask` in the first `layers`.
void setMask(onnx::ModelProto &model, const std::vector<onnx::NodeProto> &nodes, const std::string &mask, int layers) {
  std::set<std::string> scores; // that a softmax reads
  for (const onnx::NodeProto &one : model.graph().node())
    if (one.op_type() == "Softmax")
      scores.insert(one.input(0));
  google::protobuf::RepeatedPtrField<onnx::NodeProto> all;
  int sums = 0;
  for (const onnx::NodeProto &one : model.graph().node()) {
    bool isSum = scores.contains(one.output(0)) && one.op_type() == "Add";
    if (isSum && sums == 0)
      all.Add(nodes.begin(), nodes.end());
    *all.Add() = one;
    if (isSum && sums++ < layers)
      all[all.size() - 1].set_input(1, mask);
  }
  EXPECT_EQ(sums, 2);
  model.mutable_graph()->mutable_node()->Swap(&all);
}

/// A mask cut out of a square table, in all layers, in which tokens see `window` keys.
void cutMasks(onnx::ModelProto &model, int64_t rows, int64_t window, bool hasCaches) {
  onnx::TensorProto *table = model.mutable_graph()->add_initializer();
  table->set_name("mask_table");
  table->set_data_type(onnx::TensorProto::FLOAT);
  std::vector<float> values(size_t(rows * rows), std::numeric_limits<float>::lowest());
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t key = std::max<int64_t>(0, row - window + 1); key <= row; ++key)
      values[size_t(row * rows + key)] = 0;
  table->set_raw_data(values.data(), values.size() * sizeof(float));
  for (int64_t size : {int64_t(1), int64_t(1), rows, rows})
    table->add_dims(size);
  addConstant(model, "begin", 0);
  addConstant(model, "along_rows", 2);
  addConstant(model, "along_keys", 3);
  onnx::NodeProto past = countKeys("past_keys");
  past.set_input(0, "past_key_values.0.key");
  setMask(model,
          {hasCaches ? past : node("Identity", {"begin"}, "past_keys"), countKeys("keys"),
           node("Slice", {"mask_table", "past_keys", "keys", "along_rows"}, "mask_rows"),
           node("Slice", {"mask_rows", "begin", "keys", "along_keys"}, "cut_mask")},
          "cut_mask", 2);
}

/// Without inputs and outputs of a cache: prompts are computed as a whole.
void dropCaches(onnx::ModelProto &model) {
  onnx::GraphProto &graph = *model.mutable_graph();
  auto isCache = [](const auto &value) {
    return value.name().starts_with("past_") || value.name().starts_with("pres");
  };
  auto erase = [](auto &list, auto which) { list.erase(std::remove_if(list.begin(), list.end(), which), list.end()); };
  erase(*graph.mutable_input(), isCache);
  erase(*graph.mutable_output(), isCache);
  for (onnx::NodeProto &one : *graph.mutable_node())
    if (one.op_type() == "Concat" && one.input(0).starts_with("past_"))
      one = node("Identity", {one.input(1)}, one.output(0));
  for (int before = -1; before != graph.node_size();) { // what nobody reads now
    before = graph.node_size();
    std::set<std::string> read{graph.output(0).name()};
    for (const onnx::NodeProto &one : graph.node())
      read.insert(one.input().begin(), one.input().end());
    erase(*graph.mutable_node(), [&](const onnx::NodeProto &one) { return !read.contains(one.output(0)); });
  }
}

/// Cut out of a table by the shape of the keys: whatever is beyond the table's end is as short as the table.
TEST(OnnxLanguageModel, WindowsInTablesOfMasksAreSeenToTheirEnd) {
  for (bool hasCaches : {true, false})
    for (auto [rows, window] : {std::pair(1024, 1023), std::pair(1024, 530), std::pair(700, 699), std::pair(300, 280),
                                std::pair(1024, 1024), std::pair(300, 300)}) {
      onnx::ModelProto model = modelOf("plain");
      cutMasks(model, rows, window, hasCaches);
      if (!hasCaches)
        dropCaches(model);
      auto found = recogniseMessage(model);
      ASSERT_EQ(found.has_value(), window == rows)
          << hasCaches << " " << rows << " " << window << (found ? "" : found.error().message);
      if (!found)
        EXPECT_NE(found.error().message.find("'the_cut_mask' (Slice): hides keys from a token at position " +
                                             std::to_string(rows - 1) + " that it shows to nearer ones"),
                  std::string::npos)
            << found.error().message;
    }
}

/// The window of the first layer, of 100 tokens, made 50000, and its mask cut to as many keys as there are.
TEST(OnnxLanguageModel, WideWindowsCutByTheShapeOfKeysAreSeen) {
  onnx::ModelProto model = modelOf("window");
  int changed = 0;
  for (onnx::TensorProto &tensor : *model.mutable_graph()->mutable_initializer())
    if (int64_t before = 99, after = 49999; tensor.data_type() == onnx::TensorProto::INT64 &&
                                            tensor.raw_data() == std::string(reinterpret_cast<char *>(&before), 8)) {
      tensor.set_raw_data(&after, sizeof(after));
      ++changed;
    }
  ASSERT_EQ(changed, 1);
  std::string mask;
  for (const onnx::NodeProto &one : model.graph().node())
    if (one.op_type() == "Where")
      mask = one.output(0); // the last: of the window
  addConstant(model, "begin", 0);
  addConstant(model, "along_keys", 3);
  setMask(model, {countKeys("keys"), node("Slice", {mask, "begin", "keys", "along_keys"}, "cut_mask")}, "cut_mask", 1);
  auto found = recogniseMessage(model);
  ASSERT_FALSE(found);
  EXPECT_NE(found.error().message.find("'the_cut_mask' (Slice): hides keys from a token at position 262144 that"),
            std::string::npos)
      << found.error().message;
}

} // namespace

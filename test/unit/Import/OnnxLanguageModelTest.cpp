// Changed graphs of the models in test/models/onnx: what of them is still recognised, and as what.
#include "lib/Import/Onnx/LanguageModel/LanguageModel.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <gtest/gtest.h>

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
  return recognise(Graph(file));
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

} // namespace

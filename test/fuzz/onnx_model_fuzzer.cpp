// Any ONNX graph must either be refused with a sentence, be no language model, or be recognised, after which rows of
// its weights can be made. Inputs are changed as messages, a field of a node, tensor or input at a time: bytes changed
// anywhere would mostly be those of weights. The corpus is test/models/onnx.
#include "lib/Import/Onnx/LanguageModel/ImportedGraph.h"
#include "lib/Import/Onnx/LanguageModel/LanguageModel.h"

#include <cstdint>
#include <random>

using namespace quern;
using namespace quern::import;

/// Asks for the first and last row of a matrix, as the packer would.
static void makeRows(const language::Matrix &matrix, const gguf::TypeTable &types) {
  MadeWeight made = matrix.made(types);
  const gguf::TypeInfo &type = *types.find(made.typeId);
  std::vector<std::byte> row(static_cast<size_t>(matrix.k) / type.block * type.bytes);
  made.rows(0, 1, row.data());
  made.rows(static_cast<uint64_t>(matrix.n - 1), 1, row.data());
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  auto file = OnnxFile::fromBytes(std::as_bytes(std::span(data, size)), "fuzz.onnx");
  if (!file)
    return 0;
  auto imported = language::ImportedGraph::make(std::make_shared<OnnxFile>(*std::move(file)));
  if (!imported || !language::hasLanguageModelShape((*imported)->graph()))
    return 0;
  auto model = language::recognise((*imported)->graph());
  if (!model)
    return 0;
  static const gguf::TypeTable types;
  (void)model->tied();
  makeRows(model->embedding, types);
  makeRows(model->head.weight, types);
  for (const language::Layer &layer : model->layers)
    for (const language::Linear *one :
         {&layer.query, &layer.key, &layer.value, &layer.output, &layer.gate, &layer.up, &layer.down})
      makeRows(one->weight, types);
  return 0;
}

namespace {
/// One random change of a message.
class Mutation {
public:
  Mutation(onnx::GraphProto &graph, unsigned seed) : graph(graph), random(seed) {}
  void make();

private:
  size_t below(size_t limit) { return limit ? random() % limit : 0; }
  int64_t number() {
    static constexpr int64_t kNumbers[] = {0,  1,  -1, 2,   3,       8,         16,        31,
                                           32, 64, 270, 1 << 20, INT32_MAX, INT64_MAX, INT64_MIN};
    return kNumbers[below(std::size(kNumbers))];
  }
  std::string value() {
    const onnx::NodeProto &node = graph.node(int(below(size_t(graph.node_size()))));
    if (below(3) == 0 && graph.initializer_size() > 0)
      return graph.initializer(int(below(size_t(graph.initializer_size())))).name();
    return node.output_size() ? node.output(int(below(size_t(node.output_size())))) : "";
  }
  void changeNode(onnx::NodeProto &node);
  void changeTensor(onnx::TensorProto &tensor);
  void changeInput(onnx::ValueInfoProto &input);

  onnx::GraphProto &graph;
  std::minstd_rand random;
};
} // namespace

void Mutation::changeNode(onnx::NodeProto &node) {
  switch (below(4)) {
  case 0:
    if (node.input_size() > 0)
      node.set_input(int(below(size_t(node.input_size()))), below(4) ? value() : "");
    return;
  case 1:
    node.set_op_type(graph.node(int(below(size_t(graph.node_size())))).op_type());
    return;
  case 2:
    if (node.input_size() > 0)
      node.mutable_input()->RemoveLast();
    return;
  default:
    if (node.attribute_size() == 0)
      return;
    onnx::AttributeProto &one = *node.mutable_attribute(int(below(size_t(node.attribute_size()))));
    one.set_i(number());
    one.set_f(float(number()));
    if (one.ints_size() > 0)
      one.set_ints(int(below(size_t(one.ints_size()))), number());
    if (one.has_t())
      changeTensor(*one.mutable_t());
  }
}

void Mutation::changeTensor(onnx::TensorProto &tensor) {
  static constexpr int32_t kTypes[] = {1, 2, 3, 6, 7, 9, 10, 11, 16, 21, 22};
  std::string &raw = *tensor.mutable_raw_data();
  switch (below(4)) {
  case 0:
    tensor.set_data_type(kTypes[below(std::size(kTypes))]);
    return;
  case 1:
    if (tensor.dims_size() > 1)
      tensor.mutable_dims()->SwapElements(0, 1);
    return;
  case 2: // another shape of as many elements
    if (tensor.dims_size() > 0)
      tensor.mutable_dims()->RemoveLast();
    return;
  default:
    if (raw.size() >= 8) {
      int64_t changed = number();
      std::copy_n(reinterpret_cast<const char *>(&changed), 8, raw.begin() + long(below(raw.size() / 8) * 8));
    }
  }
}

void Mutation::changeInput(onnx::ValueInfoProto &input) {
  auto *type = input.mutable_type()->mutable_tensor_type();
  auto *shape = type->mutable_shape();
  if (below(3) == 0)
    type->set_elem_type(below(2) ? 1 : 7);
  else if (below(2) && shape->dim_size() > 0)
    shape->mutable_dim(int(below(size_t(shape->dim_size()))))->set_dim_value(number());
  else
    below(2) || shape->dim_size() == 0 ? void(shape->add_dim()) : shape->mutable_dim()->RemoveLast();
}

void Mutation::make() {
  if (graph.node_size() == 0)
    return;
  size_t kind = below(8);
  if (kind < 5)
    changeNode(*graph.mutable_node(int(below(size_t(graph.node_size())))));
  else if (kind == 5 && graph.input_size() > 0)
    changeInput(*graph.mutable_input(int(below(size_t(graph.input_size())))));
  else if (graph.initializer_size() > 0)
    changeTensor(*graph.mutable_initializer(int(below(size_t(graph.initializer_size())))));
}

extern "C" size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
  onnx::ModelProto model;
  if (!model.ParseFromArray(data, int(size)))
    return LLVMFuzzerMutate(data, size, most);
  for (unsigned i = 0; i <= seed % 3; ++i)
    Mutation(*model.mutable_graph(), seed + 31 * i).make();
  std::string bytes = model.SerializeAsString();
  if (bytes.size() > most)
    return size;
  std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char *>(data));
  return bytes.size();
}

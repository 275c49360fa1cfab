// Any bytes must either be refused with a sentence or become IR, which is verified as the compiler does. They are taken
// as a file, and then as a recipe for a graph of known operators whose nodes take values that exist: random bytes would
// rarely reach an operator's importer.
#include "quern/Import/Onnx/ImportOnnx.h"
#include "lib/Import/Onnx/LeanMessage.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Verifier.h"

#include <cstdint>
#include <cstdlib>

using namespace quern;

namespace {
/// Hands out the input's bytes; 0 when they are used up.
class Bytes {
public:
  Bytes(const uint8_t *data, size_t size) : next(data), end(data + size) {}
  bool empty() const { return next == end; }
  unsigned below(size_t limit) { return empty() ? 0 : unsigned(*next++ % limit); }
  /// Mostly small, at times one that overflows.
  int64_t number() {
    static constexpr int64_t kExtremes[] = {INT64_MIN, INT64_MAX, INT32_MIN, INT32_MAX, int64_t(1) << 62, 1000000007};
    unsigned byte = below(256);
    return byte < 250 ? int64_t(byte % 14) - 4 : kExtremes[byte - 250];
  }

private:
  const uint8_t *next, *end;
};

/// Builds a graph as the bytes say.
class Recipe {
public:
  explicit Recipe(Bytes &bytes) : bytes(bytes) {}
  std::string model();

private:
  std::string newName();
  std::string someValue();
  int32_t someType();
  void addInput();
  void addConstant();
  void addNode();
  void addAttribute(onnx::NodeProto &node);

  Bytes &bytes;
  onnx::ModelProto message;
  onnx::GraphProto *graph = message.mutable_graph();
  std::vector<std::string> values;
};
} // namespace

static constexpr int32_t kTypes[] = {1, 7, 9, 6, 10, 11, 16, 2, 3, 5, 8, 13, 17, 22};

int32_t Recipe::someType() { return kTypes[bytes.below(std::size(kTypes))]; }
std::string Recipe::newName() { return values.emplace_back("v" + std::to_string(values.size())); }
std::string Recipe::someValue() { return values.empty() ? "" : values[bytes.below(values.size())]; }

void Recipe::addInput() {
  onnx::ValueInfoProto *input = graph->add_input();
  auto *type = input->mutable_type()->mutable_tensor_type();
  type->set_elem_type(someType());
  type->mutable_shape();
  for (unsigned rank = bytes.below(5); rank > 0; --rank) {
    auto *dimension = type->mutable_shape()->add_dim();
    unsigned size = bytes.below(8);
    size < 5 ? dimension->set_dim_value(size) : dimension->set_dim_param("n" + std::to_string(size));
  }
  input->set_name(newName());
}

/// A list or a scalar of integers: axes, shapes, pads.
void Recipe::addConstant() {
  onnx::TensorProto *tensor = graph->add_initializer();
  tensor->set_data_type(onnx::TensorProto::INT64);
  unsigned length = bytes.below(6);
  if (length < 5)
    tensor->add_dims(length);
  for (unsigned i = length < 5 ? length : 1; i > 0; --i)
    tensor->add_int64_data(bytes.number());
  tensor->set_name(newName());
}

void Recipe::addAttribute(onnx::NodeProto &node) {
  static const char *const kNames[] = {
      "axis",        "axes",         "perm",         "keepdims",  "to",        "num_outputs",          "starts",
      "ends",        "split",        "batch_dims",   "block_size", "k",        "pads",                 "mode",
      "reduction",   "q_num_heads",  "kv_num_heads", "num_heads", "shape",     "value",                "is_causal",
      "dtype",       "output_dtype", "alpha",        "transA",    "direction", "rotary_embedding_dim",
      "noop_with_empty_axes"};
  static const char *const kTexts[] = {"wrap", "add", "circular", "reflect", "LEFT", "mul", "tanh"};
  onnx::AttributeProto *attribute = node.add_attribute();
  attribute->set_name(kNames[bytes.below(std::size(kNames))]);
  attribute->set_i(bytes.number());
  attribute->set_f(float(attribute->i()));
  attribute->set_s(kTexts[bytes.below(std::size(kTexts))]);
  for (unsigned i = bytes.below(5); i > 0; --i)
    attribute->add_ints(bytes.number());
  if (attribute->name() == "value") {
    attribute->mutable_t()->set_data_type(onnx::TensorProto::FLOAT);
    attribute->mutable_t()->add_dims(1);
    attribute->mutable_t()->add_float_data(1);
  }
}

void Recipe::addNode() {
  static const std::vector<std::string> operators = import::onnxOperators();
  onnx::NodeProto *node = graph->add_node();
  std::string name = operators[bytes.below(operators.size())];
  size_t dot = name.rfind('.');
  node->set_op_type(dot == std::string::npos ? name : name.substr(dot + 1));
  node->set_domain(dot == std::string::npos ? "" : name.substr(0, dot));
  for (unsigned i = bytes.below(6); i > 0; --i)
    node->add_input(bytes.below(16) == 0 ? "" : someValue());
  for (unsigned i = bytes.below(3); i > 0; --i)
    addAttribute(*node);
  for (unsigned i = 1 + bytes.below(2); i > 0; --i)
    node->add_output(newName());
}

std::string Recipe::model() {
  static constexpr int64_t kOpsets[] = {21, 23, 13, 12, 1, 25};
  message.set_ir_version(10);
  message.add_opset_import()->set_version(kOpsets[bytes.below(std::size(kOpsets))]);
  addInput();
  addConstant();
  for (int nodes = 0; !bytes.empty() && nodes < 12;) {
    unsigned kind = bytes.below(8);
    nodes += kind >= 2;
    kind == 0 ? addInput() : kind == 1 ? addConstant() : addNode();
  }
  graph->add_output()->set_name(values.back());
  return message.SerializeAsString();
}

static void importBytes(const std::string &bytes) {
  static mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  mlir::ScopedDiagnosticHandler handler(&context, [](mlir::Diagnostic &) { return mlir::success(); });
  auto file = import::OnnxFile::fromBytes(std::as_bytes(std::span(bytes)), "fuzz.onnx");
  if (!file)
    return;
  auto graph = import::importOnnx(context, *file);
  if (graph) // IR that is not valid is refused by the compiler, with what the verifier says
    (void)mlir::verify(*graph->module);
}

/// A message without its large data must say what the whole one says.
static void compareLean(std::span<const std::byte> bytes) {
  auto lean = import::leaveOutData(bytes);
  if (!lean)
    return;
  onnx::ModelProto whole, put;
  bool isMessage = whole.ParseFromArray(bytes.data(), int(bytes.size()));
  if (isMessage != put.ParseFromString(lean->message))
    std::abort();
  if (!isMessage)
    return;
  for (auto [initializer, data] : lean->data)
    put.mutable_graph()->mutable_initializer(initializer)->set_raw_data(data.data(), data.size());
  if (whole.SerializeAsString() != put.SerializeAsString())
    std::abort();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  compareLean(std::as_bytes(std::span(data, size)));
  importBytes(std::string(reinterpret_cast<const char *>(data), size));
  Bytes bytes(data, size);
  importBytes(Recipe(bytes).model());
  return 0;
}

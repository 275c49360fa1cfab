// The graph around the operators: inputs, constants, nodes in order, outputs.
#include "quern/Import/Onnx/ImportOnnx.h"
#include "Node.h"
#include "quern/Support/Quoted.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

#include <algorithm>

using namespace mlir;
using namespace quern;
using namespace quern::import;

/// Constants of more bytes are arguments whose data lies in the package's weights, not in the IR.
static constexpr size_t kInlineBytes = 1024;

static const Operators &operatorTable() {
  static const Operators table = [] {
    Operators operators;
    addElementwise(operators);
    addUnary(operators);
    addCasts(operators);
    addShapes(operators);
    addIndexing(operators);
    addSlices(operators);
    addReductions(operators);
    addNormalization(operators);
    addMatrices(operators);
    addScatter(operators);
    addOrder(operators);
    addFilling(operators);
    addQuantized(operators);
    addAttention(operators);
    return operators;
  }();
  return table;
}

std::vector<std::string> import::onnxOperators() {
  std::vector<std::string> names;
  for (const auto &entry : operatorTable())
    names.push_back(entry.getKey().str());
  std::ranges::sort(names);
  return names;
}

static std::string qualifiedName(const onnx::NodeProto &node) {
  std::string domain = domainName(node.domain());
  return domain.empty() ? node.op_type() : domain + "." + node.op_type();
}

/// Adds the nodes of a graph and of the graphs in its nodes' attributes.
static void countNodes(const onnx::GraphProto &graph, std::map<std::string, int64_t> &counts) {
  for (const onnx::NodeProto &node : graph.node()) {
    ++counts[qualifiedName(node)];
    for (const onnx::AttributeProto &attribute : node.attribute()) {
      if (attribute.has_g())
        countNodes(attribute.g(), counts);
      for (const onnx::GraphProto &inner : attribute.graphs())
        countNodes(inner, counts);
    }
  }
}

std::vector<OnnxOperatorUse> import::operatorsOf(const OnnxFile &file) {
  std::map<std::string, int64_t> counts;
  countNodes(file.graph(), counts);
  std::vector<OnnxOperatorUse> uses;
  for (const auto &[name, count] : counts)
    uses.push_back({name, count, operatorTable().contains(name)});
  return uses;
}

/// All operators that we lack, in one message.
static Status checkOperators(const OnnxFile &file) {
  std::string list;
  for (const OnnxOperatorUse &use : operatorsOf(file))
    if (!use.supported)
      list += (list.empty() ? "" : ", ") + printable(use.name) + " (" + std::to_string(use.count) + ")";
  if (list.empty())
    return {};
  return fail("'" + file.path() + "': these operators are not supported, with the number of their nodes: " + list);
}

namespace {
class GraphImporter : public Constants {
public:
  GraphImporter(MLIRContext &context, OnnxFile &file)
      : file(file), builder(&context), module(ModuleOp::create(locationOf(file.path()))),
        emitter(builder, module->getLoc()) {}
  Result<OnnxGraph> run();
  Result<Tensor> constant(const onnx::TensorProto &tensor) override;

private:
  Location locationOf(const std::string &name) { return NameLoc::get(builder.getStringAttr(name)); }
  /// The function takes its type when all are there: the context keeps each one that it ever had.
  Value addArgument(Type type, const std::string &name) {
    return function.getBody().addArgument(type, locationOf(name));
  }
  Status addInput(const onnx::ValueInfoProto &input);
  Status importNode(const onnx::NodeProto &proto);
  Status checkInputs(Node &node);
  Status checkOutput(Node &node, const std::string &name);
  Tensor inlined(const onnx::TensorProto &tensor, std::span<const std::byte> bytes);
  Status finish();

  OnnxFile &file;
  OpBuilder builder;
  OwningOpRef<ModuleOp> module;
  func::FuncOp function;
  Emitter emitter;
  llvm::StringMap<Tensor> values;
  llvm::StringMap<Value> sizes; ///< of inputs, by name
  OnnxGraph graph;
};
} // namespace

Status GraphImporter::addInput(const onnx::ValueInfoProto &input) {
  if (values.contains(input.name()))
    return {}; // an initializer of the same name is the value
  std::string what = "input " + inQuotes(input.name());
  if (!input.type().has_tensor_type() || !input.type().tensor_type().has_shape())
    return file.wrong(what, "has no shape; inputs need one, whose sizes may be names");
  const auto &type = input.type().tensor_type();
  if (!isComputable(type.elem_type()))
    return file.wrong(what, "compiled code cannot take elements of this type (number " +
                                std::to_string(type.elem_type()) + ")");
  Manifest::Tensor described{input.name(), onnxType(type.elem_type())->name, {}};
  llvm::SmallVector<int64_t> shape;
  for (const auto &[i, dimension] : llvm::enumerate(type.shape().dim())) {
    bool isStatic = dimension.has_dim_value();
    std::string name = dimension.dim_param().empty() ? input.name() + "." + std::to_string(i) : dimension.dim_param();
    described.shape.push_back({isStatic ? dimension.dim_value() : -1, isStatic ? "" : name});
    shape.push_back(isStatic ? dimension.dim_value() : ShapedType::kDynamic);
  }
  auto tensorType = RankedTensorType::get(shape, emitter.elementType(type.elem_type()));
  Tensor tensor{addArgument(tensorType, input.name()), type.elem_type(), {}, {}};
  for (const auto &[i, dimension] : llvm::enumerate(described.shape)) {
    if (dimension.value >= 0) {
      tensor.dims.push_back(emitter.index(dimension.value));
      continue;
    }
    Value &size = sizes[dimension.size];
    if (!size) {
      emitter.at(locationOf(input.name()));
      size = tensor::DimOp::create(emitter.b, emitter.loc, tensor.value, int64_t(i));
      graph.sizes.push_back(dimension.size);
    }
    tensor.dims.push_back(size);
  }
  values[input.name()] = tensor;
  graph.inputs.push_back(std::move(described));
  return {};
}

/// Small constants become attributes; those of integers are also followed as sizes.
Tensor GraphImporter::inlined(const onnx::TensorProto &proto, std::span<const std::byte> bytes) {
  Tensor tensor{Value(), proto.data_type(), {}, {}};
  for (int64_t size : proto.dims())
    tensor.dims.push_back(emitter.index(size));
  RankedTensorType type = emitter.tensorType(tensor.dims, tensor.type);
  DenseElementsAttr data;
  if (tensor.type == kBool) {
    llvm::SmallVector<bool> bits;
    for (std::byte byte : bytes)
      bits.push_back(byte != std::byte(0));
    data = DenseElementsAttr::get(type, bits);
  } else {
    data = DenseElementsAttr::getFromRawBuffer(type, {reinterpret_cast<const char *>(bytes.data()), bytes.size()});
  }
  tensor.value = arith::ConstantOp::create(emitter.b, emitter.loc, data);
  if (tensor.rank() <= 1 && isInteger(tensor.type) && type.getNumElements() <= 64) {
    tensor.elements.emplace();
    for (const APInt &element : data.getValues<APInt>())
      tensor.elements->push_back(
          emitter.index(isUnsigned(tensor.type) ? int64_t(element.getZExtValue()) : element.getSExtValue()));
  }
  return tensor;
}

Result<Tensor> GraphImporter::constant(const onnx::TensorProto &proto) {
  if (!isComputable(proto.data_type()))
    return Tensor{Value(), proto.data_type(), {}, {}}; // refused by the operator that wants it
  QUERN_ASSIGN(std::span<const std::byte> bytes, file.data(proto));
  if (bytes.size() <= kInlineBytes)
    return inlined(proto, bytes);
  Tensor tensor{Value(), proto.data_type(), {}, {}};
  for (int64_t size : proto.dims())
    tensor.dims.push_back(emitter.index(size));
  tensor.value = addArgument(emitter.tensorType(tensor.dims, tensor.type), proto.name());
  graph.weights.push_back(&proto);
  return tensor;
}

Status GraphImporter::checkInputs(Node &node) {
  for (int i = 0; i < node.inputs(); ++i) {
    if (!node.has(i))
      continue;
    QUERN_ASSIGN(Tensor tensor, node.input(i));
    if (!isComputable(tensor.type))
      return node.wrongType(tensor.type);
  }
  return {};
}

Status GraphImporter::importNode(const onnx::NodeProto &proto) {
  emitter.at(locationOf(nodeName(proto)));
  emitter.node = describeNode(proto);
  Node node(file, proto, emitter, values, *this);
  QUERN_TRY(checkInputs(node));
  QUERN_TRY(operatorTable().lookup(qualifiedName(proto))(node));
  QUERN_TRY(node.checked());
  for (const std::string &output : proto.output())
    if (!output.empty())
      QUERN_TRY(checkOutput(node, output));
  return {};
}

/// Known sizes may have multiplied or added up to nonsense.
Status GraphImporter::checkOutput(Node &node, const std::string &name) {
  auto made = values.find(name);
  if (made == values.end())
    return node.wrong("its output " + inQuotes(name) + " is not supported");
  llvm::SmallVector<int64_t> known;
  for (OpFoldResult size : made->second.dims)
    if (std::optional<int64_t> value = getConstantIntValue(size))
      known.push_back(*value);
  constexpr int64_t kMostElements = int64_t(1) << 48; // of at most 8 bytes, so that bytes can be counted
  auto count = countElements({known.data(), known.size()});
  if (!count || *count > kMostElements)
    return node.wrong("its output " + inQuotes(name) + " would have more elements than any machine holds");
  return {};
}

Status GraphImporter::finish() {
  llvm::SmallVector<Value> results;
  llvm::SmallVector<Type> types;
  for (const onnx::ValueInfoProto &output : file.graph().output()) {
    Tensor &tensor = values[output.name()];
    if (!isComputable(tensor.type))
      return file.wrong("output " + inQuotes(output.name()), "has elements of a type that is not supported");
    emitter.at(locationOf(output.name()));
    results.push_back(emitter.valueOf(tensor));
    types.push_back(results.back().getType());
    Manifest::Tensor described{output.name(), onnxType(tensor.type)->name, {}};
    for (OpFoldResult size : tensor.dims) {
      std::string name;
      for (const auto &known : sizes)
        if (OpFoldResult(known.getValue()) == size)
          name = known.getKey().str();
      described.shape.push_back({getConstantIntValue(size).value_or(-1), name});
    }
    graph.outputs.push_back(std::move(described));
  }
  func::ReturnOp::create(emitter.b, emitter.loc, results);
  function.setFunctionType(builder.getFunctionType(function.getBody().getArgumentTypes(), types));
  // Callers keep their inputs, and weights are mapped read-only.
  NamedAttribute readOnly(bufferization::BufferizationDialect::kWritableAttrName, builder.getBoolAttr(false));
  function.setAllArgAttrs(
      llvm::SmallVector<DictionaryAttr>(function.getNumArguments(), builder.getDictionaryAttr(readOnly)));
  return {};
}

Result<OnnxGraph> GraphImporter::run() {
  QUERN_TRY(checkOperators(file));
  builder.setInsertionPointToEnd(module->getBody());
  function = func::FuncOp::create(builder, module->getLoc(), kGraphName, builder.getFunctionType({}, {}));
  emitter.b.setInsertionPointToEnd(function.addEntryBlock());
  for (const onnx::TensorProto &tensor : file.graph().initializer())
    values[tensor.name()] = Tensor();
  for (const onnx::ValueInfoProto &input : file.graph().input())
    QUERN_TRY(addInput(input));
  for (const onnx::TensorProto &tensor : file.graph().initializer()) {
    emitter.at(locationOf(tensor.name()));
    QUERN_ASSIGN(values[tensor.name()], constant(tensor));
  }
  for (const onnx::NodeProto &node : file.graph().node())
    QUERN_TRY(importNode(node));
  QUERN_TRY(finish());
  graph.module = std::move(module);
  return std::move(graph);
}

Result<OnnxGraph> import::importOnnx(MLIRContext &context, OnnxFile &file) {
  context.loadDialect<func::FuncDialect, arith::ArithDialect, math::MathDialect, tensor::TensorDialect,
                      linalg::LinalgDialect, scf::SCFDialect, cf::ControlFlowDialect,
                      bufferization::BufferizationDialect>();
  return GraphImporter(context, file).run();
}

#include "quern/Import/Onnx/ImportOnnxGraph.h"
#include "dialects/Onnx/Onnx.h"
#include "quern/Support/Quoted.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/BuiltinDialect.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/ADT/StringSet.h"

#include <algorithm>

using namespace mlir;
using namespace quern;
using namespace quern::import;

/// Constants of at most that many elements are written into the IR, so that axes and sizes can be read there.
static constexpr int64_t kInlineElements = 16;
/// Constants of more bytes are no text to read.
static constexpr size_t kTextBytes = 1 << 16;

namespace {
class OnnxGraphImporter {
public:
  OnnxGraphImporter(MLIRContext &context, std::shared_ptr<OnnxFile> file)
      : file(std::move(file)), builder(&context), module(ModuleOp::create(locationOf(this->file->path()))) {}
  Result<OwningOpRef<ModuleOp>> run();

private:
  Location locationOf(const std::string &name) {
    return name.empty() ? Location(builder.getUnknownLoc()) : NameLoc::get(builder.getStringAttr(name));
  }
  Type typeOf(const onnx::TypeProto &type);
  RankedTensorType typeOf(const onnx::TensorProto &tensor);
  Result<ElementsAttr> elements(const onnx::TensorProto &tensor, const std::string &name);
  Result<Attribute> attribute(const onnx::AttributeProto &attribute, const std::string &value);
  Status addConstant(const std::string &name, const onnx::TensorProto &tensor);
  Status addConstantNode(const onnx::NodeProto &node);
  Status addNode(const onnx::NodeProto &node);
  Value valueOf(const std::string &name);
  DictionaryAttr opsets();
  void collectTypes();
  DictionaryAttr describe(const onnx::ValueInfoProto &value, Type type);
  void addInputs();
  void finish();

  std::shared_ptr<OnnxFile> file;
  OpBuilder builder;
  OwningOpRef<ModuleOp> module;
  func::FuncOp function;
  SmallVector<DictionaryAttr> inputAttributes;
  llvm::StringMap<Value> values;
  llvm::StringMap<Type> types; ///< as far as the file says them
  Value none;                  ///< an input that is left out
};
} // namespace

/// `!onnx.value` where the file does not say what it is, or says what IR does not have.
Type OnnxGraphImporter::typeOf(const onnx::TypeProto &type) {
  Type element = onnxir::elementType(builder.getContext(), type.tensor_type().elem_type());
  if (!type.has_tensor_type() || !element)
    return onnxir::ValueType::get(builder.getContext());
  if (!type.tensor_type().has_shape())
    return UnrankedTensorType::get(element);
  SmallVector<int64_t> shape;
  for (const auto &dimension : type.tensor_type().shape().dim())
    shape.push_back(dimension.has_dim_value() && dimension.dim_value() >= 0 ? dimension.dim_value()
                                                                            : ShapedType::kDynamic);
  return RankedTensorType::get(shape, element);
}

/// Of a tensor whose data was asked for, which checks type and dimensions.
RankedTensorType OnnxGraphImporter::typeOf(const onnx::TensorProto &tensor) {
  return RankedTensorType::get({tensor.dims().data(), size_t(tensor.dims_size())},
                               onnxir::elementType(builder.getContext(), tensor.data_type()));
}

/// `name` is the resource's, as far as it is free.
Result<ElementsAttr> OnnxGraphImporter::elements(const onnx::TensorProto &tensor, const std::string &name) {
  QUERN_ASSIGN(std::span<const std::byte> bytes, file->data(tensor));
  RankedTensorType type = typeOf(tensor);
  ArrayRef<char> data(reinterpret_cast<const char *>(bytes.data()), bytes.size());
  unsigned bits = onnxir::elementBits(type.getElementType());
  if (bits == 0) {
    if (tensor.string_data_size() != type.getNumElements())
      return file->wrong("tensor " + inQuotes(name), "has another number of strings than its dimensions ask for");
    SmallVector<StringRef> strings(tensor.string_data().begin(), tensor.string_data().end());
    return ElementsAttr(DenseStringElementsAttr::get(type, strings));
  }
  bool isPlain = bits >= 8 && !isa<ComplexType>(type.getElementType());
  if (isPlain && int64_t(data.size()) <= kInlineElements * bits / 8)
    return ElementsAttr(onnxir::denseElements(type, data));
  // The blob's deleter has nothing to free, but holds the file.
  AsmResourceBlob blob = UnmanagedAsmResourceBlob::allocateWithAlign(data, 1, [file = file](void *, size_t, size_t) {});
  return ElementsAttr(DenseResourceElementsAttr::get(type, name, std::move(blob)));
}

/// What the attribute holds; early writers left it to the fields to say that.
static onnx::AttributeProto::AttributeType kindOf(const onnx::AttributeProto &attribute) {
  using Kind = onnx::AttributeProto;
  if (attribute.type() != Kind::UNDEFINED)
    return attribute.type();
  return attribute.has_i()              ? Kind::INT
         : attribute.has_f()            ? Kind::FLOAT
         : attribute.has_s()            ? Kind::STRING
         : attribute.has_t()            ? Kind::TENSOR
         : attribute.ints_size() > 0    ? Kind::INTS
         : attribute.floats_size() > 0  ? Kind::FLOATS
         : attribute.strings_size() > 0 ? Kind::STRINGS
                                        : Kind::UNDEFINED;
}

Result<Attribute> OnnxGraphImporter::attribute(const onnx::AttributeProto &attribute, const std::string &value) {
  using Kind = onnx::AttributeProto;
  switch (kindOf(attribute)) {
  case Kind::FLOAT:
    return Attribute(builder.getF32FloatAttr(attribute.f()));
  case Kind::INT:
    return Attribute(builder.getI64IntegerAttr(attribute.i()));
  case Kind::STRING:
    return Attribute(builder.getStringAttr(attribute.s()));
  case Kind::FLOATS:
    return Attribute(builder.getDenseF32ArrayAttr({attribute.floats().data(), size_t(attribute.floats_size())}));
  case Kind::INTS:
    return Attribute(builder.getDenseI64ArrayAttr({attribute.ints().data(), size_t(attribute.ints_size())}));
  case Kind::STRINGS: {
    SmallVector<Attribute> strings;
    for (const std::string &text : attribute.strings())
      strings.push_back(builder.getStringAttr(text));
    return Attribute(builder.getArrayAttr(strings));
  }
  case Kind::TENSOR: {
    QUERN_ASSIGN(ElementsAttr made, elements(attribute.t(), value + "." + attribute.name()));
    return Attribute(made);
  }
  default:
    return Attribute(onnxir::MessageAttr::get(builder.getContext(), attribute.SerializeAsString()));
  }
}

Status OnnxGraphImporter::addConstant(const std::string &name, const onnx::TensorProto &tensor) {
  QUERN_ASSIGN(ElementsAttr value, elements(tensor, name));
  values[name] = onnxir::ConstantOp::create(builder, locationOf(name), value.getType(), value);
  return {};
}

/// A tensor in the attribute, or numbers, of which a tensor is made.
Status OnnxGraphImporter::addConstantNode(const onnx::NodeProto &node) {
  for (const onnx::AttributeProto &attribute : node.attribute()) {
    onnx::TensorProto made;
    const std::string &name = attribute.name();
    if (name == "value")
      return addConstant(node.output(0), attribute.t());
    if (name == "value_float" || name == "value_floats") {
      made.set_data_type(onnx::TensorProto::FLOAT);
      *made.mutable_float_data() = attribute.floats();
      name == "value_float" ? made.add_float_data(attribute.f()) : made.add_dims(attribute.floats_size());
    } else if (name == "value_int" || name == "value_ints") {
      made.set_data_type(onnx::TensorProto::INT64);
      *made.mutable_int64_data() = attribute.ints();
      name == "value_int" ? made.add_int64_data(attribute.i()) : made.add_dims(attribute.ints_size());
    } else {
      continue;
    }
    return addConstant(node.output(0), file->keep(std::move(made)));
  }
  return addNode(node); // of strings, or sparse
}

Value OnnxGraphImporter::valueOf(const std::string &name) {
  if (!name.empty())
    return values.at(name);
  if (!none) {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(&function.getBody().front());
    none = onnxir::NoneOp::create(builder, function.getLoc(), builder.getNoneType());
  }
  return none;
}

Status OnnxGraphImporter::addNode(const onnx::NodeProto &node) {
  SmallVector<Value> inputs;
  for (const std::string &name : node.input())
    inputs.push_back(valueOf(name));
  SmallVector<Type> outputTypes;
  SmallVector<Attribute> names;
  for (const std::string &name : node.output()) {
    Type known = name.empty() ? Type() : types.lookup(name);
    outputTypes.push_back(known ? known : onnxir::ValueType::get(builder.getContext()));
    names.push_back(builder.getStringAttr(name));
  }
  NamedAttrList attributes;
  llvm::StringSet<> seen;
  auto named = std::ranges::find_if(node.output(), [](const std::string &name) { return !name.empty(); });
  std::string valueName = named == node.output().end() ? nodeName(node) : *named; // no two nodes share one
  for (const onnx::AttributeProto &one : node.attribute()) {
    if (one.name().empty() || !seen.insert(one.name()).second)
      continue; // the first of a name counts
    QUERN_ASSIGN(Attribute value, attribute(one, valueName));
    attributes.append(one.name(), value);
  }
  std::string domain = domainName(node.domain());
  auto op =
      onnxir::NodeOp::create(builder, locationOf(nodeName(node)), outputTypes, builder.getStringAttr(node.op_type()),
                             domain.empty() ? StringAttr() : builder.getStringAttr(domain), inputs,
                             attributes.empty() ? DictionaryAttr() : attributes.getDictionary(builder.getContext()),
                             builder.getArrayAttr(names), /*part=*/StringAttr());
  for (auto [name, value] : llvm::zip(node.output(), op.getResults()))
    if (!name.empty())
      values[name] = value;
  return {};
}

DictionaryAttr OnnxGraphImporter::opsets() {
  NamedAttrList versions;
  for (const onnx::OperatorSetIdProto &set : file->model().opset_import()) {
    std::string domain = domainName(set.domain());
    StringRef key = domain.empty() ? "ai.onnx" : StringRef(domain);
    if (!versions.get(key)) // the first counts
      versions.set(key, builder.getI64IntegerAttr(set.version()));
  }
  return versions.getDictionary(builder.getContext());
}

void OnnxGraphImporter::collectTypes() {
  for (const auto *list : {&file->graph().value_info(), &file->graph().output()})
    for (const onnx::ValueInfoProto &value : *list)
      types[value.name()] = typeOf(value.type());
}

/// The name of a value of that type, and those of its sizes, if it has any and as many as the type.
DictionaryAttr OnnxGraphImporter::describe(const onnx::ValueInfoProto &value, Type type) {
  NamedAttrList attributes;
  attributes.set(onnxir::kNameAttr, builder.getStringAttr(value.name()));
  SmallVector<StringRef> names;
  for (const auto &dimension : value.type().tensor_type().shape().dim())
    names.push_back(dimension.has_dim_value() ? "" : StringRef(dimension.dim_param()));
  auto ranked = dyn_cast<RankedTensorType>(type);
  bool fits = ranked && ranked.getRank() == int64_t(names.size());
  if (fits && !llvm::all_of(names, [](StringRef name) { return name.empty(); }))
    attributes.set(onnxir::kDimsAttr, builder.getStrArrayAttr(names));
  return attributes.getDictionary(builder.getContext());
}

void OnnxGraphImporter::addInputs() {
  for (const onnx::ValueInfoProto &input : file->graph().input()) {
    if (values.contains(input.name()))
      continue; // an initializer of the same name is the value
    Type type = typeOf(input.type());
    values[input.name()] = function.getBody().addArgument(type, locationOf(input.name()));
    inputAttributes.push_back(describe(input, type));
  }
}

void OnnxGraphImporter::finish() {
  SmallVector<Value> results;
  for (const onnx::ValueInfoProto &output : file->graph().output())
    results.push_back(values.at(output.name()));
  func::ReturnOp::create(builder, function.getLoc(), results);
  SmallVector<DictionaryAttr> outputAttributes;
  for (auto [output, value] : llvm::zip(file->graph().output(), results))
    outputAttributes.push_back(describe(output, value.getType()));
  function.setFunctionType(
      builder.getFunctionType(function.getBody().getArgumentTypes(), TypeRange(ValueRange(results))));
  function.setAllArgAttrs(inputAttributes);
  function.setAllResultAttrs(outputAttributes);
}

Result<OwningOpRef<ModuleOp>> OnnxGraphImporter::run() {
  (*module)->setAttr(onnxir::kOpsetsAttr, opsets());
  collectTypes();
  builder.setInsertionPointToEnd(module->getBody());
  function = func::FuncOp::create(builder, module->getLoc(), onnxir::kGraphName, builder.getFunctionType({}, {}));
  builder.setInsertionPointToEnd(function.addEntryBlock());
  for (const onnx::TensorProto &tensor : file->graph().initializer())
    QUERN_TRY(addConstant(tensor.name(), tensor));
  addInputs();
  for (const onnx::NodeProto &node : file->graph().node()) {
    bool isConstant = node.op_type() == "Constant" && domainName(node.domain()).empty() && node.output_size() == 1 &&
                      !node.output(0).empty();
    QUERN_TRY(isConstant ? addConstantNode(node) : addNode(node));
  }
  finish();
  return std::move(module);
}

Result<OwningOpRef<ModuleOp>> import::importOnnxGraph(MLIRContext &context, std::shared_ptr<OnnxFile> file) {
  context.loadDialect<onnxir::OnnxDialect, func::FuncDialect>();
  return OnnxGraphImporter(context, std::move(file)).run();
}

OwningOpRef<ModuleOp> import::withoutLargeConstants(ModuleOp module) {
  OwningOpRef<ModuleOp> out(module.clone());
  auto &manager = DenseResourceElementsHandle::getManagerInterface(module.getContext());
  out->walk([&](onnxir::ConstantOp constant) {
    auto resource = dyn_cast<DenseResourceElementsAttr>(constant.getValue());
    AsmResourceBlob *blob = resource ? resource.getRawHandle().getBlob() : nullptr;
    if (blob && blob->getData().size() > kTextBytes)
      constant.setValueAttr(
          DenseResourceElementsAttr::get(resource.getType(), manager.insert(resource.getRawHandle().getKey())));
  });
  return out;
}

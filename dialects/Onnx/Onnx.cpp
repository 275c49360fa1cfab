// Registration and verifiers of the `onnx` dialect. The ids in the messages' comments are those of OnnxOps.td.
#include "dialects/Onnx/Onnx.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace quern::onnxir;

/// The dictionary of a node's own attributes, which is left out where it is empty.
static ParseResult parseAttributes(OpAsmParser &parser, DictionaryAttr &attributes) {
  NamedAttrList list;
  if (failed(parser.parseOptionalAttrDict(list)))
    return failure();
  if (!list.empty())
    attributes = list.getDictionary(parser.getContext());
  return success();
}

static void printAttributes(OpAsmPrinter &printer, Operation *, DictionaryAttr attributes) {
  if (attributes)
    printer.printOptionalAttrDict(attributes.getValue());
}

#include "dialects/Onnx/OnnxDialect.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/Onnx/OnnxAttrs.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/Onnx/OnnxTypes.cpp.inc"
#define GET_OP_CLASSES
#include "dialects/Onnx/OnnxOps.cpp.inc"

void OnnxDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/Onnx/OnnxAttrs.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/Onnx/OnnxTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/Onnx/OnnxOps.cpp.inc"
      >();
}

LogicalResult OnnxDialect::verifyOperationAttribute(Operation *op, NamedAttribute attribute) {
  auto versions = dyn_cast<DictionaryAttr>(attribute.getValue());
  if (attribute.getName() != kOpsetsAttr)
    return op->emitError() << "has the attribute '" << attribute.getName().getValue()
                           << "', which the onnx dialect does not have";
  if (!isa<ModuleOp>(op) || !versions ||
      !llvm::all_of(versions, [](NamedAttribute one) { return isa<IntegerAttr>(one.getValue()); }))
    return op->emitError() << "expected '" << kOpsetsAttr << "' on a module, with a version for each domain";
  return success();
}

/// An argument's or result's name, or the names of its sizes.
static LogicalResult verifyValueAttribute(Operation *op, Type type, NamedAttribute attribute) {
  if (attribute.getName() == kNameAttr) {
    if (!isa<StringAttr>(attribute.getValue()))
      return op->emitError() << "expected a string as '" << kNameAttr << "'";
    return success();
  }
  if (attribute.getName() != kDimsAttr)
    return op->emitError() << "has the attribute '" << attribute.getName().getValue()
                           << "', which the onnx dialect does not have";
  auto names = dyn_cast<ArrayAttr>(attribute.getValue());
  auto shaped = dyn_cast<RankedTensorType>(type);
  if (!names || !shaped || int64_t(names.size()) != shaped.getRank() ||
      !llvm::all_of(names, [](Attribute name) { return isa<StringAttr>(name); }))
    return op->emitError() << "expected '" << kDimsAttr << "' to have a string for each dimension of " << type;
  return success();
}

LogicalResult OnnxDialect::verifyRegionArgAttribute(Operation *op, unsigned, unsigned index, NamedAttribute attribute) {
  auto function = dyn_cast<FunctionOpInterface>(op);
  return verifyValueAttribute(op, function ? function.getArgumentTypes()[index] : Type(), attribute);
}

LogicalResult OnnxDialect::verifyRegionResultAttribute(Operation *op, unsigned, unsigned index,
                                                       NamedAttribute attribute) {
  auto function = dyn_cast<FunctionOpInterface>(op);
  return verifyValueAttribute(op, function ? function.getResultTypes()[index] : Type(), attribute);
}

OpFoldResult ConstantOp::fold(FoldAdaptor) { return getValue(); }

LogicalResult ConstantOp::verify() {
  ShapedType type = getResult().getType();
  if (!type.hasStaticShape() || elementNumber(type.getElementType()) == 0)
    return emitOpError("expected a static shape and elements that ONNX has (C1), got ") << type;
  std::optional<int64_t> needed = byteSize(type);
  if (!needed)
    return emitOpError("has dimensions that multiply to more bytes than any machine holds (C2)");
  auto resource = dyn_cast<DenseResourceElementsAttr>(getValue());
  AsmResourceBlob *blob = resource ? resource.getRawHandle().getBlob() : nullptr;
  if (blob && int64_t(blob->getData().size()) != *needed)
    return emitOpError("expected a resource of ") << *needed << " bytes (C2), got " << blob->getData().size();
  return success();
}

std::string NodeOp::getOperator() {
  return (getDomain() ? *getDomain() + "." + getOpType() : Twine(getOpType())).str();
}

void NodeOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  if (!getOutputs())
    return;
  for (auto [value, name] : llvm::zip(getResults(), getOutputs()->getAsValueRange<StringAttr>()))
    if (!name.empty())
      setName(value, name);
}

LogicalResult NodeOp::verify() {
  if (getOpType().empty())
    return emitOpError("expected the name of an operator (N1)");
  for (auto [index, type] : llvm::enumerate(getInputs().getTypes()))
    if (!isa<TensorType, ValueType, NoneType>(type))
      return emitOpError("expected a tensor, '!onnx.value' or 'none' as input ") << index << " (N2), got " << type;
  if (getNumResults() == 0)
    return emitOpError("expected at least one output (N3)");
  if (!getOutputs())
    return success();
  if (getOutputs()->size() != getNumResults())
    return emitOpError("expected ") << getNumResults() << " names of outputs (N4), got " << getOutputs()->size();
  llvm::StringSet<> names;
  for (StringRef name : getOutputs()->getAsValueRange<StringAttr>())
    if (!name.empty() && !names.insert(name).second)
      return emitOpError("has two outputs named \"") << name << "\" (N4)";
  return success();
}

LogicalResult RmsNormOp::verify() {
  if (!getEpsilon().isFinite() || getEpsilon().isNegative() || getEpsilon().isZero())
    return emitOpError("expected a positive epsilon (R1)");
  return success();
}

LogicalResult SwigluOp::verify() {
  if (int64_t(getWidth()) < 1 || int64_t(getGateColumn()) < 0 || int64_t(getUpColumn()) < 0)
    return emitOpError("expected a positive width and columns from 0 on (S1)");
  return success();
}

LogicalResult AttentionOp::verify() {
  int64_t heads = getHeads(), kvHeads = getKvHeads(), size = getHeadSize();
  if (heads < 1 || kvHeads < 1 || heads % kvHeads != 0)
    return emitOpError("expected heads in a multiple of kv_heads (A1), got ") << heads << " and " << kvHeads;
  if (size < 2 || size % 2 != 0 || int64_t(getFrequencies().size()) != size / 2)
    return emitOpError("expected an even head_size and half as many frequencies (A2), got ")
           << size << " and " << getFrequencies().size();
  if (getColumns().size() != 3 || llvm::any_of(getColumns(), [](int64_t first) { return first < 0; }))
    return emitOpError("expected the first columns of queries, keys and values (A3)");
  if (!getNorms().empty() && getNorms().size() != 2)
    return emitOpError("expected norms of queries and keys, or none (A4), got ") << getNorms().size();
  if (!getCaches().empty() && getCaches().size() != 2)
    return emitOpError("expected a cache of keys and one of values, or none (A5), got ") << getCaches().size();
  return success();
}

#include "Node.h"

#include "quern/Support/Quoted.h"

#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace quern;
using namespace quern::import;

Result<Tensor> Node::input(int i) {
  if (!has(i))
    return wrong("its input " + std::to_string(i) + " is missing");
  return values[proto.input(i)];
}

Result<std::vector<Tensor>> Node::allInputs() {
  std::vector<Tensor> all;
  for (int i = 0; i < inputs(); ++i) {
    QUERN_ASSIGN(Tensor tensor, input(i));
    all.push_back(std::move(tensor));
  }
  if (all.empty())
    return wrong("has no inputs");
  return all;
}

Result<Dims> Node::sizes(int i, const char *what) {
  QUERN_ASSIGN(Tensor tensor, input(i));
  std::optional<Dims> elements = e.elementsOf(tensor);
  if (!elements)
    return wrong(std::string(what) + " (" + inQuotes(proto.input(i)) +
                 ") should be a list of integers of known length");
  return *elements;
}

Result<std::vector<int64_t>> Node::constants(int i, const char *what) {
  QUERN_ASSIGN(Dims elements, sizes(i, what));
  std::vector<int64_t> out;
  for (OpFoldResult element : elements) {
    std::optional<int64_t> known = getConstantIntValue(element);
    if (!known)
      return wrong(std::string(what) + " (" + inQuotes(proto.input(i)) +
                   ") should be known when compiling: make it an initializer or a Constant");
    out.push_back(*known);
  }
  return out;
}

void Node::set(int i, Tensor tensor) {
  if (wants(i))
    values[proto.output(i)] = std::move(tensor);
}

Status Node::checked() const {
  if (e.failure)
    return wrong(*e.failure);
  return {};
}

Status Node::finish(Result<Tensor> tensor) {
  if (!tensor)
    return wrong(tensor.error().message);
  set(0, *std::move(tensor));
  return {};
}

const onnx::AttributeProto *Node::attribute(const char *name) const {
  for (const onnx::AttributeProto &attribute : proto.attribute())
    if (attribute.name() == name)
      return &attribute;
  return nullptr;
}

int64_t Node::integer(const char *name, int64_t otherwise) const {
  const onnx::AttributeProto *found = attribute(name);
  return found ? found->i() : otherwise;
}
double Node::real(const char *name, double otherwise) const {
  const onnx::AttributeProto *found = attribute(name);
  return found ? double(found->f()) : otherwise;
}
std::string Node::text(const char *name, const char *otherwise) const {
  const onnx::AttributeProto *found = attribute(name);
  return found ? found->s() : otherwise;
}
std::optional<std::vector<int64_t>> Node::integers(const char *name) const {
  const onnx::AttributeProto *found = attribute(name);
  if (!found)
    return std::nullopt;
  return std::vector<int64_t>(found->ints().begin(), found->ints().end());
}

Result<int64_t> Node::axis(int64_t axis, int64_t rank) const {
  if (axis < -rank || axis >= rank)
    return wrong("axis " + std::to_string(axis) + " does not exist in a tensor of rank " + std::to_string(rank));
  return axis < 0 ? axis + rank : axis;
}

Result<llvm::SmallVector<bool>> Node::axisSet(const std::vector<int64_t> &axes, int64_t rank) const {
  llvm::SmallVector<bool> set(size_t(rank), false);
  for (int64_t one : axes) {
    QUERN_ASSIGN(int64_t at, axis(one, rank));
    set[size_t(at)] = true;
  }
  return set;
}

Result<std::optional<std::vector<int64_t>>> Node::axes() {
  if (attribute("axes"))
    return integers("axes");
  if (!has(1))
    return std::optional<std::vector<int64_t>>();
  QUERN_ASSIGN(std::vector<int64_t> known, constants(1, "axes"));
  return std::optional(known);
}

Value Node::checkedIndex(const Scalars &s, Value index, Value size) {
  Value at = s.make<arith::IndexCastOp>(s.b.getIndexType(), index);
  Value zero = s.make<arith::ConstantIndexOp>(0);
  Scalars sign{s.b, s.loc}; // whatever the elements are, indices are signed
  at = sign.select(sign.less(at, zero), sign.add(at, size), at);
  Value inside = s.make<arith::AndIOp>(sign.lessOrEqual(zero, at), sign.less(at, size));
  e.check(s.b, inside, "an index lies outside its axis");
  return at;
}

tl::unexpected<Error> Node::wrongType(int32_t type) const {
  const OnnxType *known = onnxType(type);
  return wrong("is not supported for elements of type " + (known ? known->name : std::to_string(type)));
}

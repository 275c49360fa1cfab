// Operators that give the same elements another shape, or speak of shapes.
#include "Node.h"

#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace quern;
using namespace quern::import;

using Predicate = arith::CmpIPredicate;

static Status importIdentity(Node &node) {
  QUERN_ASSIGN(Tensor x, node.input(0));
  node.set(0, x);
  return {};
}

/// 0 keeps the input's size (without allowzero), one -1 takes what is left.
static Status importReshape(Node &node) {
  Emitter &e = node.e;
  QUERN_ASSIGN(Tensor x, node.input(0));
  Dims wanted;
  if (auto old = node.integers("shape")) {
    for (int64_t size : *old)
      wanted.push_back(e.index(size));
  } else {
    QUERN_ASSIGN(wanted, node.sizes(1, "the new shape"));
  }
  bool allowZero = node.integer("allowzero", 0) != 0;
  for (size_t i = 0; i < wanted.size(); ++i)
    if (!allowZero && i < x.dims.size())
      wanted[i] = e.select(Predicate::eq, wanted[i], e.index(0), x.dims[i], wanted[i]);
  OpFoldResult others = e.index(1), all = e.product(x.dims);
  for (OpFoldResult size : wanted)
    others = e.product({others, e.select(Predicate::eq, size, e.index(-1), e.index(1), size)});
  // An empty tensor may have any size where -1 stands; 0 is what fits.
  OpFoldResult rest = e.div(all, e.max(others, e.index(1)));
  for (OpFoldResult &size : wanted)
    size = e.select(Predicate::eq, size, e.index(-1), rest, size);
  node.set(0, e.reshape(x, wanted));
  return {};
}

static Status importFlatten(Node &node) {
  Emitter &e = node.e;
  QUERN_ASSIGN(Tensor x, node.input(0));
  int64_t axis = node.integer("axis", 1);
  if (axis < -x.rank() || axis > x.rank())
    return node.wrong("axis " + std::to_string(axis) + " does not exist in a tensor of rank " +
                      std::to_string(x.rank()));
  axis += axis < 0 ? x.rank() : 0;
  ArrayRef<OpFoldResult> dims(x.dims);
  node.set(0, e.reshape(x, {e.product(dims.take_front(size_t(axis))), e.product(dims.drop_front(size_t(axis)))}));
  return {};
}

static Status importSqueeze(Node &node) {
  QUERN_ASSIGN(Tensor x, node.input(0));
  QUERN_ASSIGN(auto axes, node.axes());
  llvm::SmallVector<bool> dropped(size_t(x.rank()), false);
  if (axes) {
    QUERN_ASSIGN(dropped, node.axisSet(*axes, x.rank()));
  } else {
    for (auto [i, size] : llvm::enumerate(x.dims))
      dropped[i] = isConstantIntValue(size, 1);
  }
  Dims dims;
  for (auto [i, size] : llvm::enumerate(x.dims)) {
    if (!dropped[i])
      dims.push_back(size);
    else if (getConstantIntValue(size).value_or(1) != 1)
      return node.wrong("axis " + std::to_string(i) + " has the size " + std::to_string(*getConstantIntValue(size)) +
                        ", only a size of 1 can be left out");
  }
  node.set(0, node.e.reshape(x, dims));
  return {};
}

static Status importUnsqueeze(Node &node) {
  QUERN_ASSIGN(Tensor x, node.input(0));
  QUERN_ASSIGN(auto axes, node.axes());
  if (!axes)
    return node.wrong("needs axes");
  QUERN_ASSIGN(llvm::SmallVector<bool> added, node.axisSet(*axes, x.rank() + int64_t(axes->size())));
  if (size_t(llvm::count(added, true)) != axes->size())
    return node.wrong("names an axis twice");
  Dims dims;
  const OpFoldResult *next = x.dims.begin();
  for (bool one : added)
    dims.push_back(one ? node.e.index(1) : *next++);
  node.set(0, node.e.reshape(x, dims));
  return {};
}

static Status importTranspose(Node &node) {
  QUERN_ASSIGN(Tensor x, node.input(0));
  std::vector<int64_t> order;
  for (int64_t i = x.rank(); i-- > 0;)
    order.push_back(i);
  order = node.integers("perm").value_or(order);
  QUERN_ASSIGN(llvm::SmallVector<bool> seen, node.axisSet(order, x.rank()));
  if (int64_t(order.size()) != x.rank() || llvm::is_contained(seen, false))
    return node.wrong("its permutation does not name each axis once");
  for (int64_t &axis : order)
    axis += axis < 0 ? x.rank() : 0;
  node.set(0, node.e.transpose(x, order));
  return {};
}

static Status importShape(Node &node) {
  QUERN_ASSIGN(Tensor x, node.input(0));
  auto clamp = [&](int64_t at) { return std::clamp<int64_t>(at < 0 ? at + x.rank() : at, 0, x.rank()); };
  int64_t begin = clamp(node.integer("start", 0)), end = std::max(begin, clamp(node.integer("end", x.rank())));
  node.set(0, node.e.fromElements(Dims(x.dims.begin() + begin, x.dims.begin() + end), kI64));
  return {};
}

static Status importSize(Node &node) {
  QUERN_ASSIGN(Tensor x, node.input(0));
  node.set(0, node.e.fromElements({node.e.product(x.dims)}, kI64, /*scalar=*/true));
  return {};
}

static Status checkSizes(Node &node, const Dims &dims) {
  for (OpFoldResult size : dims)
    node.e.check(Predicate::sge, size, node.e.index(0), "asks for a negative size");
  return node.checked();
}

static Status importExpand(Node &node) {
  Emitter &e = node.e;
  QUERN_ASSIGN(Tensor x, node.input(0));
  QUERN_ASSIGN(Dims wanted, node.sizes(1, "the shape"));
  QUERN_TRY(checkSizes(node, wanted));
  auto dims = e.broadcast({x.dims, wanted});
  if (!dims)
    return node.wrong(dims.error().message);
  return node.finish(e.broadcastTo(x, *dims));
}

static Status importConstantOfShape(Node &node) {
  Emitter &e = node.e;
  QUERN_ASSIGN(Dims dims, node.sizes(0, "the shape"));
  QUERN_TRY(checkSizes(node, dims));
  const onnx::AttributeProto *attribute = node.attribute("value");
  if (!attribute) {
    node.set(0, e.compute(dims, kF32, [](const Scalars &s, ValueRange) { return s.constant(s.b.getF32Type(), 0); }));
    return {};
  }
  QUERN_ASSIGN(Tensor value, node.constant(attribute->t()));
  if (!isComputable(value.type) || value.rank() > 1)
    return node.wrong("its value should be one number");
  if (value.elements && value.elements->size() == 1 && dims.size() == 1 &&
      getConstantIntValue(dims[0]).value_or(INT64_MAX) <= 64) {
    node.set(0, e.fromElements(Dims(size_t(*getConstantIntValue(dims[0])), value.elements->front()), value.type));
    return {};
  }
  Tensor one = e.reshape(value, {});
  Value element = e.valueOf(one);
  node.set(0, e.compute(dims, value.type, [&](const Scalars &s, ValueRange) { return e.load(s, element, {}); }));
  return {};
}

static Status importConstant(Node &node) {
  for (const onnx::AttributeProto &attribute : node.proto.attribute()) {
    onnx::TensorProto tensor;
    tensor.set_name(node.proto.output(0));
    if (attribute.name() == "value") {
      QUERN_ASSIGN(Tensor value, node.constant(attribute.t()));
      node.set(0, value);
      return {};
    }
    bool list = attribute.name() == "value_floats" || attribute.name() == "value_ints";
    if (attribute.name() == "value_float" || attribute.name() == "value_floats") {
      tensor.set_data_type(kF32);
      *tensor.mutable_float_data() = attribute.floats();
      if (!list)
        tensor.add_float_data(attribute.f());
    } else if (attribute.name() == "value_int" || attribute.name() == "value_ints") {
      tensor.set_data_type(kI64);
      *tensor.mutable_int64_data() = attribute.ints();
      if (!list)
        tensor.add_int64_data(attribute.i());
    } else {
      continue;
    }
    if (list)
      tensor.add_dims(std::max(tensor.float_data_size(), tensor.int64_data_size()));
    QUERN_ASSIGN(Tensor value, node.constant(node.file.keep(std::move(tensor))));
    node.set(0, value);
    return {};
  }
  return node.wrong("has no value of numbers");
}

void import::addShapes(Operators &operators) {
  operators["Identity"] = importIdentity;
  operators["Reshape"] = importReshape;
  operators["Flatten"] = importFlatten;
  operators["Squeeze"] = importSqueeze;
  operators["Unsqueeze"] = importUnsqueeze;
  operators["Transpose"] = importTranspose;
  operators["Shape"] = importShape;
  operators["Size"] = importSize;
  operators["Expand"] = importExpand;
  operators["ConstantOfShape"] = importConstantOfShape;
  operators["Constant"] = importConstant;
}

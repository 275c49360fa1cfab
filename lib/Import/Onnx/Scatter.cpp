// Operators that write elements at places that the data tells, and GatherND, which reads them there.
#include "Node.h"

#include "quern/Support/Quoted.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace quern;
using namespace quern::import;

using Predicate = arith::CmpIPredicate;

namespace {
/// What becomes of the element that is there already.
using Combine = Value (*)(const Scalars &, Value old, Value update);
} // namespace

static Result<Combine> combineOf(Node &node, int32_t type) {
  std::string how = node.text("reduction", "none");
  if (how == "none")
    return [](const Scalars &, Value, Value update) { return update; };
  if (!isFloat(type) && !isInteger(type))
    return node.wrongType(type);
  if (how == "add")
    return [](const Scalars &s, Value old, Value update) { return s.add(old, update); };
  if (how == "mul")
    return [](const Scalars &s, Value old, Value update) { return s.mul(old, update); };
  if (how == "min")
    return [](const Scalars &s, Value old, Value update) { return s.min(old, update); };
  if (how == "max")
    return [](const Scalars &s, Value old, Value update) { return s.max(old, update); };
  return node.wrong("has the reduction " + inQuotes(how) + "; none, add, mul, min and max are known");
}

/// Checks that the shapes are equal, now or at run time.
static Status checkEqual(Node &node, ArrayRef<OpFoldResult> left, ArrayRef<OpFoldResult> right, const char *message) {
  if (left.size() != right.size())
    return node.wrong(message);
  for (auto [one, other] : llvm::zip(left, right)) {
    std::optional<int64_t> known = getConstantIntValue(one), otherKnown = getConstantIntValue(other);
    if (known && otherKnown && *known != *otherKnown)
      return node.wrong(message);
    if (!known || !otherKnown)
      node.e.check(Predicate::eq, one, other, message);
  }
  return {};
}

/// Writes updates[at] where `place` says, for each `at` in row-major order; later ones win.
static Status scatter(Node &node, Tensor x, Tensor updates,
                      llvm::function_ref<llvm::SmallVector<Value>(const Scalars &, ValueRange at)> place) {
  Emitter &e = node.e;
  if (!isComputable(x.type) || updates.type != x.type)
    return node.wrongType(updates.type);
  QUERN_ASSIGN(Combine combine, combineOf(node, x.type));
  Value source = e.valueOf(updates);
  node.set(0, e.forEach(updates.dims, x, [&](const Scalars &s, ValueRange at, Value tensor) {
    llvm::SmallVector<Value> to = place(s, at);
    return e.store(s, combine(s, e.load(s, tensor, to), e.load(s, source, at)), tensor, to);
  }));
  return {};
}

static Status importScatterElements(Node &node) {
  Emitter &e = node.e;
  QUERN_ASSIGN(Tensor x, node.input(0));
  QUERN_ASSIGN(Tensor indices, node.input(1));
  QUERN_ASSIGN(Tensor updates, node.input(2));
  QUERN_ASSIGN(int64_t axis, node.axis(node.integer("axis", 0), x.rank()));
  if (!isIndex(indices.type) || indices.rank() != x.rank())
    return node.wrong("needs integer indices of the rank of its data");
  QUERN_TRY(checkEqual(node, updates.dims, indices.dims, "its updates and indices have different shapes"));
  for (int64_t i = 0; i < x.rank(); ++i)
    if (i != axis)
      e.check(Predicate::sle, indices.dims[i], x.dims[i], "its indices reach beyond the data");
  Value places = e.valueOf(indices), size = e.toValue(x.dims[axis]);
  return scatter(node, x, updates, [&](const Scalars &s, ValueRange at) {
    llvm::SmallVector<Value> to(at);
    to[size_t(axis)] = node.checkedIndex(s, s.make<tensor::ExtractOp>(places, at), size);
    return to;
  });
}

/// The number of indices that one row of an ND operator's indices holds: its last dimension.
static Result<int64_t> rowLength(Node &node, const Tensor &indices, int64_t most) {
  if (!isIndex(indices.type) || indices.rank() == 0)
    return node.wrong("needs integer indices of rank 1 or more");
  std::optional<int64_t> length = getConstantIntValue(indices.dims.back());
  if (!length || *length > most)
    return node.wrong("the last dimension of its indices should be known when compiling and at most " +
                      std::to_string(most));
  return *length;
}

/// The indices in the row of `indices` at `row`, for the axes of x from `first` on.
static llvm::SmallVector<Value> readRow(Node &node, const Scalars &s, Value indices, ValueRange row,
                                        ArrayRef<Value> sizes) {
  llvm::SmallVector<Value> out, at(row);
  at.push_back(Value());
  for (auto [i, size] : llvm::enumerate(sizes)) {
    at.back() = s.make<arith::ConstantIndexOp>(int64_t(i));
    out.push_back(node.checkedIndex(s, s.make<tensor::ExtractOp>(indices, at), size));
  }
  return out;
}

static llvm::SmallVector<Value> sizeValues(Emitter &e, ArrayRef<OpFoldResult> dims) {
  llvm::SmallVector<Value> sizes;
  for (OpFoldResult size : dims)
    sizes.push_back(e.toValue(size));
  return sizes;
}

static Status importScatterND(Node &node) {
  Emitter &e = node.e;
  QUERN_ASSIGN(Tensor x, node.input(0));
  QUERN_ASSIGN(Tensor indices, node.input(1));
  QUERN_ASSIGN(Tensor updates, node.input(2));
  QUERN_ASSIGN(int64_t length, rowLength(node, indices, x.rank()));
  Dims wanted(indices.dims.begin(), indices.dims.end() - 1);
  size_t outer = wanted.size();
  wanted.append(x.dims.begin() + length, x.dims.end());
  QUERN_TRY(checkEqual(node, updates.dims, wanted, "the shape of its updates does not fit its indices and data"));
  Value places = e.valueOf(indices);
  llvm::SmallVector<Value> sizes = sizeValues(e, ArrayRef(x.dims).take_front(size_t(length)));
  return scatter(node, x, updates, [&](const Scalars &s, ValueRange at) {
    llvm::SmallVector<Value> to = readRow(node, s, places, at.take_front(outer), sizes);
    llvm::append_range(to, at.drop_front(outer));
    return to;
  });
}

static Status importGatherND(Node &node) {
  Emitter &e = node.e;
  QUERN_ASSIGN(Tensor x, node.input(0));
  QUERN_ASSIGN(Tensor indices, node.input(1));
  int64_t batch = node.integer("batch_dims", 0);
  if (!isComputable(x.type))
    return node.wrongType(x.type);
  if (batch < 0 || batch >= std::min(x.rank(), indices.rank()))
    return node.wrong("has " + std::to_string(batch) + " batch dimensions, more than its inputs allow");
  QUERN_ASSIGN(int64_t length, rowLength(node, indices, x.rank() - batch));
  ArrayRef<OpFoldResult> shape(x.dims), shared = shape.take_front(size_t(batch));
  QUERN_TRY(checkEqual(node, shared, ArrayRef(indices.dims).take_front(size_t(batch)),
                       "the batch dimensions of its inputs differ"));
  Dims dims(indices.dims.begin(), indices.dims.end() - 1);
  size_t outer = dims.size();
  dims.append(x.dims.begin() + batch + length, x.dims.end());
  Value source = e.valueOf(x), places = e.valueOf(indices);
  llvm::SmallVector<Value> sizes = sizeValues(e, shape.slice(size_t(batch), size_t(length)));
  node.set(0, e.compute(dims, x.type, [&](const Scalars &s, ValueRange at) {
    llvm::SmallVector<Value> from(at.take_front(size_t(batch)));
    llvm::append_range(from, readRow(node, s, places, at.take_front(outer), sizes));
    llvm::append_range(from, at.drop_front(outer));
    return e.load(s, source, from);
  }));
  return {};
}

/// Writes `update` into a cache from write_indices[batch] on along an axis; in circular mode it goes on at the start.
static Status importTensorScatter(Node &node) {
  Emitter &e = node.e;
  QUERN_ASSIGN(Tensor x, node.input(0));
  QUERN_ASSIGN(Tensor updates, node.input(1));
  QUERN_ASSIGN(int64_t axis, node.axis(node.integer("axis", -2), x.rank()));
  std::string mode = node.text("mode", "linear");
  if (axis == 0 || (mode != "linear" && mode != "circular"))
    return node.wrong("needs an axis other than 0 and the mode linear or circular");
  Dims wanted(x.dims);
  if (updates.rank() == x.rank())
    wanted[axis] = updates.dims[axis];
  QUERN_TRY(checkEqual(node, updates.dims, wanted, "its update does not fit its cache"));
  e.check(Predicate::sle, updates.dims[axis], x.dims[axis], "its update is longer than its cache");
  Value starts, size = e.toValue(x.dims[axis]);
  if (node.has(2)) {
    QUERN_ASSIGN(Tensor indices, node.input(2));
    if (!isIndex(indices.type) || indices.rank() != 1)
      return node.wrong("its write indices should be a list of integers");
    QUERN_TRY(checkEqual(node, indices.dims, x.dims[0], "needs one write index for each row of the batch"));
    starts = e.valueOf(indices);
  }
  return scatter(node, x, updates, [&](const Scalars &s, ValueRange at) {
    llvm::SmallVector<Value> to(at);
    Value &place = to[size_t(axis)];
    if (!starts)
      return to;
    Value start = s.make<arith::IndexCastOp>(s.b.getIndexType(), s.make<tensor::ExtractOp>(starts, at[0]));
    e.check(s.b, s.make<arith::CmpIOp>(Predicate::sge, start, s.make<arith::ConstantIndexOp>(0)),
            "a write index is negative");
    place = s.make<arith::AddIOp>(place, start);
    if (mode == "circular")
      place = s.make<arith::RemUIOp>(place, size);
    else
      e.check(s.b, s.make<arith::CmpIOp>(Predicate::ult, place, size), "its update reaches beyond its cache");
    return to;
  });
}

void import::addScatter(Operators &operators) {
  operators["Scatter"] = importScatterElements; // its name before opset 11
  operators["ScatterElements"] = importScatterElements;
  operators["ScatterND"] = importScatterND;
  operators["GatherND"] = importGatherND;
  operators["TensorScatter"] = importTensorScatter;
}

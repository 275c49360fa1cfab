// Operators that choose elements: concatenation, gathering, repetition, ranges.
#include "Node.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace quern;
using namespace quern::import;

using Predicate = arith::CmpIPredicate;

/// Inputs of Concat must agree but along the axis.
static Status checkPieces(Node &node, const std::vector<Tensor> &inputs, int64_t axis) {
  const Tensor &first = inputs[0];
  for (const Tensor &input : inputs) {
    if (input.type != first.type || input.rank() != first.rank())
      return node.wrong("its inputs differ in type or rank");
    for (int64_t i = 0; i < first.rank(); ++i)
      if (i != axis)
        node.e.check(Predicate::eq, input.dims[i], first.dims[i],
                     "its inputs have different sizes along axis " + std::to_string(i));
  }
  return node.checked();
}

static Status importConcat(Node &node) {
  Emitter &e = node.e;
  QUERN_ASSIGN(std::vector<Tensor> inputs, node.allInputs());
  Tensor &first = inputs[0];
  QUERN_ASSIGN(int64_t axis, node.axis(node.integer("axis", 0), first.rank()));
  QUERN_TRY(checkPieces(node, inputs, axis));
  Dims dims(first.dims), elements, offsets;
  dims[axis] = e.index(0);
  bool followed = first.rank() == 1;
  for (Tensor &input : inputs) {
    followed &= input.elements.has_value();
    if (followed)
      elements.append(*input.elements);
    offsets.push_back(dims[axis]);
    dims[axis] = e.add(dims[axis], input.dims[axis]);
  }
  e.check(Predicate::sge, dims[axis], e.index(0), "its inputs are together longer than any machine holds");
  QUERN_TRY(node.checked());
  if (followed && elements.size() <= 64) {
    node.set(0, e.fromElements(elements, first.type));
    return {};
  }
  if (!isComputable(first.type))
    return node.wrongType(first.type);
  Value out = tensor::EmptyOp::create(e.b, e.loc, dims, e.elementType(first.type));
  Dims steps(dims.size(), e.index(1));
  for (auto [input, offset] : llvm::zip(inputs, offsets)) {
    if (llvm::any_of(input.dims, [](OpFoldResult size) { return isConstantIntValue(size, 0); }))
      continue; // insert_slice refuses offsets at the end of an axis, where empty pieces lie
    Dims starts(dims.size(), e.index(0));
    starts[axis] = offset;
    out = tensor::InsertSliceOp::create(e.b, e.loc, e.valueOf(input), out, starts, input.dims, steps);
  }
  node.set(0, Tensor{out, first.type, dims, {}});
  return {};
}

/// Gather on a followed shape with known indices.
static bool gatherElements(Node &node, Tensor &x, Tensor &indices) {
  if (!x.elements || !indices.elements || x.rank() != 1)
    return false;
  Dims chosen;
  for (OpFoldResult index : *indices.elements) {
    std::optional<int64_t> at = getConstantIntValue(index);
    int64_t size = int64_t(x.elements->size());
    if (!at || *at < -size || *at >= size)
      return false;
    chosen.push_back((*x.elements)[*at < 0 ? *at + size : *at]);
  }
  node.set(0, node.e.fromElements(chosen, x.type, indices.rank() == 0));
  return true;
}

static Status importGather(Node &node) {
  Emitter &e = node.e;
  QUERN_ASSIGN(Tensor x, node.input(0));
  QUERN_ASSIGN(Tensor indices, node.input(1));
  QUERN_ASSIGN(int64_t axis, node.axis(node.integer("axis", 0), x.rank()));
  if (!isIndex(indices.type) || !isComputable(x.type))
    return node.wrongType(isIndex(indices.type) ? x.type : indices.type);
  if (gatherElements(node, x, indices))
    return {};
  Dims dims(x.dims.begin(), x.dims.begin() + axis);
  dims.append(indices.dims);
  dims.append(x.dims.begin() + axis + 1, x.dims.end());
  Value source = e.valueOf(x), places = e.valueOf(indices), size = e.toValue(x.dims[axis]);
  node.set(0, e.compute(dims, x.type, [&](const Scalars &s, ValueRange at) {
    Value index = s.make<tensor::ExtractOp>(places, at.slice(size_t(axis), size_t(indices.rank())));
    llvm::SmallVector<Value> from(at.take_front(size_t(axis)));
    from.push_back(node.checkedIndex(s, index, size));
    llvm::append_range(from, at.drop_front(size_t(axis + indices.rank())));
    return e.load(s, source, from);
  }));
  return {};
}

static Status importGatherElements(Node &node) {
  Emitter &e = node.e;
  QUERN_ASSIGN(Tensor x, node.input(0));
  QUERN_ASSIGN(Tensor indices, node.input(1));
  QUERN_ASSIGN(int64_t axis, node.axis(node.integer("axis", 0), x.rank()));
  if (!isIndex(indices.type) || !isComputable(x.type) || indices.rank() != x.rank())
    return node.wrongType(isIndex(indices.type) ? x.type : indices.type);
  for (int64_t i = 0; i < x.rank(); ++i)
    if (i != axis)
      e.check(Predicate::sle, indices.dims[i], x.dims[i], "its indices reach beyond the data");
  Value source = e.valueOf(x), places = e.valueOf(indices), size = e.toValue(x.dims[axis]);
  node.set(0, e.compute(indices.dims, x.type, [&](const Scalars &s, ValueRange at) {
    llvm::SmallVector<Value> from(at);
    from[size_t(axis)] = node.checkedIndex(s, s.make<tensor::ExtractOp>(places, at), size);
    return e.load(s, source, from);
  }));
  return {};
}

static Status importTile(Node &node) {
  Emitter &e = node.e;
  QUERN_ASSIGN(Tensor x, node.input(0));
  QUERN_ASSIGN(Dims repeats, node.sizes(1, "the repeats"));
  if (!isComputable(x.type))
    return node.wrongType(x.type);
  if (int64_t(repeats.size()) != x.rank())
    return node.wrong("needs one repeat for each axis");
  Dims dims;
  llvm::SmallVector<Value> sizes;
  for (auto [size, repeat] : llvm::zip(x.dims, repeats)) {
    e.check(Predicate::sge, repeat, e.index(0), "has a negative repeat");
    dims.push_back(e.product({size, repeat}));
    e.check(Predicate::ne, dims.back(), e.index(INT64_MAX), "a repeat makes its axis longer than any machine holds");
    sizes.push_back(e.toValue(size));
  }
  QUERN_TRY(node.checked());
  Value source = e.valueOf(x);
  node.set(0, e.compute(dims, x.type, [&](const Scalars &s, ValueRange at) {
    llvm::SmallVector<Value> from;
    for (auto [index, size] : llvm::zip(at, sizes))
      from.push_back(s.make<arith::RemUIOp>(index, size));
    return e.load(s, source, from);
  }));
  return {};
}

/// Range of known integers: sizes and axes that stay followed.
static std::optional<Dims> knownRange(Emitter &e, ArrayRef<Tensor> inputs) {
  int64_t part[3];
  for (int i = 0; i < 3; ++i) {
    if (!inputs[i].elements || inputs[i].elements->size() != 1)
      return std::nullopt;
    std::optional<int64_t> known = getConstantIntValue(inputs[i].elements->front());
    constexpr int64_t kLargest = int64_t(1) << 31; // no sum below overflows
    if (!known || *known > kLargest || *known < -kLargest)
      return std::nullopt;
    part[i] = *known;
  }
  Dims out;
  for (int64_t at = part[0]; part[2] > 0 ? at < part[1] : part[2] < 0 && at > part[1]; at += part[2]) {
    if (out.size() == 64)
      return std::nullopt;
    out.push_back(e.index(at));
  }
  return out;
}

/// Range of integers or floats: ceil((limit - start) / delta) elements.
static Status importRange(Node &node) {
  Emitter &e = node.e;
  QUERN_ASSIGN(std::vector<Tensor> inputs, node.allInputs());
  if (inputs.size() != 3 || inputs[0].rank() + inputs[1].rank() + inputs[2].rank() != 0)
    return node.wrong("needs three scalars");
  int32_t type = inputs[0].type;
  if ((!isFloat(type) && !isInteger(type)) || inputs[1].type != type || inputs[2].type != type)
    return node.wrongType(type);
  if (std::optional<Dims> known = knownRange(e, inputs)) {
    node.set(0, e.fromElements(*known, type));
    return {};
  }
  Scalars s{e.b, e.loc};
  Value part[3];
  for (int i = 0; i < 3; ++i)
    part[i] = e.load(s, e.valueOf(inputs[i]), {});
  Value count;
  if (isFloat(type)) {
    Value steps = s.make<math::CeilOp>(s.div(s.sub(part[1], part[0]), part[2]));
    Value none = s.constant(steps.getType(), 0), most = s.constant(steps.getType(), 1e15); // beyond any memory
    steps = s.select(s.less(none, steps), s.min(steps, most), none);
    count = s.make<arith::FPToSIOp>(e.b.getI64Type(), steps);
  } else {
    auto wide = [&](Value x) { return type == kI64 ? x : s.make<arith::ExtSIOp>(e.b.getI64Type(), x); };
    Value zero = s.integer(e.b.getI64Type(), 0), delta = wide(part[2]);
    Value distance = s.sub(wide(part[1]), wide(part[0])), whole = s.div(distance, delta);
    Value rest = s.sub(distance, s.mul(whole, delta));
    Value sameSign = s.make<arith::CmpIOp>(Predicate::sge, s.make<arith::XOrIOp>(rest, delta), zero);
    Value more = s.make<arith::AndIOp>(sameSign, s.make<arith::CmpIOp>(Predicate::ne, rest, zero));
    count = s.max(s.add(whole, s.make<arith::ExtUIOp>(e.b.getI64Type(), more)), zero);
  }
  OpFoldResult size = s.make<arith::IndexCastOp>(e.b.getIndexType(), count);
  node.set(0, e.compute({size}, type, [&](const Scalars &in, ValueRange at) {
    Value wide = in.make<arith::IndexCastOp>(in.b.getI64Type(), at[0]), step = wide;
    if (isFloat(type))
      step = in.make<arith::SIToFPOp>(part[0].getType(), wide);
    else if (type != kI64)
      step = in.make<arith::TruncIOp>(part[0].getType(), wide);
    return in.add(part[0], in.mul(step, part[2]));
  }));
  return {};
}

void import::addIndexing(Operators &operators) {
  operators["Concat"] = importConcat;
  operators["Gather"] = importGather;
  operators["GatherElements"] = importGatherElements;
  operators["Tile"] = importTile;
  operators["Range"] = importRange;
}

// Operators that choose elements: slices, concatenation, gathering.
#include "Node.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace quern;
using namespace quern::import;

using Predicate = arith::CmpIPredicate;

/// Elements start + i * step along each axis of x.
static Tensor strided(Emitter &e, Tensor x, ArrayRef<OpFoldResult> starts, ArrayRef<OpFoldResult> steps,
                      const Dims &dims) {
  Value source = e.valueOf(x);
  llvm::SmallVector<Value> start, step;
  for (size_t i = 0; i < dims.size(); ++i) {
    start.push_back(e.toValue(starts[i]));
    step.push_back(e.toValue(steps[i]));
  }
  return e.compute(dims, x.type, [&](const Scalars &s, ValueRange indices) {
    llvm::SmallVector<Value> at;
    for (size_t i = 0; i < dims.size(); ++i)
      at.push_back(s.add(start[i], s.mul(indices[i], step[i])));
    return e.load(s, source, at);
  });
}

/// The slices of an operator: from its inputs, or from the attributes of opset 1.
static Result<Dims> sliceSizes(Node &node, int i, const char *attribute, const char *what) {
  Dims out;
  if (auto old = node.integers(attribute)) {
    for (int64_t value : *old)
      out.push_back(node.e.index(value));
    return out;
  }
  return node.sizes(i, what);
}

/// The step of a slice, kept small enough that sums of it and a size do not wrap.
/// No axis that holds elements is longer.
static OpFoldResult boundedStep(Emitter &e, OpFoldResult step) {
  constexpr int64_t kLongest = int64_t(1) << 62;
  return e.max(e.min(step, e.index(kLongest)), e.index(-kLongest));
}

/// A start or an end is counted from the end if negative, and kept within the axis: for a negative step from -1 to
/// size - 1, else from 0 to size. A dynamic step counts as unknown, so both are computed.
static OpFoldResult clampTo(Emitter &e, OpFoldResult at, OpFoldResult size, OpFoldResult step, bool isStart) {
  at = e.select(Predicate::slt, at, e.index(0), e.add(at, size), at);
  OpFoldResult last = e.sub(size, e.index(1));
  OpFoldResult forwards = e.max(e.min(at, size), e.index(0));
  OpFoldResult backwards = e.max(e.min(at, last), e.index(isStart ? 0 : -1));
  return e.select(Predicate::slt, step, e.index(0), backwards, forwards);
}

static Status importSlice(Node &node) {
  Emitter &e = node.e;
  QUERN_ASSIGN(Tensor x, node.input(0));
  QUERN_ASSIGN(Dims starts, sliceSizes(node, 1, "starts", "the starts"));
  QUERN_ASSIGN(Dims ends, sliceSizes(node, 2, "ends", "the ends"));
  std::vector<int64_t> axes;
  for (size_t i = 0; i < starts.size(); ++i)
    axes.push_back(int64_t(i));
  if (node.has(3)) {
    QUERN_ASSIGN(axes, node.constants(3, "the axes"));
  } else {
    axes = node.integers("axes").value_or(axes);
  }
  Dims steps(starts.size(), e.index(1));
  if (node.has(4)) {
    QUERN_ASSIGN(steps, node.sizes(4, "the steps"));
  }
  if (ends.size() != starts.size() || axes.size() != starts.size() || steps.size() != starts.size())
    return node.wrong("its starts, ends, axes and steps differ in number");
  Dims dims(x.dims), begin(x.dims.size(), e.index(0)), stride(x.dims.size(), e.index(1));
  for (size_t i = 0; i < starts.size(); ++i) {
    QUERN_ASSIGN(int64_t axis, node.axis(axes[i], x.rank()));
    if (isConstantIntValue(steps[i], 0))
      return node.wrong("has a step of 0");
    OpFoldResult size = x.dims[axis], step = boundedStep(e, steps[i]), zero = e.index(0);
    if (!getConstantIntValue(step))
      e.check(Predicate::ne, step, zero, "has a step of 0");
    begin[axis] = clampTo(e, starts[i], size, step, true);
    OpFoldResult end = clampTo(e, ends[i], size, step, false);
    // The number of steps, rounded up: (distance + step - sign) / step for both signs of the step.
    OpFoldResult distance = e.sub(end, begin[axis]);
    OpFoldResult backwards = e.div(e.sub(e.sub(zero, distance), e.add(step, e.index(1))),
                                   e.max(e.sub(zero, step), e.index(1)));
    OpFoldResult forwards = e.div(e.add(distance, e.sub(step, e.index(1))), e.max(step, e.index(1)));
    OpFoldResult count = e.select(Predicate::slt, step, zero, backwards, forwards);
    // An empty axis has no element to begin with, though a negative step begins at 0.
    dims[axis] = e.max(e.min(count, size), zero);
    stride[axis] = step;
  }
  if (x.elements && x.rank() == 1 && getConstantIntValue(dims[0]) && getConstantIntValue(begin[0]) &&
      getConstantIntValue(stride[0])) {
    Dims chosen;
    for (int64_t i = 0; i < *getConstantIntValue(dims[0]); ++i)
      chosen.push_back((*x.elements)[*getConstantIntValue(begin[0]) + i * *getConstantIntValue(stride[0])]);
    node.set(0, e.fromElements(chosen, x.type));
    return {};
  }
  node.set(0, strided(e, x, begin, stride, dims));
  return {};
}

/// The parts of Split: given, or as equal as may be.
static Result<Dims> splitSizes(Node &node, OpFoldResult size) {
  Dims parts;
  if (auto old = node.integers("split")) {
    for (int64_t part : *old)
      parts.push_back(node.e.index(part));
    return parts;
  }
  if (node.has(1))
    return node.sizes(1, "the sizes of the parts");
  int64_t count = node.integer("num_outputs", node.outputs());
  if (count != node.outputs())
    return node.wrong("has " + std::to_string(count) + " parts, but " + std::to_string(node.outputs()) + " outputs");
  OpFoldResult each = node.e.div(node.e.add(size, node.e.index(count - 1)), node.e.index(count));
  for (int64_t i = 0; i < count; ++i)
    parts.push_back(i + 1 < count ? each : node.e.sub(size, node.e.mul(each, node.e.index(count - 1))));
  return parts;
}

static Status importSplit(Node &node) {
  Emitter &e = node.e;
  QUERN_ASSIGN(Tensor x, node.input(0));
  QUERN_ASSIGN(int64_t axis, node.axis(node.integer("axis", 0), x.rank()));
  QUERN_ASSIGN(Dims parts, splitSizes(node, x.dims[axis]));
  if (int(parts.size()) != node.outputs())
    return node.wrong("has " + std::to_string(parts.size()) + " parts, but " + std::to_string(node.outputs()) +
                      " outputs");
  Dims offsets;
  OpFoldResult total = e.index(0);
  for (OpFoldResult part : parts) {
    e.check(Predicate::sge, part, e.index(0), "has a part of negative size");
    offsets.push_back(total);
    total = e.add(total, part);
    e.check(Predicate::sge, total, e.index(0), "its parts do not add up to the axis"); // the sum wrapped
  }
  e.check(Predicate::eq, total, x.dims[axis], "its parts do not add up to the axis");
  QUERN_TRY(node.checked());
  Dims starts(x.dims.size(), e.index(0)), steps(x.dims.size(), e.index(1)), dims(x.dims);
  for (auto [i, part] : llvm::enumerate(parts)) {
    starts[axis] = offsets[i];
    dims[axis] = part;
    node.set(int(i), strided(e, x, starts, steps, dims));
  }
  return {};
}

static Status importConcat(Node &node) {
  Emitter &e = node.e;
  QUERN_ASSIGN(std::vector<Tensor> inputs, node.allInputs());
  Tensor &first = inputs[0];
  QUERN_ASSIGN(int64_t axis, node.axis(node.integer("axis", 0), first.rank()));
  Dims dims(first.dims), elements, offsets;
  dims[axis] = e.index(0);
  bool followed = first.rank() == 1;
  for (Tensor &input : inputs) {
    if (input.type != first.type || input.rank() != first.rank())
      return node.wrong("its inputs differ in type or rank");
    for (int64_t i = 0; i < first.rank(); ++i) {
      std::optional<int64_t> left = getConstantIntValue(input.dims[i]), right = getConstantIntValue(first.dims[i]);
      if (i != axis && left && right && *left != *right)
        return node.wrong("its inputs have the sizes " + std::to_string(*right) + " and " + std::to_string(*left) +
                          " along axis " + std::to_string(i));
      if (i != axis)
        e.check(Predicate::eq, input.dims[i], first.dims[i], "its inputs have different sizes");
    }
    followed &= input.elements.has_value();
    if (followed)
      elements.append(*input.elements);
    offsets.push_back(dims[axis]);
    dims[axis] = e.add(dims[axis], input.dims[axis]);
  }
  if (followed && elements.size() <= 64) {
    node.set(0, e.fromElements(elements, first.type));
    return {};
  }
  if (!isComputable(first.type))
    return node.wrongType(first.type);
  Value out = tensor::EmptyOp::create(e.b, e.loc, dims, e.elementType(first.type));
  Dims steps(dims.size(), e.index(1));
  for (auto [input, offset] : llvm::zip(inputs, offsets)) {
    if (isConstantIntValue(input.dims[axis], 0))
      continue; // insert_slice refuses an offset at the end, where an empty last piece lies
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
  operators["Slice"] = importSlice;
  operators["Split"] = importSplit;
  operators["Concat"] = importConcat;
  operators["Gather"] = importGather;
  operators["GatherElements"] = importGatherElements;
  operators["Tile"] = importTile;
  operators["Range"] = importRange;
}

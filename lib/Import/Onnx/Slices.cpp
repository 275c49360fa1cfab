// Slice and Split: pieces of a tensor along its axes.
#include "Node.h"

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

namespace {
/// What Slice takes along some axes.
struct Slices {
  std::vector<int64_t> axes;
  Dims starts, ends, steps;
};
} // namespace

static Result<Slices> readSlices(Node &node) {
  Slices slices;
  QUERN_ASSIGN(slices.starts, sliceSizes(node, 1, "starts", "the starts"));
  QUERN_ASSIGN(slices.ends, sliceSizes(node, 2, "ends", "the ends"));
  for (size_t i = 0; i < slices.starts.size(); ++i)
    slices.axes.push_back(int64_t(i));
  if (node.has(3)) {
    QUERN_ASSIGN(slices.axes, node.constants(3, "the axes"));
  } else {
    slices.axes = node.integers("axes").value_or(slices.axes);
  }
  slices.steps.assign(slices.starts.size(), node.e.index(1));
  if (node.has(4)) {
    QUERN_ASSIGN(slices.steps, node.sizes(4, "the steps"));
  }
  size_t count = slices.starts.size();
  if (slices.ends.size() != count || slices.axes.size() != count || slices.steps.size() != count)
    return node.wrong("its starts, ends, axes and steps differ in number");
  return slices;
}

/// The number of steps from `begin` to `end` along an axis, rounded up: (distance + step - sign) / step for both signs
/// of the step.
static OpFoldResult countSteps(Emitter &e, OpFoldResult begin, OpFoldResult end, OpFoldResult step, OpFoldResult size) {
  OpFoldResult zero = e.index(0), one = e.index(1), distance = e.sub(end, begin);
  OpFoldResult backwards = e.div(e.sub(e.sub(zero, distance), e.add(step, one)), e.max(e.sub(zero, step), one));
  OpFoldResult forwards = e.div(e.add(distance, e.sub(step, one)), e.max(step, one));
  OpFoldResult count = e.select(Predicate::slt, step, zero, backwards, forwards);
  // An empty axis has no element to begin with, though a negative step begins at 0.
  return e.max(e.min(count, size), zero);
}

/// The elements that are sliced from followed ones; nothing where the slice is not known.
static std::optional<Dims> slicedElements(const Tensor &x, const Dims &begin, const Dims &stride, const Dims &dims) {
  if (!x.elements || x.rank() != 1)
    return std::nullopt;
  std::optional<int64_t> first = getConstantIntValue(begin[0]), step = getConstantIntValue(stride[0]),
                         count = getConstantIntValue(dims[0]);
  if (!first || !step || !count)
    return std::nullopt;
  Dims chosen;
  for (int64_t i = 0; i < *count; ++i)
    chosen.push_back((*x.elements)[size_t(*first + i * *step)]);
  return chosen;
}

static Status importSlice(Node &node) {
  Emitter &e = node.e;
  QUERN_ASSIGN(Tensor x, node.input(0));
  QUERN_ASSIGN(Slices slices, readSlices(node));
  Dims dims(x.dims), begin(x.dims.size(), e.index(0)), stride(x.dims.size(), e.index(1));
  for (size_t i = 0; i < slices.starts.size(); ++i) {
    QUERN_ASSIGN(int64_t axis, node.axis(slices.axes[i], x.rank()));
    if (isConstantIntValue(slices.steps[i], 0))
      return node.wrong("has a step of 0");
    OpFoldResult size = x.dims[axis], step = boundedStep(e, slices.steps[i]);
    e.check(Predicate::ne, step, e.index(0), "has a step of 0");
    begin[axis] = clampTo(e, slices.starts[i], size, step, true);
    dims[axis] = countSteps(e, begin[axis], clampTo(e, slices.ends[i], size, step, false), step, size);
    stride[axis] = step;
  }
  if (std::optional<Dims> chosen = slicedElements(x, begin, stride, dims))
    node.set(0, e.fromElements(*chosen, x.type));
  else
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

void import::addSlices(Operators &operators) {
  operators["Slice"] = importSlice;
  operators["Split"] = importSplit;
}

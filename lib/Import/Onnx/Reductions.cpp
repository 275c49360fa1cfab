// ReduceSum and its relatives.
#include "Node.h"

#include "mlir/Dialect/Utils/StaticValueUtils.h"

#include <cmath>

using namespace mlir;
using namespace quern;
using namespace quern::import;

namespace {
/// A reduction: what happens to an element before, how elements are combined, what happens to the result.
struct Reduction {
  Value (*before)(const Scalars &, Value);
  Value (*combine)(const Scalars &, Value element, Value sum);
  Value (*after)(const Scalars &, Value);
  bool transcendental; ///< needs functions that exist in f32 only
};
enum class Start { Zero, One, Least, Greatest };
} // namespace

/// The neutral element; of an empty set it is the result.
static TypedAttr startOf(Emitter &e, Start start, int32_t type) {
  Type element = e.computeType(type);
  if (auto floating = dyn_cast<FloatType>(element)) {
    double value = start == Start::Zero    ? 0
                   : start == Start::One   ? 1
                   : start == Start::Least ? -INFINITY
                                           : INFINITY;
    return e.b.getFloatAttr(floating, value);
  }
  unsigned bits = element.getIntOrFloatBitWidth();
  bool plain = isUnsigned(type) || type == kBool;
  APInt value = start == Start::Zero    ? APInt::getZero(bits)
                : start == Start::One   ? APInt(bits, 1)
                : start == Start::Least ? (plain ? APInt::getZero(bits) : APInt::getSignedMinValue(bits))
                                        : (plain ? APInt::getMaxValue(bits) : APInt::getSignedMaxValue(bits));
  return IntegerAttr::get(element, value);
}

/// Which axes an operator of this family reduces: none given means all, or none with noop_with_empty_axes.
static Result<llvm::SmallVector<bool>> reducedAxes(Node &node, const Tensor &x) {
  QUERN_ASSIGN(auto axes, node.axes());
  if (axes && !axes->empty())
    return node.axisSet(*axes, x.rank());
  return llvm::SmallVector<bool>(size_t(x.rank()), node.integer("noop_with_empty_axes", 0) == 0);
}

static Tensor mapWith(Emitter &e, Tensor x, int32_t type, Value (*body)(const Scalars &, Value)) {
  if (!body)
    return x;
  return *e.elementwise(x, type, [&](const Scalars &s, ValueRange v) { return body(s, v[0]); });
}

static Status reduceWith(Node &node, Start start, const Reduction &how) {
  Emitter &e = node.e;
  QUERN_ASSIGN(Tensor x, node.input(0));
  bool fits = how.transcendental ? isFloat(x.type) && x.type != kF64 : isNumeric(x.type);
  bool extremum = start == Start::Least || start == Start::Greatest;
  if (!fits && !(x.type == kBool && extremum))
    return node.wrongType(x.type);
  QUERN_ASSIGN(llvm::SmallVector<bool> reduced, reducedAxes(node, x));
  int32_t type = x.type, wide = foldType(x.type);
  Tensor out = mapWith(e, x, wide, how.before);
  if (llvm::is_contained(reduced, true))
    out = e.reduce(out, reduced, node.integer("keepdims", 1) != 0, startOf(e, start, type),
                   [&](const Scalars &s, ValueRange v) {
                     Scalars typed{s.b, s.loc, isUnsigned(type) || type == kBool};
                     return how.combine(typed, v[0], v[1]);
                   });
  node.set(0, e.convert(mapWith(e, out, wide, how.after), type));
  return {};
}

static Value plus(const Scalars &s, Value x, Value sum) { return s.add(x, sum); }
static Value times(const Scalars &s, Value x, Value sum) { return s.mul(x, sum); }
static Value least(const Scalars &s, Value x, Value sum) { return s.min(x, sum); }
static Value greatest(const Scalars &s, Value x, Value sum) { return s.max(x, sum); }
static Value square(const Scalars &s, Value x) { return s.mul(x, x); }
static Value magnitude(const Scalars &s, Value x) { return s.abs(x); }
static Value squareRoot(const Scalars &s, Value x) { return s.make<math::SqrtOp>(x); }
static Value logarithm(const Scalars &s, Value x) { return s.make<math::LogOp>(x); }

template <Start start, Value (*before)(const Scalars &, Value), Value (*combine)(const Scalars &, Value, Value),
          Value (*after)(const Scalars &, Value), bool transcendental = false>
static Status importReduction(Node &node) {
  return reduceWith(node, start, {before, combine, after, transcendental});
}

static Status importL2(Node &node) {
  QUERN_ASSIGN(Tensor x, node.input(0));
  if (!isFloat(x.type))
    return node.wrongType(x.type);
  return reduceWith(node, Start::Zero, {square, plus, squareRoot, false});
}

static Status importMean(Node &node) {
  Emitter &e = node.e;
  QUERN_ASSIGN(Tensor x, node.input(0));
  if (!isFloat(x.type))
    return node.wrongType(x.type);
  QUERN_ASSIGN(llvm::SmallVector<bool> reduced, reducedAxes(node, x));
  node.set(0, e.convert(e.mean(x, reduced, node.integer("keepdims", 1) != 0), x.type));
  return {};
}

/// log(sum(exp(x))), with the greatest element taken out first; where that is no finite number, as it is.
static Status importLogSumExp(Node &node) {
  Emitter &e = node.e;
  QUERN_ASSIGN(Tensor x, node.input(0));
  if (!isFloat(x.type) || x.type == kF64)
    return node.wrongType(x.type);
  QUERN_ASSIGN(llvm::SmallVector<bool> reduced, reducedAxes(node, x));
  int32_t type = x.type;
  x = e.convert(x, kF32);
  Tensor top = e.reduce(x, reduced, true, startOf(e, Start::Least, kF32),
                        [](const Scalars &s, ValueRange v) { return s.max(v[0], v[1]); });
  top = *e.elementwise(top, kF32, [](const Scalars &s, ValueRange v) {
    Value size = s.make<math::AbsFOp>(v[0]);
    Value finite = s.less(size, s.constant(size.getType(), INFINITY));
    return s.select(finite, v[0], s.constant(size.getType(), 0));
  });
  Tensor powers =
      *e.elementwise({x, top}, kF32, [](const Scalars &s, ValueRange v) { return s.exp(s.sub(v[0], v[1])); });
  Tensor sum = e.reduce(powers, reduced, true, startOf(e, Start::Zero, kF32),
                        [](const Scalars &s, ValueRange v) { return s.add(v[0], v[1]); });
  Tensor out = *e.elementwise({sum, top}, kF32, [](const Scalars &s, ValueRange v) {
    return s.add(s.make<math::LogOp>(v[0]), v[1]);
  });
  Dims dims;
  for (auto [i, size] : llvm::enumerate(out.dims))
    if (!reduced[i] || node.integer("keepdims", 1) != 0)
      dims.push_back(size);
  node.set(0, e.convert(e.reshape(out, dims), type));
  return {};
}

void import::addReductions(Operators &operators) {
  operators["ReduceSum"] = importReduction<Start::Zero, nullptr, plus, nullptr>;
  operators["ReduceProd"] = importReduction<Start::One, nullptr, times, nullptr>;
  operators["ReduceMax"] = importReduction<Start::Least, nullptr, greatest, nullptr>;
  operators["ReduceMin"] = importReduction<Start::Greatest, nullptr, least, nullptr>;
  operators["ReduceSumSquare"] = importReduction<Start::Zero, square, plus, nullptr>;
  operators["ReduceL1"] = importReduction<Start::Zero, magnitude, plus, nullptr>;
  operators["ReduceL2"] = importL2;
  operators["ReduceLogSum"] = importReduction<Start::Zero, nullptr, plus, logarithm, true>;
  operators["ReduceLogSumExp"] = importLogSumExp;
  operators["ReduceMean"] = importMean;
}

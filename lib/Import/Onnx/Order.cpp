// Operators whose elements follow from those before them in order: the greatest, the k greatest, running sums.
#include "Node.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace quern;
using namespace quern::import;

using Predicate = arith::CmpIPredicate;

static llvm::SmallVector<Value> replaced(ValueRange indices, int64_t axis, Value with) {
  llvm::SmallVector<Value> out(indices);
  out[size_t(axis)] = with;
  return out;
}

static Value toIndex(const Scalars &s, Value x) { return s.make<arith::IndexCastOp>(s.b.getIndexType(), x); }
static Value toI64(const Scalars &s, Value x) { return s.make<arith::IndexCastOp>(s.b.getI64Type(), x); }

/// The place of the greatest (or least) element along an axis, which becomes 1: the first of equals, or the last.
static Tensor extremum(Emitter &e, Tensor x, int64_t axis, bool greatest, bool last) {
  Dims dims(x.dims);
  dims[axis] = e.index(1);
  e.check(Predicate::sgt, x.dims[axis], e.index(0), "its axis is empty");
  Value source = e.valueOf(x);
  int32_t type = x.type;
  return e.forEach(x.dims, e.filled(dims, kI64, 0), [&](const Scalars &s, ValueRange at, Value best) {
    Scalars typed{s.b, s.loc, isUnsigned(type)};
    llvm::SmallVector<Value> place = replaced(at, axis, s.make<arith::ConstantIndexOp>(0));
    Value known = s.make<tensor::ExtractOp>(best, place);
    Value champion = e.load(s, source, replaced(at, axis, toIndex(s, known)));
    Value next = e.load(s, source, at);
    Value low = greatest ? champion : next, high = greatest ? next : champion;
    Value better = last ? typed.lessOrEqual(low, high) : typed.less(low, high);
    return e.store(s, s.select(better, toI64(s, at[size_t(axis)]), known), best, place);
  });
}

static Status importArg(Node &node) {
  QUERN_ASSIGN(Tensor x, node.input(0));
  if (!isNumeric(x.type))
    return node.wrongType(x.type);
  QUERN_ASSIGN(int64_t axis, node.axis(node.integer("axis", 0), x.rank()));
  Tensor out = extremum(node.e, x, axis, node.op() == "ArgMax", node.integer("select_last_index", 0) != 0);
  Dims dims(out.dims);
  if (node.integer("keepdims", 1) == 0)
    dims.erase(dims.begin() + axis);
  node.set(0, node.e.reshape(out, dims));
  return {};
}

/// 1 at the first greatest element along an axis, else 0. Before opset 13 all axes from `axis` on were one.
static Status importHardmax(Node &node) {
  Emitter &e = node.e;
  QUERN_ASSIGN(Tensor x, node.input(0));
  if (!isFloat(x.type))
    return node.wrongType(x.type);
  bool old = node.opset() < 13;
  QUERN_ASSIGN(int64_t axis, node.axis(node.integer("axis", old ? 1 : -1), x.rank()));
  Dims dims(x.dims);
  if (old) {
    Dims flat(x.dims.begin(), x.dims.begin() + axis);
    flat.push_back(e.product(ArrayRef(x.dims).drop_front(size_t(axis))));
    x = e.reshape(x, flat);
  }
  Tensor places = extremum(e, x, axis, true, false);
  Value greatest = e.valueOf(places);
  Tensor out = e.compute(x.dims, x.type, [&](const Scalars &s, ValueRange at) {
    Value place = s.make<tensor::ExtractOp>(greatest, replaced(at, axis, s.make<arith::ConstantIndexOp>(0)));
    Value here = s.equal(place, toI64(s, at[size_t(axis)]));
    Type type = e.computeType(x.type);
    return s.select(here, s.constant(type, 1), s.constant(type, 0));
  });
  node.set(0, e.reshape(out, dims));
  return {};
}

/// A number that orders as the element does, as the integers of its width do: NaN above infinity, -0 equal to 0.
static Value orderOf(const Scalars &s, Value x) {
  if (!isa<FloatType>(x.getType()))
    return x;
  unsigned bits = x.getType().getIntOrFloatBitWidth();
  Type type = s.b.getIntegerType(bits);
  Value number = s.make<arith::BitcastOp>(type, s.add(x, s.constant(x.getType(), 0)));
  Value isNumber = s.make<arith::CmpFOp>(arith::CmpFPredicate::ORD, x, x);
  Value sign = s.make<arith::ShRSIOp>(number, s.integer(type, bits - 1));
  Value magnitude = s.make<arith::ConstantOp>(IntegerAttr::get(type, APInt::getSignedMaxValue(bits)));
  return s.select(isNumber, s.make<arith::XOrIOp>(number, s.make<arith::AndIOp>(sign, magnitude)), magnitude);
}

/// The places of the k first along an axis in descending (or ascending) order, equal ones in order of place. Each place
/// is found by one walk along the axis that looks for the first behind the one before: k walks, no memory.
static Tensor places(Emitter &e, Tensor x, int64_t axis, OpFoldResult k, bool largest) {
  Dims dims(x.dims);
  dims[axis] = k;
  Dims loops(dims);
  loops.push_back(x.dims[axis]);
  Value source = e.valueOf(x);
  int32_t type = x.type;
  return e.forEach(loops, e.filled(dims, kI64, -1), [&](const Scalars &s, ValueRange indices, Value found) {
    Scalars typed{s.b, s.loc, isUnsigned(type)};
    ValueRange at = indices.drop_back();
    Value zero = s.make<arith::ConstantIndexOp>(0), here = indices.back(), rank = at[size_t(axis)];
    auto orderAt = [&](Value place) { return orderOf(typed, e.load(s, source, replaced(at, axis, place))); };
    auto before = [&](Value one, Value other) { return largest ? typed.less(other, one) : typed.less(one, other); };
    Value isFirst = s.equal(rank, zero);
    Value before1 = s.select(isFirst, zero, s.sub(rank, s.make<arith::ConstantIndexOp>(1)));
    Value previous = s.make<arith::MaxSIOp>(
        toIndex(s, s.make<tensor::ExtractOp>(found, replaced(at, axis, before1))), zero);
    Value known = s.make<tensor::ExtractOp>(found, at), candidate = orderAt(here), last = orderAt(previous);
    Value tie = s.make<arith::AndIOp>(s.equal(candidate, last), s.make<arith::CmpIOp>(Predicate::slt, previous, here));
    Value open = s.make<arith::OrIOp>(isFirst, s.make<arith::OrIOp>(before(last, candidate), tie));
    Value none = s.make<arith::CmpIOp>(Predicate::slt, known, s.integer(known.getType(), 0));
    Value best = orderAt(s.make<arith::MaxSIOp>(toIndex(s, known), zero));
    Value better = s.make<arith::AndIOp>(open, s.make<arith::OrIOp>(none, before(candidate, best)));
    return e.store(s, s.select(better, toI64(s, here), known), found, at);
  });
}

static Status importTopK(Node &node) {
  Emitter &e = node.e;
  QUERN_ASSIGN(Tensor x, node.input(0));
  if (!isNumeric(x.type))
    return node.wrongType(x.type);
  QUERN_ASSIGN(int64_t axis, node.axis(node.integer("axis", -1), x.rank()));
  Dims k = {e.index(node.integer("k", 0))};
  if (!node.attribute("k")) {
    QUERN_ASSIGN(k, node.sizes(1, "the number K"));
  }
  if (k.size() != 1)
    return node.wrong("needs one number K");
  std::optional<int64_t> known = getConstantIntValue(k[0]), size = getConstantIntValue(x.dims[axis]);
  if ((known && *known < 0) || (known && size && *known > *size))
    return node.wrong("asks for " + std::to_string(*known) + " elements of an axis of " +
                      (size ? std::to_string(*size) : "any size"));
  if (!known || !size) {
    e.check(Predicate::sge, k[0], e.index(0), "asks for a negative number of elements");
    e.check(Predicate::sle, k[0], x.dims[axis], "asks for more elements than its axis has");
  }
  Tensor found = places(e, x, axis, k[0], node.integer("largest", 1) != 0);
  Value source = e.valueOf(x), order = e.valueOf(found);
  node.set(0, e.compute(found.dims, x.type, [&](const Scalars &s, ValueRange at) {
    return e.load(s, source, replaced(at, axis, toIndex(s, s.make<tensor::ExtractOp>(order, at))));
  }));
  node.set(1, found);
  return {};
}

/// CumSum and CumProd: each element is the one before along the axis, combined with its own of x (or, with `exclusive`,
/// with that before). The axis may be known at run time only.
static Status importCumulative(Node &node) {
  Emitter &e = node.e;
  QUERN_ASSIGN(Tensor x, node.input(0));
  QUERN_ASSIGN(Dims axes, node.sizes(1, "the axis"));
  if (!isNumeric(x.type))
    return node.wrongType(x.type);
  if (axes.size() != 1 || x.rank() == 0)
    return node.wrong("needs one axis of a tensor that has axes");
  OpFoldResult rank = e.index(x.rank()), axis = axes[0];
  if (std::optional<int64_t> known = getConstantIntValue(axis))
    QUERN_TRY(node.axis(*known, x.rank()));
  axis = e.select(Predicate::slt, axis, e.index(0), e.add(axis, rank), axis);
  if (!getConstantIntValue(axis)) {
    e.check(Predicate::sge, axis, e.index(0), "its axis does not exist");
    e.check(Predicate::slt, axis, rank, "its axis does not exist");
  }
  bool product = node.op() == "CumProd", exclusive = node.integer("exclusive", 0) != 0;
  bool reverse = node.integer("reverse", 0) != 0;
  int32_t type = x.type, wide = type == kF16 || type == kBF16 ? int32_t(kF32) : type;
  // Along the axis: 1, so that it can be used as a step; along the others 0.
  llvm::SmallVector<Value> steps, sizes;
  for (int64_t i = 0; i < x.rank(); ++i) {
    steps.push_back(e.toValue(e.select(Predicate::eq, axis, e.index(i), e.index(1), e.index(0))));
    sizes.push_back(e.toValue(x.dims[i]));
  }
  Value source = e.valueOf(x);
  Tensor out = e.forEach(x.dims, e.filled(x.dims, wide, 0), [&](const Scalars &s, ValueRange at, Value tensor) {
    Value zero = s.make<arith::ConstantIndexOp>(0), one = s.make<arith::ConstantIndexOp>(1), walked = zero;
    for (auto [index, step] : llvm::zip(at, steps))
      walked = s.add(walked, s.mul(index, step));
    Value isFirst = s.equal(walked, zero);
    llvm::SmallVector<Value> here, previous;
    for (auto [index, step, size] : llvm::zip(at, steps, sizes)) {
      Value mirrored = s.sub(s.sub(size, one), index), back = s.select(isFirst, zero, step);
      here.push_back(reverse ? s.select(s.equal(step, one), mirrored, index) : index);
      previous.push_back(reverse ? s.add(here.back(), back) : s.sub(here.back(), back));
    }
    Value neutral = s.constant(e.computeType(wide), product ? 1 : 0);
    Value before = s.select(isFirst, neutral, e.load(s, tensor, previous));
    Value next = e.load(s, source, exclusive ? previous : here);
    if (exclusive)
      next = s.select(isFirst, neutral, next);
    return e.store(s, product ? s.mul(before, next) : s.add(before, next), tensor, here);
  });
  node.set(0, e.convert(out, type));
  return {};
}

void import::addOrder(Operators &operators) {
  operators["ArgMax"] = importArg;
  operators["ArgMin"] = importArg;
  operators["Hardmax"] = importHardmax;
  operators["TopK"] = importTopK;
  operators["CumSum"] = importCumulative;
  operators["CumProd"] = importCumulative;
}

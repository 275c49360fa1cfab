// Quantization by scale and zero point, for a whole tensor, along an axis, or in blocks along an axis; products of
// matrices of quantized numbers.
#include "Node.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

#include <cmath>

using namespace mlir;
using namespace quern;
using namespace quern::import;

using Predicate = arith::CmpIPredicate;

namespace {
/// Where the scale of an element lies.
struct Granularity {
  int64_t rank = 0; ///< of the scales: 0 one for all, 1 one for each place along `axis`, else blocks along `axis`
  int64_t axis = 0, block = 0;
};
} // namespace

static Result<Granularity> granularity(Node &node, const Tensor &x, Tensor &scale) {
  Granularity out{scale.rank(), 0, node.integer("block_size", 0)};
  if (scale.rank() == 1 && isConstantIntValue(scale.dims[0], 1))
    out.rank = 0;
  if (out.rank == 0)
    return out;
  QUERN_ASSIGN(out.axis, node.axis(node.integer("axis", 1), x.rank()));
  if (out.block < 0 || (out.block == 0) != (out.rank == 1) || (out.rank > 1 && out.rank != x.rank()))
    return node.wrong("needs one scale, one for each place along its axis, or, with block_size, as many dimensions as "
                      "its data");
  for (int64_t i = 0; i < out.rank; ++i) {
    int64_t axis = out.rank == 1 ? out.axis : i;
    OpFoldResult wanted = x.dims[axis], block = node.e.index(std::max<int64_t>(out.block, 1));
    if (axis == out.axis)
      wanted = node.e.div(node.e.sub(node.e.add(wanted, block), node.e.index(1)), block);
    std::optional<int64_t> known = getConstantIntValue(scale.dims[i]), should = getConstantIntValue(wanted);
    if (known && should && *known != *should)
      return node.wrong("has " + std::to_string(*known) + " scales along axis " + std::to_string(axis) + ", not " +
                        std::to_string(*should));
    node.e.check(Predicate::eq, scale.dims[i], wanted, "the shape of its scales does not fit its data");
  }
  return out;
}

/// The scale or zero point of the element at `at`, in the compute type.
static Value parameterAt(Emitter &e, const Scalars &s, const Granularity &how, Value parameters, ValueRange at) {
  llvm::SmallVector<Value> place;
  if (how.rank == 1)
    place = {at[size_t(how.axis)]};
  if (how.rank > 1) {
    place.assign(at.begin(), at.end());
    place[size_t(how.axis)] =
        s.make<arith::DivUIOp>(place[size_t(how.axis)], s.make<arith::ConstantIndexOp>(how.block));
  }
  if (auto type = cast<RankedTensorType>(parameters.getType()); how.rank == 0 && type.getRank() == 1)
    place = {s.make<arith::ConstantIndexOp>(0)};
  return e.load(s, parameters, place);
}

/// The zero points, which have the scales' shape; null without.
static Result<Value> zeroPoints(Node &node, const Tensor &scale) {
  if (!node.has(2))
    return Value();
  QUERN_ASSIGN(Tensor zero, node.input(2));
  if (zero.rank() != scale.rank())
    return node.wrong("its scales and zero points differ in shape");
  for (auto [one, other] : llvm::zip(zero.dims, scale.dims))
    node.e.check(Predicate::eq, one, other, "its scales and zero points differ in shape");
  return node.e.valueOf(zero);
}

static Result<Tensor> floatScale(Node &node) {
  QUERN_ASSIGN(Tensor scale, node.input(1));
  if (!isFloat(scale.type) || scale.type == kF64)
    return node.wrongType(scale.type);
  return scale;
}

static bool isQuantized(int32_t type) { return isInteger(type) && type != kI64 && type != kU64 && type != kU32; }

/// (x - zero point) * scale, in f32.
static Status importDequantize(Node &node) {
  Emitter &e = node.e;
  QUERN_ASSIGN(Tensor x, node.input(0));
  QUERN_ASSIGN(Tensor scale, floatScale(node));
  auto type = int32_t(node.integer("output_dtype", 0));
  type = type ? type : scale.type;
  if (!isQuantized(x.type) || !isFloat(type))
    return node.wrongType(isFloat(type) ? x.type : type);
  QUERN_ASSIGN(Granularity how, granularity(node, x, scale));
  QUERN_ASSIGN(Value zeros, zeroPoints(node, scale));
  Value source = e.valueOf(x), scales = e.valueOf(scale);
  node.set(0, e.convert(e.compute(x.dims, kF32, [&](const Scalars &s, ValueRange at) {
    Value number = e.convertScalar(s, e.load(s, source, at), x.type, kF32);
    if (zeros)
      number = s.sub(number, e.convertScalar(s, parameterAt(e, s, how, zeros, at), x.type, kF32));
    return s.mul(number, parameterAt(e, s, how, scales, at));
  }), type));
  return {};
}

/// The nearest integer (of two, the even one) of x / scale, plus the zero point, within the range of the type.
static Value quantized(Emitter &e, const Scalars &s, Value x, Value scale, Value zero, int32_t type) {
  Value number = s.make<math::RoundEvenOp>(s.div(x, scale));
  if (zero)
    number = s.add(number, e.convertScalar(s, zero, type, kF32));
  return e.convertScalar(s, number, kF32, type);
}

static Status importQuantize(Node &node) {
  Emitter &e = node.e;
  QUERN_ASSIGN(Tensor x, node.input(0));
  QUERN_ASSIGN(Tensor scale, floatScale(node));
  auto type = int32_t(node.integer("output_dtype", 0));
  if (node.has(2)) {
    QUERN_ASSIGN(Tensor zero, node.input(2));
    if (type != 0 && type != zero.type)
      return node.wrong("its zero point is of another type than its output");
    type = zero.type;
  }
  type = type ? type : int32_t(kU8);
  if (!isQuantized(type) || !(isFloat(x.type) || x.type == kI32) || x.type == kF64)
    return node.wrongType(isQuantized(type) ? x.type : type);
  QUERN_ASSIGN(Granularity how, granularity(node, x, scale));
  QUERN_ASSIGN(Value zeros, zeroPoints(node, scale));
  Value source = e.valueOf(x), scales = e.valueOf(scale);
  node.set(0, e.compute(x.dims, type, [&](const Scalars &s, ValueRange at) {
    Value number = e.convertScalar(s, e.load(s, source, at), x.type, kF32);
    Value zero = zeros ? parameterAt(e, s, how, zeros, at) : Value();
    return quantized(e, s, number, parameterAt(e, s, how, scales, at), zero, type);
  }));
  return {};
}

/// Scale and zero point such that the range of x, with 0 in it, becomes 0 to 255. Zeros alone have the scale 1 / 255.
static Status importDynamicQuantize(Node &node) {
  Emitter &e = node.e;
  QUERN_ASSIGN(Tensor x, node.input(0));
  if (x.type != kF32)
    return node.wrongType(x.type);
  llvm::SmallVector<bool> all(size_t(x.rank()), true);
  TypedAttr zero = e.b.getF32FloatAttr(0);
  Tensor low = e.reduce(x, all, false, zero, [](const Scalars &s, ValueRange v) { return s.min(v[0], v[1]); });
  Tensor high = e.reduce(x, all, false, zero, [](const Scalars &s, ValueRange v) { return s.max(v[0], v[1]); });
  Tensor scale = *e.elementwise({low, high}, kF32, [](const Scalars &s, ValueRange v) {
    Value one = s.constant(v[0].getType(), 1), range = s.sub(v[1], v[0]);
    return s.div(s.select(s.equal(v[0], v[1]), one, range), s.constant(v[0].getType(), 255));
  });
  Tensor zeroPoint = *e.elementwise({low, scale}, kU8, [&](const Scalars &s, ValueRange v) {
    Value negated = s.make<arith::NegFOp>(s.div(v[0], v[1]));
    return e.convertScalar(s, s.make<math::RoundEvenOp>(negated), kF32, kU8);
  });
  Tensor codes = *e.elementwise({x, scale, zeroPoint}, kU8, [&](const Scalars &s, ValueRange v) {
    return quantized(e, s, v[0], v[1], v[2], kU8);
  });
  node.set(1, scale);
  node.set(2, zeroPoint);
  node.set(0, codes);
  return {};
}

static bool isByte(int32_t type) { return type == kI8 || type == kU8; }

/// Input i as i32, less the zero point of input `zeroPoint`: one, or one for each row (of the left factor) or column.
static Result<Tensor> centred(Node &node, int i, int zeroPoint, bool left) {
  Emitter &e = node.e;
  QUERN_ASSIGN(Tensor x, node.input(i));
  if (!isByte(x.type))
    return node.wrongType(x.type);
  if (!node.has(zeroPoint))
    return e.convert(x, kI32);
  QUERN_ASSIGN(Tensor zero, node.input(zeroPoint));
  if (zero.type != x.type)
    return node.wrong("a zero point is of another type than its matrix");
  if (left && zero.rank() == 1 && x.rank() > 1)
    zero = e.reshape(zero, {zero.dims[0], e.index(1)});
  auto out = e.elementwise({e.convert(x, kI32), e.convert(zero, kI32)}, kI32, [](const Scalars &s, ValueRange v) {
    return s.sub(v[0], v[1]);
  });
  return out ? std::move(out) : Result<Tensor>(node.wrong(out.error().message));
}

static Status importMatMulInteger(Node &node) {
  QUERN_ASSIGN(Tensor x, centred(node, 0, 2, true));
  QUERN_ASSIGN(Tensor y, centred(node, 1, 3, false));
  return node.finish(node.e.multiply(x, y));
}

/// Inputs: a, its scale and zero point, b, its own, those of the result.
static Status importQLinearMatMul(Node &node) {
  Emitter &e = node.e;
  QUERN_ASSIGN(Tensor x, centred(node, 0, 2, true));
  QUERN_ASSIGN(Tensor y, centred(node, 3, 5, false));
  auto product = e.multiply(x, y);
  if (!product)
    return node.wrong(product.error().message);
  std::vector<Tensor> inputs = {e.convert(*product, kF32)};
  for (int i : {1, 4, 6, 7}) {
    QUERN_ASSIGN(Tensor parameter, node.input(i));
    if (i == 7 ? !isByte(parameter.type) : !isFloat(parameter.type) || parameter.type == kF64)
      return node.wrongType(parameter.type);
    if (parameter.rank() > 0 && !isConstantIntValue(parameter.dims[0], 1))
      return node.wrong("only one scale and zero point for a whole matrix are supported");
    inputs.push_back(i == 7 ? parameter : e.convert(parameter, kF32));
  }
  int32_t type = inputs.back().type;
  return node.finish(e.elementwise(inputs, type, [&](const Scalars &s, ValueRange v) {
    Value number = s.mul(v[0], s.div(s.mul(v[1], v[2]), v[3]));
    return quantized(e, s, number, s.constant(number.getType(), 1), v[4], type);
  }));
}

void import::addQuantized(Operators &operators) {
  operators["DequantizeLinear"] = importDequantize;
  operators["QuantizeLinear"] = importQuantize;
  operators["DynamicQuantizeLinear"] = importDynamicQuantize;
  operators["MatMulInteger"] = importMatMulInteger;
  operators["QLinearMatMul"] = importQLinearMatMul;
}

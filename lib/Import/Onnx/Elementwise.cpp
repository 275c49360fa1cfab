// Operators of two or more inputs that work element by element, with broadcasting.
#include "Node.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

#include <cmath>

using namespace mlir;
using namespace quern;
using namespace quern::import;

using ScalarBody = Value (*)(const Scalars &, ValueRange);
using TypeTest = bool (*)(int32_t);

/// Checks that all inputs have one type that `fits`.
static Result<std::vector<Tensor>> sameInputs(Node &node, TypeTest fits) {
  QUERN_ASSIGN(std::vector<Tensor> inputs, node.allInputs());
  for (const Tensor &input : inputs) {
    if (!fits(input.type))
      return node.wrongType(input.type);
    if (input.type != inputs[0].type)
      return node.wrong("its inputs have different types");
  }
  return inputs;
}

template <TypeTest fits, ScalarBody body> static Status importBinary(Node &node) {
  QUERN_ASSIGN(std::vector<Tensor> inputs, sameInputs(node, fits));
  if (inputs.size() != 2)
    return node.wrong("needs two inputs");
  return node.finish(node.e.elementwise(inputs, inputs[0].type, body));
}

template <TypeTest fits, ScalarBody body> static Status importComparison(Node &node) {
  QUERN_ASSIGN(std::vector<Tensor> inputs, sameInputs(node, fits));
  if (inputs.size() != 2)
    return node.wrong("needs two inputs");
  return node.finish(node.e.elementwise(inputs, kBool, body));
}

/// Folds all inputs from the left.
template <ScalarBody body> static Status importVariadic(Node &node) {
  QUERN_ASSIGN(std::vector<Tensor> inputs, sameInputs(node, isNumeric));
  return node.finish(node.e.elementwise(inputs, inputs[0].type, [](const Scalars &s, ValueRange v) {
    Value all = v[0];
    for (Value next : v.drop_front())
      all = body(s, {all, next});
    return all;
  }));
}

template <typename Op> static Value both(const Scalars &s, ValueRange v) { return s.make<Op>(v[0], v[1]); }
static Value addBody(const Scalars &s, ValueRange v) { return s.add(v[0], v[1]); }
static Value minBody(const Scalars &s, ValueRange v) { return s.min(v[0], v[1]); }
static Value maxBody(const Scalars &s, ValueRange v) { return s.max(v[0], v[1]); }

static Status importMean(Node &node) {
  QUERN_ASSIGN(std::vector<Tensor> inputs, sameInputs(node, isFloat));
  return node.finish(node.e.elementwise(inputs, inputs[0].type, [](const Scalars &s, ValueRange v) {
    Value all = v[0];
    for (Value next : v.drop_front())
      all = s.add(all, next);
    return s.div(all, s.constant(all.getType(), double(v.size())));
  }));
}

/// Add, Sub, Mul and Div: sizes that are followed through the graph stay followed.
template <ScalarBody body, OpFoldResult (Emitter::*fold)(OpFoldResult, OpFoldResult)>
static Status importArithmetic(Node &node) {
  QUERN_ASSIGN(std::vector<Tensor> inputs, sameInputs(node, isNumeric));
  if (inputs.size() != 2)
    return node.wrong("needs two inputs");
  Tensor &x = inputs[0], &y = inputs[1];
  bool followed = x.elements && y.elements && x.type == kI64 && !x.elements->empty() && !y.elements->empty() &&
                  (x.elements->size() == y.elements->size() || y.elements->size() == 1 || x.elements->size() == 1);
  if (!followed)
    return node.finish(node.e.elementwise(inputs, x.type, body));
  Dims out;
  for (size_t i = 0; i < std::max(x.elements->size(), y.elements->size()); ++i)
    out.push_back((node.e.*fold)((*x.elements)[x.elements->size() == 1 ? 0 : i],
                                 (*y.elements)[y.elements->size() == 1 ? 0 : i]));
  node.set(0, node.e.fromElements(out, kI64, x.rank() == 0 && y.rank() == 0));
  return {};
}

/// Sizes are not negative, so rounding down and towards zero are the same; anything else is computed at run time.
static Status importDiv(Node &node) {
  QUERN_ASSIGN(std::vector<Tensor> inputs, sameInputs(node, isNumeric));
  auto positive = [](const Tensor &tensor) {
    return tensor.elements && llvm::all_of(*tensor.elements, [](OpFoldResult element) {
             return getConstantIntValue(element).value_or(0) > 0;
           });
  };
  if (inputs.size() == 2 && positive(inputs[0]) && positive(inputs[1]))
    return importArithmetic<[](const Scalars &s, ValueRange v) { return s.div(v[0], v[1]); }, &Emitter::div>(node);
  return importBinary<isNumeric, [](const Scalars &s, ValueRange v) { return s.div(v[0], v[1]); }>(node);
}

/// x - trunc(x / y) * y without rounding, by long division in binary: y is doubled as far as it goes into |x|, then
/// halved again and taken away where it fits. Every difference is of numbers within a factor of 2, so it is exact.
static Value floatRemainder(const Scalars &s, Value x, Value y) {
  Type type = x.getType();
  Value infinity = s.constant(type, INFINITY), half = s.constant(type, 0.5);
  Value dividend = s.make<math::AbsFOp>(x), divisor = s.make<math::AbsFOp>(y);
  Value isFinite = s.less(dividend, infinity), byInfinity = s.equal(divisor, infinity);
  Value regular = s.make<arith::AndIOp>(s.less(s.constant(type, 0), divisor), s.less(divisor, infinity));
  regular = s.make<arith::AndIOp>(regular, isFinite);
  dividend = s.select(regular, dividend, s.constant(type, 0)); // so that the loops end
  divisor = s.select(regular, divisor, s.constant(type, 1));
  auto loop = [&](ValueRange start, llvm::function_ref<Value(const Scalars &, ValueRange)> goesOn,
                  llvm::function_ref<llvm::SmallVector<Value>(const Scalars &, ValueRange)> next) {
    return scf::WhileOp::create(
               s.b, s.loc, start.getTypes(), start,
               [&](OpBuilder &b, Location loc, ValueRange v) {
                 scf::ConditionOp::create(b, loc, goesOn(Scalars{b, loc}, v), v);
               },
               [&](OpBuilder &b, Location loc, ValueRange v) {
                 scf::YieldOp::create(b, loc, next(Scalars{b, loc}, v));
               })
        .getResults();
  };
  Value most = loop(divisor, [&](const Scalars &in, ValueRange v) {
    return in.lessOrEqual(v[0], in.sub(dividend, v[0]));
  }, [](const Scalars &in, ValueRange v) { return llvm::SmallVector<Value>{in.add(v[0], v[0])}; })[0];
  Value rest = loop({dividend, most}, [&](const Scalars &in, ValueRange v) {
    return in.lessOrEqual(divisor, v[1]);
  }, [&](const Scalars &in, ValueRange v) {
    Value less = in.select(in.lessOrEqual(v[1], v[0]), in.sub(v[0], v[1]), v[0]);
    return llvm::SmallVector<Value>{less, in.mul(v[1], half)};
  })[0];
  Value special = s.select(s.make<arith::AndIOp>(isFinite, byInfinity), x, s.constant(type, NAN));
  return s.select(regular, s.make<math::CopySignOp>(rest, x), special);
}

/// Mod: the divisor's sign; with fmod the dividend's.
static Status importMod(Node &node) {
  QUERN_ASSIGN(std::vector<Tensor> inputs, sameInputs(node, isNumeric));
  bool likeC = node.integer("fmod", 0) != 0;
  if (inputs.size() != 2)
    return node.wrong("needs two inputs");
  return node.finish(node.e.elementwise(inputs, inputs[0].type, [&](const Scalars &s, ValueRange v) -> Value {
    bool isReal = isa<FloatType>(v[0].getType());
    Value rest = isReal ? floatRemainder(s, v[0], v[1]) : s.rem(v[0], v[1]);
    if (likeC || s.isUnsigned)
      return rest;
    Value zero = s.constant(rest.getType(), 0);
    Value differ = s.make<arith::XOrIOp>(s.less(rest, zero), s.less(v[1], zero));
    Value nonzero = s.make<arith::XOrIOp>(s.equal(rest, zero), s.integer(s.b.getI1Type(), 1));
    return s.select(s.make<arith::AndIOp>(differ, nonzero), s.add(rest, v[1]), rest);
  }));
}

/// Shifts of as many bits as the type has, or more, give 0, or the sign where signed numbers go right.
static Status importBitShift(Node &node) {
  QUERN_ASSIGN(std::vector<Tensor> inputs, sameInputs(node, isInteger));
  bool left = node.text("direction", "") == "LEFT";
  if (inputs.size() != 2 || (!left && node.text("direction", "") != "RIGHT"))
    return node.wrong("needs two inputs and a direction, LEFT or RIGHT");
  return node.finish(node.e.elementwise(inputs, inputs[0].type, [&](const Scalars &s, ValueRange v) {
    Type type = v[0].getType();
    int64_t bits = type.getIntOrFloatBitWidth();
    Value fits = s.make<arith::CmpIOp>(arith::CmpIPredicate::ult, v[1], s.integer(type, bits));
    Value zero = s.integer(type, 0), by = s.select(fits, v[1], zero);
    Value shifted = left            ? s.make<arith::ShLIOp>(v[0], by)
                    : s.isUnsigned ? s.make<arith::ShRUIOp>(v[0], by)
                                   : s.make<arith::ShRSIOp>(v[0], by);
    Value beyond = left || s.isUnsigned ? zero : s.make<arith::ShRSIOp>(v[0], s.integer(type, bits - 1));
    return s.select(fits, shifted, beyond);
  }));
}

static Status importWhere(Node &node) {
  QUERN_ASSIGN(std::vector<Tensor> inputs, node.allInputs());
  if (inputs.size() != 3 || inputs[0].type != kBool || inputs[1].type != inputs[2].type)
    return node.wrong("needs a condition of type bool and two inputs of one type");
  if (!isComputable(inputs[1].type))
    return node.wrongType(inputs[1].type);
  return node.finish(node.e.elementwise(inputs, inputs[1].type, [](const Scalars &s, ValueRange v) {
    return s.select(v[0], v[1], v[2]);
  }));
}

static Status importClip(Node &node) {
  QUERN_ASSIGN(Tensor x, node.input(0));
  if (!isNumeric(x.type))
    return node.wrongType(x.type);
  std::vector<Tensor> inputs;
  llvm::SmallVector<bool> isLeast;
  for (int i : {1, 2}) {
    if (node.has(i)) {
      QUERN_ASSIGN(Tensor bound, node.input(i));
      if (bound.type != x.type || bound.rank() > 0)
        return node.wrong("its bounds should be scalars of the input's type");
      inputs.push_back(bound);
      isLeast.push_back(i == 1);
    } else if (node.attribute(i == 1 ? "min" : "max")) {
      inputs.push_back(node.e.scalar(node.real(i == 1 ? "min" : "max", 0), x.type));
      isLeast.push_back(i == 1);
    }
  }
  inputs.push_back(x);
  return node.finish(node.e.elementwise(inputs, x.type, [&](const Scalars &s, ValueRange v) {
    Value out = v.back();
    for (auto [i, least] : llvm::enumerate(isLeast))
      out = least ? s.max(out, v[i]) : s.min(out, v[i]);
    return out;
  }));
}

static Status importPRelu(Node &node) {
  QUERN_ASSIGN(std::vector<Tensor> inputs, sameInputs(node, isNumeric));
  if (inputs.size() != 2)
    return node.wrong("needs two inputs");
  return node.finish(node.e.elementwise(inputs, inputs[0].type, [](const Scalars &s, ValueRange v) {
    return s.select(s.less(v[0], s.constant(v[0].getType(), 0)), s.mul(v[0], v[1]), v[0]);
  }));
}

/// Integers to the power of integers, by squaring, modulo 2^bits as products of integers are. A negative exponent gives
/// 1 / x^|exponent| without its fraction: 0 but for x = 1 and -1, whose powers do not depend on the exponent's sign.
static Value integerPower(const Scalars &s, Value x, bool isSigned, Value exponent) {
  Type type = x.getType(), counter = exponent.getType();
  Value unit = s.integer(type, 1), one = s.integer(counter, 1), none = s.integer(counter, 0);
  Value out = unit, square = x, rest = exponent;
  for (unsigned bit = 0; bit < counter.getIntOrFloatBitWidth(); ++bit) {
    Value odd = s.equal(s.make<arith::AndIOp>(rest, one), one);
    out = s.select(odd, s.mul(out, square), out);
    square = s.mul(square, square);
    rest = s.make<arith::ShRUIOp>(rest, one);
  }
  if (s.isUnsigned)
    return out;
  Value isUnit = s.equal(x, unit);
  if (isSigned)
    isUnit = s.make<arith::OrIOp>(isUnit, s.equal(x, s.integer(type, -1)));
  return s.select(s.make<arith::OrIOp>(isUnit, s.lessOrEqual(none, exponent)), out, s.integer(type, 0));
}

static Status importPow(Node &node) {
  QUERN_ASSIGN(std::vector<Tensor> inputs, node.allInputs());
  if (inputs.size() != 2)
    return node.wrong("needs two inputs");
  int32_t type = inputs[0].type;
  if (isInteger(type) && isInteger(inputs[1].type))
    return node.finish(node.e.elementwise(inputs, type, [&](const Scalars &s, ValueRange v) {
      return integerPower(s, v[0], !isUnsigned(type), v[1]);
    }));
  for (int32_t each : {type, inputs[1].type})
    if (!isNumeric(each) || each == kF64)
      return node.wrongType(each);
  std::vector<Tensor> floats = {node.e.convert(inputs[0], kF32), node.e.convert(inputs[1], kF32)};
  auto power = node.e.elementwise(floats, kF32, [](const Scalars &s, ValueRange v) {
    return s.make<math::PowFOp>(v[0], v[1]);
  });
  return node.finish(power ? Result<Tensor>(node.e.convert(*power, type)) : power);
}

void import::addElementwise(Operators &operators) {
  operators["Add"] = importArithmetic<addBody, &Emitter::add>;
  operators["Sub"] = importArithmetic<[](const Scalars &s, ValueRange v) { return s.sub(v[0], v[1]); }, &Emitter::sub>;
  operators["Mul"] = importArithmetic<[](const Scalars &s, ValueRange v) { return s.mul(v[0], v[1]); }, &Emitter::mul>;
  operators["Div"] = importDiv;
  operators["Sum"] = importVariadic<addBody>;
  operators["Min"] = importVariadic<minBody>;
  operators["Max"] = importVariadic<maxBody>;
  operators["Mean"] = importMean;
  operators["Mod"] = importMod;
  operators["Pow"] = importPow;
  operators["PRelu"] = importPRelu;
  operators["Clip"] = importClip;
  operators["Where"] = importWhere;
  operators["BitShift"] = importBitShift;
  operators["And"] = importBinary<isBoolean, both<arith::AndIOp>>;
  operators["Or"] = importBinary<isBoolean, both<arith::OrIOp>>;
  operators["Xor"] = importBinary<isBoolean, both<arith::XOrIOp>>;
  operators["BitwiseAnd"] = importBinary<isInteger, both<arith::AndIOp>>;
  operators["BitwiseOr"] = importBinary<isInteger, both<arith::OrIOp>>;
  operators["BitwiseXor"] = importBinary<isInteger, both<arith::XOrIOp>>;
  operators["Equal"] =
      importComparison<isComputable, [](const Scalars &s, ValueRange v) { return s.equal(v[0], v[1]); }>;
  operators["Less"] = importComparison<isNumeric, [](const Scalars &s, ValueRange v) { return s.less(v[0], v[1]); }>;
  operators["LessOrEqual"] =
      importComparison<isNumeric, [](const Scalars &s, ValueRange v) { return s.lessOrEqual(v[0], v[1]); }>;
  operators["Greater"] = importComparison<isNumeric, [](const Scalars &s, ValueRange v) { return s.less(v[1], v[0]); }>;
  operators["GreaterOrEqual"] =
      importComparison<isNumeric, [](const Scalars &s, ValueRange v) { return s.lessOrEqual(v[1], v[0]); }>;
}

// Operators of one input that work element by element: mathematical functions and activations. Functions that are no
// single instruction are `math` ops, which the code generator expands; it has them in f32 only.
#include "Node.h"

#include <cmath>

using namespace mlir;
using namespace quern;
using namespace quern::import;

using ScalarBody = Value (*)(const Scalars &, Value);
using TypeTest = bool (*)(int32_t);

/// Types whose functions are computed in f32.
static bool isShortFloat(int32_t type) { return isFloat(type) && type != kF64; }

static Status importWith(Node &node, TypeTest fits, int32_t type, Emitter::Body body) {
  QUERN_ASSIGN(Tensor x, node.input(0));
  if (!fits(x.type))
    return node.wrongType(x.type);
  return node.finish(node.e.elementwise(x, type ? type : x.type, body));
}

template <TypeTest fits, ScalarBody body> static Status importUnary(Node &node) {
  return importWith(node, fits, 0, [](const Scalars &s, ValueRange v) { return body(s, v[0]); });
}

template <typename Op> static Value mathOp(const Scalars &s, Value x) { return s.make<Op>(x); }

static Value number(const Scalars &s, Value x, double value) { return s.constant(x.getType(), value); }

static Value sigmoid(const Scalars &s, Value x) {
  return s.div(number(s, x, 1), s.add(number(s, x, 1), s.exp(s.make<arith::NegFOp>(x))));
}
/// log(1 + exp(x)) that does not overflow: max(x, 0) + log(1 + exp(-|x|)).
static Value softplus(const Scalars &s, Value x) {
  Value tail = s.exp(s.make<arith::NegFOp>(s.make<math::AbsFOp>(x)));
  return s.add(s.max(x, number(s, x, 0)), s.make<math::Log1pOp>(tail));
}

static Value negate(const Scalars &s, Value x) {
  return isa<FloatType>(x.getType()) ? s.make<arith::NegFOp>(x) : s.sub(s.integer(x.getType(), 0), x);
}
static Value absolute(const Scalars &s, Value x) { return s.abs(x); }
/// -1, 0 or 1; NaN stays one.
static Value sign(const Scalars &s, Value x) {
  Value zero = number(s, x, 0);
  Value out = s.select(s.less(zero, x), number(s, x, 1), x);
  return s.isUnsigned ? out : s.select(s.less(x, zero), number(s, x, -1), out);
}
static Value relu(const Scalars &s, Value x) { return s.max(x, number(s, x, 0)); }
static Value reciprocal(const Scalars &s, Value x) { return s.div(number(s, x, 1), x); }
static Value softsign(const Scalars &s, Value x) {
  return s.div(x, s.add(number(s, x, 1), s.make<math::AbsFOp>(x)));
}
static Value mish(const Scalars &s, Value x) { return s.mul(x, s.make<math::TanhOp>(softplus(s, x))); }
/// x * clamp(x / 6 + 1 / 2, 0, 1).
static Value hardSwish(const Scalars &s, Value x) {
  Value line = s.add(s.mul(x, number(s, x, 1.0 / 6)), number(s, x, 0.5));
  return s.mul(x, s.min(s.max(line, number(s, x, 0)), number(s, x, 1)));
}
static Value invert(const Scalars &s, Value x) { return s.make<arith::XOrIOp>(x, s.integer(x.getType(), -1)); }

/// Where x < 0: `below`; else x.
static Value orBelow(const Scalars &s, Value x, Value below) { return s.select(s.less(x, number(s, x, 0)), below, x); }

/// Sizes that are followed through the graph stay followed.
static Status importNeg(Node &node) {
  QUERN_ASSIGN(Tensor x, node.input(0));
  if (!x.elements || x.type != kI64)
    return importUnary<isNumeric, negate>(node);
  Dims out;
  for (OpFoldResult element : *x.elements)
    out.push_back(node.e.sub(node.e.index(0), element));
  node.set(0, node.e.fromElements(out, kI64, x.rank() == 0));
  return {};
}

static Status importLeakyRelu(Node &node) {
  double alpha = node.real("alpha", 0.01f);
  return importWith(node, isFloat, 0, [&](const Scalars &s, ValueRange v) {
    return orBelow(s, v[0], s.mul(v[0], number(s, v[0], alpha)));
  });
}

/// alpha * (exp(x / scale) - 1) below zero, and all of it times gamma: Elu, Celu and Selu.
static Status exponentialUnit(Node &node, double alpha, double scale, double gamma) {
  return importWith(node, isShortFloat, 0, [&](const Scalars &s, ValueRange v) {
    Value x = v[0], inside = scale == 1 ? x : s.div(x, number(s, x, scale));
    Value below = s.mul(number(s, x, alpha), s.make<math::ExpM1Op>(inside));
    Value out = orBelow(s, x, below);
    return gamma == 1 ? out : s.mul(number(s, x, gamma), out);
  });
}
static Status importElu(Node &node) { return exponentialUnit(node, node.real("alpha", 1), 1, 1); }
static Status importCelu(Node &node) {
  double alpha = node.real("alpha", 1);
  return exponentialUnit(node, alpha, alpha, 1);
}
static Status importSelu(Node &node) {
  return exponentialUnit(node, node.real("alpha", 1.67326319217681884765625), 1,
                         node.real("gamma", 1.05070102214813232421875));
}

static Status importHardSigmoid(Node &node) {
  double alpha = node.real("alpha", 0.2f), beta = node.real("beta", 0.5);
  return importWith(node, isFloat, 0, [&](const Scalars &s, ValueRange v) {
    Value line = s.add(s.mul(v[0], number(s, v[0], alpha)), number(s, v[0], beta));
    return s.min(s.max(line, number(s, v[0], 0)), number(s, v[0], 1));
  });
}

static Status importThresholdedRelu(Node &node) {
  double alpha = node.real("alpha", 1);
  return importWith(node, isFloat, 0, [&](const Scalars &s, ValueRange v) {
    return s.select(s.less(number(s, v[0], alpha), v[0]), v[0], number(s, v[0], 0));
  });
}

static Status importShrink(Node &node) {
  double bias = node.real("bias", 0), lambda = node.real("lambd", 0.5);
  return importWith(node, isFloat, 0, [&](const Scalars &s, ValueRange v) {
    Value x = v[0];
    Value low = s.select(s.less(x, number(s, x, -lambda)), s.add(x, number(s, x, bias)), number(s, x, 0));
    return s.select(s.less(number(s, x, lambda), x), s.sub(x, number(s, x, bias)), low);
  });
}

static Status importGelu(Node &node) {
  bool tanh = node.text("approximate", "none") == "tanh";
  return importWith(node, isShortFloat, 0, [&](const Scalars &s, ValueRange v) {
    Value x = v[0], inner;
    if (tanh) {
      Value cubic = s.mul(number(s, x, 0.044715), s.mul(x, s.mul(x, x)));
      inner = s.make<math::TanhOp>(s.mul(number(s, x, std::sqrt(2 / M_PI)), s.add(x, cubic)));
    } else {
      inner = s.make<math::ErfOp>(s.mul(x, number(s, x, std::sqrt(0.5))));
    }
    return s.mul(s.mul(number(s, x, 0.5), x), s.add(number(s, x, 1), inner));
  });
}

static Status importSwish(Node &node) {
  double alpha = node.real("alpha", 1);
  return importWith(node, isShortFloat, 0, [&](const Scalars &s, ValueRange v) {
    return s.mul(v[0], sigmoid(s, s.mul(v[0], number(s, v[0], alpha))));
  });
}

static Status importIsNaN(Node &node) {
  return importWith(node, isFloat, kBool, [](const Scalars &s, ValueRange v) {
    return s.make<arith::CmpFOp>(arith::CmpFPredicate::UNO, v[0], v[0]);
  });
}

static Status importIsInf(Node &node) {
  bool negative = node.integer("detect_negative", 1) != 0, positive = node.integer("detect_positive", 1) != 0;
  return importWith(node, isFloat, kBool, [&](const Scalars &s, ValueRange v) {
    Value no = s.integer(s.b.getI1Type(), 0);
    Value low = negative ? s.equal(v[0], number(s, v[0], -INFINITY)) : no;
    Value high = positive ? s.equal(v[0], number(s, v[0], INFINITY)) : no;
    return s.make<arith::OrIOp>(low, high);
  });
}

void import::addUnary(Operators &operators) {
  operators["Neg"] = importNeg;
  operators["Abs"] = importUnary<isNumeric, absolute>;
  operators["Sign"] = importUnary<isNumeric, sign>;
  operators["Relu"] = importUnary<isNumeric, relu>;
  operators["Not"] = importUnary<isBoolean, invert>;
  operators["BitwiseNot"] = importUnary<isInteger, invert>;
  operators["Reciprocal"] = importUnary<isFloat, reciprocal>;
  operators["Softsign"] = importUnary<isFloat, softsign>;
  operators["HardSwish"] = importUnary<isFloat, hardSwish>;
  operators["Floor"] = importUnary<isFloat, mathOp<math::FloorOp>>;
  operators["Ceil"] = importUnary<isFloat, mathOp<math::CeilOp>>;
  operators["Round"] = importUnary<isFloat, mathOp<math::RoundEvenOp>>;
  operators["Sqrt"] = importUnary<isFloat, mathOp<math::SqrtOp>>;
  operators["Exp"] = importUnary<isShortFloat, mathOp<math::ExpOp>>;
  operators["Log"] = importUnary<isShortFloat, mathOp<math::LogOp>>;
  operators["Erf"] = importUnary<isShortFloat, mathOp<math::ErfOp>>;
  operators["Sin"] = importUnary<isShortFloat, mathOp<math::SinOp>>;
  operators["Cos"] = importUnary<isShortFloat, mathOp<math::CosOp>>;
  operators["Tan"] = importUnary<isShortFloat, mathOp<math::TanOp>>;
  operators["Asin"] = importUnary<isShortFloat, mathOp<math::AsinOp>>;
  operators["Acos"] = importUnary<isShortFloat, mathOp<math::AcosOp>>;
  operators["Atan"] = importUnary<isShortFloat, mathOp<math::AtanOp>>;
  operators["Sinh"] = importUnary<isShortFloat, mathOp<math::SinhOp>>;
  operators["Cosh"] = importUnary<isShortFloat, mathOp<math::CoshOp>>;
  operators["Tanh"] = importUnary<isShortFloat, mathOp<math::TanhOp>>;
  operators["Asinh"] = importUnary<isShortFloat, mathOp<math::AsinhOp>>;
  operators["Acosh"] = importUnary<isShortFloat, mathOp<math::AcoshOp>>;
  operators["Atanh"] = importUnary<isShortFloat, mathOp<math::AtanhOp>>;
  operators["Sigmoid"] = importUnary<isShortFloat, sigmoid>;
  operators["Softplus"] = importUnary<isShortFloat, softplus>;
  operators["Mish"] = importUnary<isShortFloat, mish>;
  operators["LeakyRelu"] = importLeakyRelu;
  operators["Elu"] = importElu;
  operators["Celu"] = importCelu;
  operators["Selu"] = importSelu;
  operators["HardSigmoid"] = importHardSigmoid;
  operators["ThresholdedRelu"] = importThresholdedRelu;
  operators["Shrink"] = importShrink;
  operators["Gelu"] = importGelu;
  operators["Swish"] = importSwish;
  operators["IsNaN"] = importIsNaN;
  operators["IsInf"] = importIsInf;
}

// Conversions between element types.
#include "Node.h"

#include <cmath>

using namespace mlir;
using namespace quern;
using namespace quern::import;

/// Values beyond the integers' range become the nearest end of it, NaN becomes 0.
static Value floatToInteger(const Scalars &s, Value x, Type type, bool isUnsigned) {
  unsigned bits = type.getIntOrFloatBitWidth();
  const llvm::fltSemantics &semantics = cast<FloatType>(x.getType()).getFloatSemantics();
  auto bound = [&](const APInt &value) {
    llvm::APFloat limit(semantics);
    limit.convertFromAPInt(value, !isUnsigned, llvm::APFloat::rmTowardZero);
    return s.make<arith::ConstantOp>(s.b.getFloatAttr(x.getType(), limit));
  };
  Value least = bound(isUnsigned ? APInt::getZero(bits) : APInt::getSignedMinValue(bits));
  Value greatest = bound(isUnsigned ? APInt::getMaxValue(bits) : APInt::getSignedMaxValue(bits));
  Value isNumber = s.make<arith::CmpFOp>(arith::CmpFPredicate::ORD, x, x);
  Value clamped = s.select(isNumber, s.min(s.max(x, least), greatest), s.constant(x.getType(), 0));
  Value inside = isUnsigned ? s.make<arith::FPToUIOp>(type, clamped) : s.make<arith::FPToSIOp>(type, clamped);
  // The greatest integer may be no number of x's type; the power of two above it is one.
  Value above = s.constant(x.getType(), std::ldexp(1.0, int(isUnsigned ? bits : bits - 1)));
  Value most = s.integer(type, isUnsigned ? -1 : APInt::getSignedMaxValue(bits).getSExtValue());
  return s.select(s.lessOrEqual(above, x), most, inside);
}

Value Emitter::convertScalar(const Scalars &s, Value x, int32_t from, int32_t to) {
  Type type = computeType(to);
  if (to == kBool) {
    Value zero = s.constant(x.getType(), 0);
    return isFloat(from) ? s.make<arith::CmpFOp>(arith::CmpFPredicate::UNE, x, zero)
                         : s.make<arith::CmpIOp>(arith::CmpIPredicate::ne, x, zero);
  }
  bool isUnsignedOrBool = isUnsigned(from) || from == kBool;
  if (isFloat(from) && isFloat(to)) {
    unsigned before = x.getType().getIntOrFloatBitWidth(), after = type.getIntOrFloatBitWidth();
    return before == after  ? x
           : before < after ? s.make<arith::ExtFOp>(type, x)
                            : s.make<arith::TruncFOp>(type, x);
  }
  if (isFloat(from))
    return floatToInteger(s, x, type, isUnsigned(to));
  if (isFloat(to))
    return isUnsignedOrBool ? s.make<arith::UIToFPOp>(type, x) : s.make<arith::SIToFPOp>(type, x);
  unsigned before = x.getType().getIntOrFloatBitWidth(), after = type.getIntOrFloatBitWidth();
  if (before == after)
    return x;
  if (before > after)
    return s.make<arith::TruncIOp>(type, x);
  return isUnsignedOrBool ? s.make<arith::ExtUIOp>(type, x) : s.make<arith::ExtSIOp>(type, x);
}

Tensor Emitter::convert(Tensor x, int32_t type) {
  if (x.type == type)
    return x;
  // Followed shapes stay followed: their values fit any of the wide integers.
  if (x.elements && (type == kI64 || type == kI32))
    return Tensor{Value(), type, x.dims, x.elements};
  int32_t from = x.type;
  return *elementwise(x, type, [&](const Scalars &s, ValueRange v) { return convertScalar(s, v[0], from, type); });
}

static Status convertTo(Node &node, int32_t type) {
  QUERN_ASSIGN(Tensor x, node.input(0));
  for (int32_t each : {x.type, type})
    if (!isComputable(each))
      return node.wrongType(each);
  return node.finish(node.e.convert(x, type));
}

static Status importCast(Node &node) { return convertTo(node, int32_t(node.integer("to", 0))); }

static Status importCastLike(Node &node) {
  QUERN_ASSIGN(Tensor like, node.input(1));
  return convertTo(node, like.type);
}

void import::addCasts(Operators &operators) {
  operators["Cast"] = importCast;
  operators["CastLike"] = importCastLike;
}

// Element types, and arithmetic on single elements.
#include "Emitter.h"

using namespace mlir;
using namespace quern;
using namespace quern::import;

bool import::isFloat(int32_t type) { return type == kF32 || type == kF16 || type == kBF16 || type == kF64; }
bool import::isUnsigned(int32_t type) { return type == kU8 || type == kU16 || type == kU32 || type == kU64; }
bool import::isInteger(int32_t type) {
  return isUnsigned(type) || type == kI8 || type == kI16 || type == kI32 || type == kI64;
}
bool import::isNumeric(int32_t type) { return isFloat(type) || isInteger(type); }
bool import::isBoolean(int32_t type) { return type == kBool; }
int32_t import::foldType(int32_t type) { return type == kF16 || type == kBF16 ? int32_t(kF32) : type; }
bool import::isComputable(int32_t type) { return isNumeric(type) || isBoolean(type); }

static bool isFloatType(Value x) { return isa<FloatType>(x.getType()); }

Value Scalars::constant(Type type, double value) const {
  if (auto floating = dyn_cast<FloatType>(type))
    return make<arith::ConstantOp>(b.getFloatAttr(floating, value));
  return integer(type, int64_t(value));
}
Value Scalars::integer(Type type, int64_t value) const {
  unsigned bits = type.isIndex() ? 64 : type.getIntOrFloatBitWidth();
  return make<arith::ConstantOp>(
      IntegerAttr::get(type, APInt(bits, uint64_t(value), /*isSigned=*/true, /*implicitTrunc=*/true)));
}
Value Scalars::add(Value x, Value y) const {
  return isFloatType(x) ? make<arith::AddFOp>(x, y) : make<arith::AddIOp>(x, y);
}
Value Scalars::sub(Value x, Value y) const {
  return isFloatType(x) ? make<arith::SubFOp>(x, y) : make<arith::SubIOp>(x, y);
}
Value Scalars::mul(Value x, Value y) const {
  return isFloatType(x) ? make<arith::MulFOp>(x, y) : make<arith::MulIOp>(x, y);
}

Value Scalars::div(Value x, Value y) const {
  if (isFloatType(x))
    return make<arith::DivFOp>(x, y);
  // The processor traps at both special cases.
  Value zero = integer(x.getType(), 0), one = integer(x.getType(), 1), isZero = equal(y, zero);
  if (isUnsigned)
    return select(isZero, zero, make<arith::DivUIOp>(x, select(isZero, one, y)));
  Value isMinusOne = equal(y, integer(x.getType(), -1));
  Value safe = select(make<arith::OrIOp>(isZero, isMinusOne), one, y);
  Value quotient = select(isMinusOne, sub(zero, x), make<arith::DivSIOp>(x, safe));
  return select(isZero, zero, quotient);
}

Value Scalars::rem(Value x, Value y) const { return sub(x, mul(div(x, y), y)); }

Value Scalars::abs(Value x) const {
  if (isFloatType(x))
    return make<math::AbsFOp>(x);
  Value zero = integer(x.getType(), 0);
  return isUnsigned ? x : select(less(x, zero), sub(zero, x), x);
}

Value Scalars::min(Value x, Value y) const {
  if (isFloatType(x))
    return make<arith::MinimumFOp>(x, y);
  return isUnsigned ? make<arith::MinUIOp>(x, y) : make<arith::MinSIOp>(x, y);
}
Value Scalars::max(Value x, Value y) const {
  if (isFloatType(x))
    return make<arith::MaximumFOp>(x, y);
  return isUnsigned ? make<arith::MaxUIOp>(x, y) : make<arith::MaxSIOp>(x, y);
}
Value Scalars::less(Value x, Value y) const {
  if (isFloatType(x))
    return make<arith::CmpFOp>(arith::CmpFPredicate::OLT, x, y);
  return make<arith::CmpIOp>(isUnsigned ? arith::CmpIPredicate::ult : arith::CmpIPredicate::slt, x, y);
}
Value Scalars::lessOrEqual(Value x, Value y) const {
  if (isFloatType(x))
    return make<arith::CmpFOp>(arith::CmpFPredicate::OLE, x, y);
  return make<arith::CmpIOp>(isUnsigned ? arith::CmpIPredicate::ule : arith::CmpIPredicate::sle, x, y);
}
Value Scalars::equal(Value x, Value y) const {
  if (isFloatType(x))
    return make<arith::CmpFOp>(arith::CmpFPredicate::OEQ, x, y);
  return make<arith::CmpIOp>(arith::CmpIPredicate::eq, x, y);
}
Value Scalars::select(Value condition, Value yes, Value no) const { return make<arith::SelectOp>(condition, yes, no); }

#include "Factors.h"

#include "ByteOps.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

/// The nearest bf16, as the low bits of an i32; what is left of `number` takes its place.
static Value takePart(Emitter &e, Value &number) {
  Value part = arith::TruncFOp::create(e, e.getBF16Type(), number);
  number = e.subf(number, e.widen(part));
  return arith::ExtUIOp::create(e, e.getI32Type(), arith::BitcastOp::create(e, e.getI16Type(), part));
}

static Value pair(Emitter &e, Value low, Value high) { return e.bitOr(low, e.shiftLeft(high, 16)); }

Value codegen::emitRowFactor(Emitter &e, Value number) {
  Value first = takePart(e, number);
  return pair(e, first, takePart(e, number));
}

std::array<Value, 2> codegen::emitTokenFactor(Emitter &e, Value number) {
  Value first = takePart(e, number), second = takePart(e, number);
  return {pair(e, first, second), takePart(e, number)};
}

/// Four nibbles for each c: which bytes the word has, of those of the first argument (0 to 3) and the second (4 to 7).
FactorFragments::FactorFragments(Emitter &e, Value lane)
    : e(e), rowSelector(pick(0x4444323232101010, lane)), tokenSelector(pick(0x7676543210543210, lane)) {}

Value FactorFragments::pick(uint64_t selectors, Value lane) const {
  Value shift = e.mul(e.rem(lane, e.i64(4)), 16);
  return arith::TruncIOp::create(e, e.getI32Type(), arith::ShRUIOp::create(e, e.i64(int64_t(selectors)), shift));
}

Value FactorFragments::ofRow(Value parts) const {
  return emitBytePermute(e, parts, e.number(e.getI32Type(), 0), rowSelector);
}

Value FactorFragments::ofToken(Value parts, Value last) const { return emitBytePermute(e, parts, last, tokenSelector); }

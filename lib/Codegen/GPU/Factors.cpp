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

Value codegen::emitTokenFactor(Emitter &e, Value number) {
  Value first = takePart(e, number), second = takePart(e, number), third = takePart(e, number);
  Value words[] = {pair(e, first, second), pair(e, third, first), pair(e, second, third), e.number(e.getI32Type(), 0)};
  return vector::FromElementsOp::create(e, e.i32s(4), ValueRange(words));
}

/// Four nibbles for each c: which bytes the word has, of those of the parts (0 to 3) and of zero (4 to 7).
FactorFragments::FactorFragments(Emitter &e, Value lane) : e(e) {
  Value shift = e.mul(e.rem(lane, e.i64(4)), 16), selectors = e.i64(0x4444323232101010);
  rowSelector = arith::TruncIOp::create(e, e.getI32Type(), arith::ShRUIOp::create(e, selectors, shift));
}

Value FactorFragments::ofRow(Value parts) const {
  return emitBytePermute(e, parts, e.number(e.getI32Type(), 0), rowSelector);
}

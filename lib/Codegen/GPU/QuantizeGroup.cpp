// The results equal the CPU's to the bit, since every step is rounded as there: d = max|x| / 127, q = x * (1 / d) to
// the nearest, ties to even.
#include "QuantizeGroup.h"

#include "EmitKernel.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

/// |x| compares as its bits do, so the greatest is an integer maximum, in which a NaN wins, as on the CPU.
static Value greatestBits(Emitter &e, ValueRange x) {
  Value greatest;
  for (Value one : x) {
    Value bits = e.bitAnd(arith::BitcastOp::create(e, e.getI32Type(), one), 0x7fffffff);
    greatest = greatest ? arith::MaxSIOp::create(e, greatest, bits) : bits;
  }
  return greatest;
}

static Value scaleOf(Emitter &e, Value bits) {
  Value greatest = arith::BitcastOp::create(e, e.getF32Type(), bits);
  return arith::DivFOp::create(e, greatest, e.real(e.getF32Type(), 127));
}

/// Of `lanes` neighbouring lanes.
static Value scaleOf(Emitter &e, ValueRange x, uint32_t lanes) {
  return scaleOf(e, reduceLanes(e, greatestBits(e, x), gpu::AllReduceOperation::MAXSI, lanes));
}

static Value inverseOf(Emitter &e, Value scale) { return arith::DivFOp::create(e, e.real(e.getF32Type(), 1), scale); }

/// x * inverse as i32; 0 where that is no number or infinite, as with a scale of 0 or below 2^-128.
static Value quantize(Emitter &e, Value x, Value inverse) {
  Value code = math::RoundEvenOp::create(e, e.mulf(x, inverse));
  Value finite =
      arith::CmpFOp::create(e, arith::CmpFPredicate::OLT, math::AbsFOp::create(e, code), e.real(e.getF32Type(), 256));
  Value kept = arith::SelectOp::create(e, finite, code, e.real(e.getF32Type(), 0));
  return arith::FPToSIOp::create(e, e.getI32Type(), kept);
}

static Value isZero(Emitter &e, Value value) {
  return arith::CmpIOp::create(e, arith::CmpIPredicate::eq, value, e.i64(0));
}

void codegen::storeQuantizedGroup(Emitter &e, Value x, Value lane, Value group, const QuantizedRows &to) {
  Value scale = scaleOf(e, x, 32), code = quantize(e, x, inverseOf(e, scale));
  Value sum = reduceLanes(e, code, gpu::AllReduceOperation::ADD, 16);
  Value place = e.add(e.mul(group, 32), lane);
  e.store(arith::TruncIOp::create(e, e.getI8Type(), code), e.at(to.codes, place), 1);
  e.ifThen(isZero(e, lane), [&] { e.store(scale, e.at(to.scales, e.mul(group, 4)), 4); });
  e.ifThen(isZero(e, e.rem(lane, e.i64(16))), [&] {
    Value sixteenth = e.mul(e.div(place, 16), 2);
    e.store(arith::TruncIOp::create(e, e.getI16Type(), sum), e.at(to.sums, sixteenth), 2);
  });
}

QuantizedQuad codegen::quantizeQuad(Emitter &e, ValueRange x) {
  Value scale = scaleOf(e, x, 8), inverse = inverseOf(e, scale), word, sum;
  for (auto [i, one] : llvm::enumerate(x)) {
    Value code = quantize(e, one, inverse), byte = e.shiftLeft(e.bitAnd(code, 255), 8 * int64_t(i));
    word = word ? e.bitOr(word, byte) : byte;
    sum = sum ? e.add(sum, code) : code;
  }
  return {word, reduceLanes(e, sum, gpu::AllReduceOperation::ADD, 4), scale};
}

void codegen::storeQuad(Emitter &e, const QuantizedQuad &made, Value lane, Value quad, const QuantizedRows &to) {
  e.store(made.codes, e.at(to.codes, e.mul(quad, 4)), 4);
  e.ifThen(isZero(e, e.rem(lane, e.i64(4))), [&] {
    e.store(arith::TruncIOp::create(e, e.getI16Type(), made.sum), e.at(to.sums, e.mul(e.div(quad, 4), 2)), 2);
  });
  e.ifThen(isZero(e, e.rem(lane, e.i64(8))),
           [&] { e.store(made.scale, e.at(to.scales, e.mul(e.div(quad, 8), 4)), 4); });
}

void codegen::storeQuantizedQuads(Emitter &e, ValueRange x, Value lane, Value chunk, const QuantizedRows &to) {
  QuantizedQuad made = quantizeQuad(e, x);
  storeQuad(e, made, lane, e.add(e.mul(chunk, 32), lane), to);
}

/// Folds what the lanes with the same c have.
static Value reduceColumn(Emitter &e, Value value, llvm::function_ref<Value(Value, Value)> combine) {
  for (int32_t mask : {4, 8, 16})
    value = combine(value, fromNeighbour(e, value, mask));
  return value;
}

/// Sums of both 16s travel in one word: that of the lower, plus 2^16 times that of the upper.
void codegen::storeQuantizedColumns(Emitter &e, ValueRange x, Value lane, Value group, Value isStored,
                                    const QuantizedRows &to) {
  auto greater = [&](Value a, Value b) -> Value { return arith::MaxSIOp::create(e, a, b); };
  Value scale = scaleOf(e, reduceColumn(e, greatestBits(e, x), greater)), inverse = inverseOf(e, scale);
  Emitter::Values codes;
  for (Value one : x)
    codes.push_back(quantize(e, one, inverse));
  Value sums = e.add(e.add(codes[0], codes[1]), e.shiftLeft(e.add(codes[2], codes[3]), 16));
  sums = reduceColumn(e, sums, [&](Value a, Value b) { return e.add(a, b); });
  Value low = e.signedShiftRight(e.shiftLeft(sums, 16), 16), high = e.sub(sums, low), row = e.div(lane, 4);
  e.ifThen(isStored, [&] {
    for (auto [i, code] : llvm::enumerate(codes)) {
      Value place = e.add(e.mul(group, 32), e.add(row, 8 * int64_t(i)));
      e.store(arith::TruncIOp::create(e, e.getI8Type(), code), e.at(to.codes, place), 1);
    }
    e.ifThen(isZero(e, row), [&] {
      e.store(scale, e.at(to.scales, e.mul(group, 4)), 4);
      e.store(e.bitOr(e.bitAnd(low, 0xffff), high), e.at(to.sums, e.mul(group, 4)), 4);
    });
  });
}

/// In whole numbers, since not every target has an instruction for it.
Value codegen::roundToBfloat(Emitter &e, Value x) {
  Value bits = arith::BitcastOp::create(e, e.getI32Type(), x);
  Value even = e.bitAnd(e.shiftRight(bits, 16), 1); // a tie goes up from an odd one
  Value rounded = e.shiftRight(e.add(e.add(bits, e.number(e.getI32Type(), 0x7fff)), even), 16);
  Value quiet = e.bitOr(e.shiftRight(bits, 16), e.number(e.getI32Type(), 0x40));
  Value isNan = arith::CmpFOp::create(e, arith::CmpFPredicate::UNO, x, x);
  return arith::TruncIOp::create(e, e.getI16Type(), arith::SelectOp::create(e, isNan, quiet, rounded));
}

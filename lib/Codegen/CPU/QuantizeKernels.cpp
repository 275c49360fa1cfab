// Rows of activations in the forms that matmuls take: quantized by groups of 32 or as a whole, or rounded to bf16.
#include "StoreRow.h"

#include "Kernels.h"
#include "quern/Codegen/ActivationLayout.h"

using namespace mlir;
using namespace quern::codegen;

QuantizedGroup quern::codegen::emitQuantizeGroup(Emitter &e, ArrayRef<Value> x, double limit) {
  // |x| compares as its bits do, so the greatest is an integer maximum.
  auto magnitude = [&](Value v) { return e.bitAnd(e.bitcast(v, e.i32s()), 0x7fffffff); };
  auto greater = [&](Value a, Value b) { return e.createOrFold<arith::MaxSIOp>(a, b); };
  Value bits = magnitude(x.front());
  for (Value more : x.drop_front())
    bits = greater(bits, magnitude(more));
  Value largest = arith::BitcastOp::create(e, e.getF32Type(), e.treeFold(bits, greater));
  QuantizedGroup out{arith::DivFOp::create(e, largest, e.real(e.getF32Type(), limit)), {}};
  Value zero = e.real(e.getF32Type(), 0);
  Value inverse = arith::DivFOp::create(e, e.real(e.getF32Type(), 1), out.scale);
  Value isZero = arith::CmpFOp::create(e, arith::CmpFPredicate::OEQ, out.scale, zero);
  Value factor = e.splat(arith::SelectOp::create(e, isZero, zero, inverse), e.f32s());
  for (Value part : x) {
    Value rounded = math::RoundEvenOp::create(e, e.mulf(part, factor));
    out.codes.push_back(arith::FPToSIOp::create(e, e.i32s(), rounded));
  }
  return out;
}

/// Stores group `group` of the unit at `out`: `codes` are two vectors.
static void storeGroup(Emitter &e, ArrayRef<Value> codes, Value scale, int64_t group, Value out) {
  Value sum;
  for (int64_t half = 0; half < 2; ++half) {
    int64_t part = 2 * group + half;
    e.store(arith::TruncIOp::create(e, e.i8s(16), codes[half]), e.at(out, 16 * part), 8);
    Value negated = e.sub(e.number(e.getI32Type(), 0), e.treeSum(codes[half]));
    e.store(negated, e.at(out, kActSums16 + 4 * part), 4);
    sum = sum ? e.add(sum, negated) : negated;
  }
  e.store(sum, e.at(out, kActSums32 + 4 * group), 4);
  e.store(scale, e.at(out, kActScales + 4 * group), 4);
  e.store(e.negf(e.mulf(scale, e.toFloat(sum))), e.at(out, kActScaledSums + 4 * group), 4);
}

void quern::codegen::emitQuantizeUnit(Emitter &e, ArrayRef<Value> x, Value out) {
  for (int64_t group = 0; group < 2; ++group) {
    QuantizedGroup quantized = emitQuantizeGroup(e, x.slice(2 * group, 2), 127);
    storeGroup(e, quantized.codes, quantized.scale, group, out);
  }
}

/// Units of a row of n elements.
static Value unitsOf(Emitter &e, Value n) { return e.div(e.add(n, kActUnit - 1), kActUnit); }

/// Runs `store` for each unit's four vectors of what `value` gives, zeros of type `zeros` beyond the stored row.
static void forUnits(KernelBody &k, Value n, Value out, VectorType zeros, RowValue value,
                     llvm::function_ref<void(ArrayRef<Value>, Value)> store) {
  Emitter &e = k.e;
  Value bytes = e.mul(k.padded(n), 4), zero = arith::ConstantOp::create(e, e.getZeroAttr(zeros));
  e.loop(e.i64(0), unitsOf(e, n), e.i64(1), [&](Value unit) {
    llvm::SmallVector<Value> parts;
    for (int64_t part = 0; part < 4; ++part) {
      Value offset = e.add(e.mul(unit, kActUnit * 4), 64 * part);
      parts.push_back(e.ifElse(
          e.less(offset, bytes), [&] { return Emitter::Values{value(offset)}; },
          [&] { return Emitter::Values{zero}; })[0]);
    }
    store(parts, e.at(out, e.mul(unit, kActUnitBytes)));
  });
}

/// Quantizes a row by groups of 32.
static void quantizeRow(KernelBody &k, Value n, Value out, RowValue value) {
  forUnits(k, n, out, k.e.f32s(), value, [&](ArrayRef<Value> x, Value unit) { emitQuantizeUnit(k.e, x, unit); });
}

/// Quantizes a row with one scale and one zero point. Each number is made twice: for the range, and for its code.
static void quantizeWholeRow(KernelBody &k, Value n, Value out, RowValue value) {
  Emitter &e = k.e;
  Type f32 = e.getF32Type(), i32 = e.getI32Type();
  Value none = e.real(e.f32s(), 0), end = e.mul(k.padded(n), 4);
  Emitter::Values range = e.loop(e.i64(0), end, e.i64(64), {none, none}, [&](Value at, ValueRange known) {
    Value x = value(at);
    return Emitter::Values{e.minf(x, known[0]), e.maxf(x, known[1])};
  });
  Value low = e.treeFold(range[0], [&](Value a, Value b) { return e.minf(a, b); });
  Value high = e.treeFold(range[1], [&](Value a, Value b) { return e.maxf(a, b); });
  Value scale = arith::DivFOp::create(e, e.subf(high, low), e.real(f32, 255));
  Value isZero = arith::CmpFOp::create(e, arith::CmpFPredicate::OEQ, scale, e.real(f32, 0));
  Value divisor = arith::SelectOp::create(e, isZero, e.real(f32, 1), scale);
  Value exact = e.minf(arith::DivFOp::create(e, e.negf(low), divisor), e.real(f32, 255));
  Value zero = arith::FPToSIOp::create(e, i32, math::RoundEvenOp::create(e, exact));
  zero = e.sub(zero, e.number(i32, 128));
  Value zeros = e.splat(zero, e.i32s()), divisors = e.splat(divisor, e.f32s());
  auto codes = [&](Value at) -> Value {
    Value rounded = math::RoundEvenOp::create(e, arith::DivFOp::create(e, value(at), divisors));
    Value code = e.add(arith::FPToSIOp::create(e, e.i32s(), rounded), zeros);
    code = e.createOrFold<arith::MaxSIOp>(code, e.number(e.i32s(), -128));
    return e.min(code, e.number(e.i32s(), 127));
  };
  forUnits(k, n, out, e.i32s(), codes, [&](ArrayRef<Value> made, Value unit) {
    for (int64_t group = 0; group < 2; ++group)
      storeGroup(e, made.slice(2 * group, 2), scale, group, unit);
  });
  Value last = e.at(out, e.mul(unitsOf(e, n), kActUnitBytes));
  e.store(e.negf(e.mulf(scale, e.toFloat(zero))), last, 4);
  e.store(zero, e.at(last, kActZero), 4);
}

/// 16 f32 as the bits of bf16, nearest even; a NaN stays one. In integers, as conversions of processors flush
/// subnormals.
static Value roundToBfloat(Emitter &e, Value x) {
  Value bits = e.bitcast(x, e.i32s()), odd = e.bitAnd(e.shiftRight(bits, 16), 1);
  Value rounded = e.add(e.add(bits, odd), e.number(e.i32s(), 0x7fff));
  Value isNan = arith::CmpFOp::create(e, arith::CmpFPredicate::UNO, x, x);
  Value quiet = e.bitOr(bits, e.number(e.i32s(), 0x400000));
  Value chosen = arith::SelectOp::create(e, isNan, quiet, rounded);
  return arith::TruncIOp::create(e, e.vec(16, e.getI16Type()), e.shiftRight(chosen, 16));
}

void quern::codegen::storeRow(KernelBody &k, RowKind kind, Value n, Value y, RowValue value) {
  Emitter &e = k.e;
  switch (kind) {
  case RowKind::Float:
    return k.forVectors(n, [&](Value at) { e.store(value(at), e.at(y, at), 64); });
  case RowKind::BFloat:
    return k.forVectors(n, [&](Value at) { e.store(roundToBfloat(e, value(at)), e.at(y, e.div(at, 2)), 32); });
  case RowKind::Act8:
    return quantizeRow(k, n, y, value);
  case RowKind::Act8Row:
    return quantizeWholeRow(k, n, y, value);
  }
}

func::FuncOp quern::codegen::emitQuantize(ModuleOp module, StringRef name, RowKind kind) {
  KernelBody k(module, name, "ppipiii"); // call, x, xStride, y, yStride, T, K
  k.forRows(k.args[5], [&](Value t) {
    Value x = k.row(k.args[1], t, k.args[2]);
    storeRow(k, kind, k.args[6], k.row(k.args[3], t, k.args[4]),
             [&](Value offset) { return k.e.load(k.e.f32s(), k.e.at(x, offset), 64); });
  });
  return k.finish();
}

func::FuncOp quern::codegen::emitDequantizeRows(ModuleOp module, StringRef name) {
  KernelBody k(module, name, "ppipiii"); // call, x, xStride, y, yStride, T, K
  Emitter &e = k.e;
  k.forRows(k.args[5], [&](Value t) {
    Value x = k.row(k.args[1], t, k.args[2]), y = k.row(k.args[3], t, k.args[4]);
    Value last = e.at(x, e.mul(unitsOf(e, k.args[6]), kActUnitBytes));
    Value scale = e.splat(e.load(e.getF32Type(), e.at(x, kActScales), 4), e.f32s());
    Value zero = e.splat(e.load(e.getI32Type(), e.at(last, kActZero), 4), e.i32s());
    k.forVectors(k.args[6], [&](Value at) {
      Value unit = e.at(x, e.mul(e.div(at, kActUnit * 4), kActUnitBytes));
      Value codes = e.load(e.i8s(16), e.at(unit, e.div(e.rem(at, e.i64(kActUnit * 4)), 4)), 8);
      Value difference = e.sub(arith::ExtSIOp::create(e, e.i32s(), codes), zero);
      e.store(e.mulf(scale, e.toFloat(difference)), e.at(y, at), 64);
    });
  });
  return k.finish();
}

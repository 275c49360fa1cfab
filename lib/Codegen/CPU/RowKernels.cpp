// Kernels over rows of activations: embedding, norm, run-time quantization, gating, addition, gathering. Each thread
// takes a contiguous share of the rows. Rows of f32 are padded with zeros to a multiple of 16 elements, and every
// kernel here keeps that so.
#include "KernelBody.h"
#include "Kernels.h"
#include "PanelReader.h"
#include "quern/Codegen/ActivationLayout.h"

using namespace mlir;
using namespace quern::codegen;

Value quern::codegen::emitSilu(Emitter &e, Value x) {
  Value exponential = math::ExpOp::create(e, e.negf(x));
  Value one = e.real(x.getType(), 1);
  return arith::DivFOp::create(e, x, e.addf(one, exponential));
}

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

using RowValue = llvm::function_ref<Value(Value)>; ///< of a byte offset in f32: 16 elements

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

/// Stores a row of n elements at `y`.
static void storeRow(KernelBody &k, RowKind kind, Value n, Value y, RowValue value) {
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

/// Stores the normalized n elements at `x`, filled up with zeros to whole vectors, at `y`.
static void normalize(KernelBody &k, RowKind kind, double eps, Value n, Value x, Value gain, Value y) {
  Emitter &e = k.e;
  Value zeros = e.real(e.f32s(), 0);
  Value squares = e.loop(e.i64(0), e.mul(k.padded(n), 4), e.i64(64), zeros, [&](Value at, ValueRange sum) {
    Value v = e.load(e.f32s(), e.at(x, at), 64);
    return Emitter::Values{e.fma(v, v, sum[0])};
  })[0];
  Value count = arith::SIToFPOp::create(e, e.getF32Type(), n);
  Value mean = arith::DivFOp::create(e, e.treeSum(squares), count);
  Value root = math::SqrtOp::create(e, e.addf(mean, e.real(e.getF32Type(), eps)));
  Value factor = e.splat(arith::DivFOp::create(e, e.real(e.getF32Type(), 1), root), e.f32s());
  storeRow(k, kind, n, y, [&](Value at) {
    Value v = e.mulf(e.load(e.f32s(), e.at(x, at), 64), factor);
    return e.mulf(v, e.load(e.f32s(), e.at(gain, at), 64));
  });
}

func::FuncOp quern::codegen::emitRmsNorm(ModuleOp module, StringRef name, double eps, RowKind kind) {
  KernelBody k(module, name, "ppippiii"); // call, x, xStride, gain, y, yStride, T, H
  k.forRows(k.args[6], [&](Value t) {
    normalize(k, kind, eps, k.args[7], k.row(k.args[1], t, k.args[2]), k.args[3], k.row(k.args[4], t, k.args[5]));
  });
  return k.finish();
}

func::FuncOp quern::codegen::emitHeadNorm(ModuleOp module, StringRef name, double eps) {
  KernelBody k(module, name, "ppippiiii"); // call, x, xStride, gain, y, yStride, T, heads, D
  Emitter &e = k.e;
  k.forRows(k.args[6], [&](Value t) {
    Value x = k.row(k.args[1], t, k.args[2]), y = k.row(k.args[4], t, k.args[5]);
    e.loop(e.i64(0), k.args[7], e.i64(1), [&](Value head) {
      Value offset = e.mul(e.mul(head, k.args[8]), 4);
      normalize(k, RowKind::Float, eps, k.args[8], e.at(x, offset), k.args[3], e.at(y, offset));
    });
  });
  return k.finish();
}

/// y = combine(a, b) element by element; the arguments are call, a, aStride, b, bStride, y, yStride, T, N.
static func::FuncOp emitBinary(ModuleOp module, StringRef name,
                               llvm::function_ref<Value(Emitter &, Value, Value)> combine) {
  KernelBody k(module, name, "ppipipiii");
  k.forRows(k.args[7], [&](Value t) {
    Value a = k.row(k.args[1], t, k.args[2]), b = k.row(k.args[3], t, k.args[4]), y = k.row(k.args[5], t, k.args[6]);
    k.forVectors(k.args[8], [&](Value at) {
      Value left = k.e.load(k.e.f32s(), k.e.at(a, at), 64), right = k.e.load(k.e.f32s(), k.e.at(b, at), 64);
      k.e.store(combine(k.e, left, right), k.e.at(y, at), 64);
    });
  });
  return k.finish();
}

func::FuncOp quern::codegen::emitSwiglu(ModuleOp module, StringRef name) {
  return emitBinary(module, name, [](Emitter &e, Value gate, Value up) { return e.mulf(emitSilu(e, gate), up); });
}

func::FuncOp quern::codegen::emitAdd(ModuleOp module, StringRef name) {
  return emitBinary(module, name, [](Emitter &e, Value a, Value b) { return e.addf(a, b); });
}

func::FuncOp quern::codegen::emitGatherColumns(ModuleOp module, StringRef name) {
  KernelBody k(module, name, "ppippiii"); // call, x, xStride, columns, y, yStride, T, K
  Emitter &e = k.e;
  k.forRows(k.args[6], [&](Value t) {
    Value x = k.row(k.args[1], t, k.args[2]), y = k.row(k.args[4], t, k.args[5]);
    e.loop(e.i64(0), e.mul(k.args[7], 4), e.i64(4), [&](Value at) {
      Value column = e.load(e.getI32Type(), e.at(k.args[3], at), 4);
      Value from = e.mul(arith::ExtUIOp::create(e, e.getI64Type(), column), 4);
      e.store(e.load(e.getF32Type(), e.at(x, from), 4), e.at(y, at), 4);
    });
  });
  return k.finish();
}

func::FuncOp quern::codegen::emitGatherRows(ModuleOp module, StringRef name) {
  KernelBody k(module, name, "ppippiii"); // call, x, xStride, rows, y, yStride, O, H
  Emitter &e = k.e;
  k.forRows(k.args[6], [&](Value o) {
    Value index = e.load(e.getI32Type(), e.at(k.args[3], e.mul(o, 4)), 4);
    Value x = k.row(k.args[1], arith::ExtSIOp::create(e, e.getI64Type(), index), k.args[2]);
    Value y = k.row(k.args[4], o, k.args[5]);
    k.forVectors(k.args[7], [&](Value at) { e.store(e.load(e.f32s(), e.at(x, at), 64), e.at(y, at), 64); });
  });
  return k.finish();
}

/// t(c) of four weights of one row.
static Value integers(Emitter &e, PanelReader &reader, const PanelLayout &layout, unsigned line) {
  auto digit = [&](unsigned index) {
    Value wide = arith::ExtUIOp::create(e, e.i32s(4), reader.codes(line, /*asSigned=*/false, index));
    return e.sub(wide, e.number(e.i32s(4), layout.zero));
  };
  Value first = digit(0);
  return layout.digits() == 1 ? first : e.add(first, e.shiftLeft(digit(1), layout.digitShift));
}

/// Decodes 64 weights of one row at sub-unit `reader` stands on, and stores them from `out`.
static void decodeSubunit(Emitter &e, PanelReader &reader, const PanelLayout &layout, const PanelReader::Super &super,
                          Value out) {
  for (unsigned line = 0; line < kSubunit / 4; ++line) {
    if (line % 8 == 0)
      reader.enterGroup(line / 8, line == 0 ? reader.firstWords() : reader.nextWords(reader.firstWords()));
    Value value = e.toFloat(integers(e, reader, layout, line % 8));
    auto [scale, minimum] = reader.scales(line % 8 * 4 / layout.piece, super);
    auto everywhere = [&](Value one) {
      return e.splat(vector::ExtractOp::create(e, one, ArrayRef<int64_t>{0}), e.f32s(4));
    };
    value = e.mulf(everywhere(scale), value);
    if (minimum)
      value = layout.minimumAdded ? e.addf(value, everywhere(minimum)) : e.subf(value, everywhere(minimum));
    e.store(value, e.at(out, line * 16), 16);
  }
}

/// One row of a panel of block weights, as f32.
static void decodePanelRow(Emitter &e, const PanelLayout &layout, Value panel, Value header, Value lane, Value k,
                           Value out) {
  Value subunits = e.div(k, kSubunit), base = e.at(panel, header);
  bool six = layout.scale == ScaleLayout::SixBits;
  PanelReader outer(e, layout, lane);
  Emitter::Values carried;
  if (six)
    carried.push_back(outer.loadFirstPair(panel));
  auto decode = [&](Value subunit, const PanelReader::Super &super, Value pair) -> Value {
    PanelReader reader(e, layout, lane);
    reader.beginSubunit(e.at(base, e.mul(subunit, layout.subunitBytes())));
    decodeSubunit(e, reader, layout, super, e.at(out, e.mul(subunit, kSubunit * 4)));
    return pair ? reader.gatherPair(pair) : Value();
  };
  if (!layout.hasSuperBlocks()) {
    e.loop(e.i64(0), subunits, e.i64(1), [&](Value subunit) { decode(subunit, {}, {}); });
    return;
  }
  e.loop(e.i64(0), e.div(subunits, 4), e.i64(1), carried, [&](Value block, ValueRange pairs) {
    PanelReader::Super super = six ? outer.splitPair(pairs[0]) : outer.loadSuper(panel, block);
    Value first = e.mul(block, 4);
    return e.loop(first, e.add(first, 4), e.i64(1), pairs, [&](Value subunit, ValueRange inner) {
      Value next = decode(subunit, super, inner.empty() ? Value() : inner[0]);
      return next ? Emitter::Values{next} : Emitter::Values{};
    });
  });
}

/// One row of a panel of float weights, as f32.
static void widenPanelRow(Emitter &e, const PanelLayout &layout, Value panel, Value lane, Value k, Value out) {
  Type element = layout.floatBytes == 4 ? Type(e.getF32Type())
                 : layout.bfloat       ? Type(e.getBF16Type())
                                       : Type(e.getF16Type());
  e.loop(e.i64(0), k, e.i64(1), [&](Value at) {
    Value offset = layout.inPairs()
                       ? e.add(e.mul(e.div(at, 2), kLineBytes), e.add(e.mul(lane, 4), e.mul(e.rem(at, e.i64(2)), 2)))
                       : e.mul(e.add(e.mul(at, kPanelRows), lane), layout.floatBytes);
    Value weight = e.load(e.vec(1, element), e.at(panel, offset), layout.floatBytes);
    e.store(layout.floatBytes == 4 ? weight : e.widen(weight), e.at(out, e.mul(at, 4)), 4);
  });
}

func::FuncOp quern::codegen::emitEmbedding(ModuleOp module, StringRef name, const PanelLayout &layout) {
  KernelBody k(module, name, "pppipiii"); // call, ids, w, panelBytes, y, yStride, T, K
  Emitter &e = k.e;
  Value panelBytes = k.args[3], width = k.args[7];
  k.forRows(k.args[6], [&](Value t) {
    Value id32 = e.load(e.getI32Type(), e.at(k.args[1], e.mul(t, 4)), 4);
    Value id = arith::ExtSIOp::create(e, e.getI64Type(), id32);
    Value panel = e.at(k.args[2], e.mul(e.div(id, kPanelRows), panelBytes));
    Value lane = e.rem(id, e.i64(kPanelRows));
    Value out = k.row(k.args[4], t, k.args[5]);
    if (layout.isFloat())
      return widenPanelRow(e, layout, panel, lane, width, out);
    // The header is what the sub-units leave of a panel.
    Value header = e.sub(panelBytes, e.mul(e.div(width, kSubunit), layout.subunitBytes()));
    decodePanelRow(e, layout, panel, header, lane, width, out);
  });
  return k.finish();
}

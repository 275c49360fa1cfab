// Kernels over rows of activations: embedding, norm, gating, addition, gathering. Each thread takes a contiguous share
// of the rows. Rows of f32 are padded with zeros to a multiple of 16 elements, and every kernel here keeps that so.
#include "Kernels.h"
#include "PanelReader.h"
#include "StoreRow.h"

using namespace mlir;
using namespace quern::codegen;

Value quern::codegen::emitSilu(Emitter &e, Value x) {
  Value exponential = math::ExpOp::create(e, e.negf(x));
  Value one = e.real(x.getType(), 1);
  return arith::DivFOp::create(e, x, e.addf(one, exponential));
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

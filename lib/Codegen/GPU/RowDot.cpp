// A row of a weight times the columns of activations, as the lanes that share it do it. A lane's units are loaded some
// at a time, and the next ones before the ones at hand are worked on, so that several loads are always on their way.
#include "RowDot.h"

#include "ByteOps.h"
#include "UnitLoop.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

namespace {

/// Quantized activations times a block format.
class BlockDot {
public:
  BlockDot(Emitter &e, const GpuTarget &target, const GpuLayout &layout, const WeightRow &w,
           const ActivationPointers &x)
      : e(e), layout(layout), width(w.width), x(x), reader(e, target, layout, w) {}

  Emitter::Values load(Value unit) { return reader.load(unit); }

  /// Adds up what unit `unit` gives to `totals`. Few columns load what they have for the whole unit at once; many take
  /// 32 k after the other, for want of registers.
  void add(Value unit, ValueRange loaded, Emitter::Values &totals) {
    UnitReader::Unit weights(reader, unit, loaded);
    int64_t span = x.columns <= 2 ? layout.unit() : std::min<int64_t>(layout.unit(), 32);
    for (int64_t from = 0; from < layout.unit(); from += span) {
      SmallVector<Quad> quads;
      SmallVector<ScalePair> scales;
      for (int64_t q = 0; q < span / 4; ++q)
        quads.push_back(weights.quad(from / 4 + q));
      for (int64_t at = 0; at < span; at += layout.piece())
        scales.push_back(weights.scale((from + at) / layout.piece()));
      for (int64_t t = 0; t < x.columns; ++t)
        addSpan(unit, t, from, span, quads, scales, totals[t]);
    }
  }

private:
  void addSpan(Value unit, int64_t t, int64_t from, int64_t span, ArrayRef<Quad> quads, ArrayRef<ScalePair> scales,
               Value &total) {
    Value sx = loadEach(x.quantized.scales, e.getF32Type(), unit, t, from, span, 32, 4), sums;
    if (layout.zero || scales[0].minimum)
      sums = loadEach(x.quantized.sums, e.getI16Type(), unit, t, from, span, 16, 2);
    for (int64_t at = 0, p = 0; at < span; at += layout.piece(), ++p)
      addPiece(unit, t, from + at, element(sx, at / 32), sumOf(sums, at), quads.slice(at / 4, layout.piece() / 4),
               scales[p], total);
  }

  /// total + scale * sx * (dot - zero * sum) -/+ minimum * sx * sum, over the k of one scale.
  void addPiece(Value unit, int64_t t, int64_t k, Value sx, Value sum, ArrayRef<Quad> quads, ScalePair pair,
                Value &total) {
    Value zero = e.number(e.getI32Type(), 0), digits = zero;
    Value dot = layout.zero ? e.mul(sum, e.number(e.getI32Type(), -int64_t(layout.zero))) : zero;
    bool isSigned = layout.signedCodes || !layout.table.empty();
    for (int64_t from = 0; from < layout.piece(); from += 16) {
      Value codes = e.load(e.i32s(4), e.at(x.quantized.codes, place(unit, t, k + from, 1, 1)), 16);
      for (int64_t i = 0; i < 4; ++i) {
        Quad quad = quads[from / 4 + i];
        Value four = vector::ExtractOp::create(e, codes, ArrayRef<int64_t>{i});
        dot = emitByteDot(e, quad.codes, isSigned, four, dot);
        if (quad.digits)
          digits = emitByteDot(e, quad.digits, true, four, digits);
      }
    }
    if (!layout.digits.empty())
      dot = e.add(dot, e.shiftLeft(digits, layout.digitShift));
    total = e.fma(e.mulf(pair.scale, sx), e.toFloat(dot), total);
    if (!pair.minimum)
      return;
    Value minimum = e.mulf(pair.minimum, sx);
    total = e.fma(layout.minimumAdded ? minimum : e.negf(minimum), e.toFloat(sum), total);
  }

  /// Bytes to the number of `bytes` bytes that belongs to k `k` of the unit in column t, one for each `share` k.
  Value place(Value unit, int64_t t, int64_t k, int64_t share, int64_t bytes) {
    Value ofUnit = share > layout.unit() ? e.mul(e.div(unit, share / layout.unit()), bytes)
                                         : e.mul(unit, layout.unit() / share * bytes);
    return e.add(ofUnit, (t * gpuRowWidth(width) + k) / share * bytes);
  }

  /// The numbers of a span, by one load.
  Value loadEach(Value array, Type type, Value unit, int64_t t, int64_t from, int64_t span, int64_t share,
                 int64_t bytes) {
    int64_t count = std::max<int64_t>(1, span / share);
    Type all = count == 1 ? type : e.vec(count, type);
    return e.load(all, e.at(array, place(unit, t, from, share, bytes)), unsigned(count * bytes));
  }

  Value element(Value of, int64_t index) {
    return isa<VectorType>(of.getType()) ? vector::ExtractOp::create(e, of, ArrayRef<int64_t>{index}).getResult() : of;
  }

  /// The sum of the codes of the piece that starts at k `at` of a span; none where none are loaded.
  Value sumOf(Value sums, int64_t at) {
    if (!sums)
      return {};
    auto sixteen = [&](int64_t i) -> Value { return arith::ExtSIOp::create(e, e.getI32Type(), element(sums, i)); };
    return layout.piece() == 16 ? sixteen(at / 16) : e.add(sixteen(at / 16), sixteen(at / 16 + 1));
  }

  Emitter &e;
  const GpuLayout &layout;
  int64_t width;
  const ActivationPointers &x;
  UnitReader reader;
};

/// Float activations times float weights.
class FloatDot {
public:
  FloatDot(Emitter &e, const GpuLayout &layout, const WeightRow &w, const ActivationPointers &x)
      : e(e), layout(layout), width(w.width), x(x),
        start(e.at(w.weight, e.mul(w.row, layout.rowBytes(w.width).front()))) {}

  Emitter::Values load(Value unit) {
    return {e.load(e.i32s(4), e.at(start, e.mul(unit, kGpuLoadBytes)), kGpuLoadBytes)};
  }

  void add(Value unit, ValueRange loaded, Emitter::Values &totals) {
    Emitter::Values weights = numbers(loaded[0], layout.floatBytes, layout.bfloat);
    int64_t size = layout.bfloat ? 2 : 4, bytes = layout.unit() * size;
    for (int64_t t = 0; t < x.columns; ++t)
      for (int64_t from = 0; from < bytes; from += 16) {
        Value place = e.add(e.mul(unit, bytes), t * width * size + from);
        Value loadedX = e.load(e.i32s(4), e.at(x.rows, place), 16);
        for (auto [i, number] : llvm::enumerate(numbers(loadedX, size, layout.bfloat)))
          totals[t] = e.fma(weights[from / size + i], number, totals[t]);
      }
  }

private:
  /// The 16 bytes as f32.
  Emitter::Values numbers(Value words, unsigned bytes, bool bfloat) {
    Emitter::Values all;
    Value halves = bytes == 2 && !bfloat ? e.widen(e.bitcast(words, e.vec(8, e.getF16Type()))) : Value();
    auto asFloat = [&](Value bits) -> Value { return arith::BitcastOp::create(e, e.getF32Type(), bits); };
    for (int64_t i = 0; i < kGpuLoadBytes / bytes; ++i) {
      Value whole = halves ? halves : words;
      Value one = vector::ExtractOp::create(e, whole, ArrayRef<int64_t>{bfloat ? i / 2 : i});
      if (bfloat) // the upper half of an f32
        one = i % 2 ? e.bitAnd(one, int32_t(0xffff0000)) : e.shiftLeft(one, 16);
      all.push_back(halves ? one : asFloat(one));
    }
    return all;
  }

  Emitter &e;
  const GpuLayout &layout;
  int64_t width;
  const ActivationPointers &x;
  Value start;
};

/// Loads of 16 bytes of codes that a lane has on their way, for so many columns: what registers allow.
int64_t loadsAhead(int64_t columns) { return columns <= 2 ? 4 : columns <= 4 ? 2 : 1; }

UnitLoop loopOf(const GpuLayout &layout, const WeightRow &w, int64_t columns, Value lane, int64_t lanes) {
  int64_t loads = 0;
  for (size_t plane = 0; plane < layout.planes.size(); ++plane)
    loads += layout.pieces(plane);
  return {layout.units(w.width), lane, lanes, loadsAhead(columns) / std::max<int64_t>(loads, 1)};
}

} // namespace

Emitter::Values RowDot::begin() {
  UnitLoop loop = loopOf(layout, w, x.columns, lane, lanes);
  if (layout.isFloat()) {
    FloatDot dot(e, layout, w, x);
    return loop.begin(e, dot);
  }
  BlockDot dot(e, target, layout, w, x);
  return loop.begin(e, dot);
}

Emitter::Values RowDot::finish(ValueRange begun, llvm::function_ref<void()> beforeLast) {
  UnitLoop loop = loopOf(layout, w, x.columns, lane, lanes);
  Emitter::Values totals(x.columns, e.real(e.getF32Type(), 0));
  if (layout.isFloat()) {
    FloatDot dot(e, layout, w, x);
    return loop.finish(e, dot, begun, totals, beforeLast);
  }
  BlockDot dot(e, target, layout, w, x);
  return loop.finish(e, dot, begun, totals, beforeLast);
}

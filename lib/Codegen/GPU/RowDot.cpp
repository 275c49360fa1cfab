// A row of a weight times the columns of quantized activations, as the lanes that share it do it.
#include "RowDot.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

namespace {

/// The scale of some k, and the minimum where the format has one.
struct ScalePair {
  Value scale, minimum;
};

class RowDot {
public:
  RowDot(Emitter &e, const GpuLayout &layout, const WeightRow &w, const ActivationPointers &x)
      : e(e), layout(layout), width(w.width), regions(layout.regions(w.rows, w.width)),
        rowBytes(layout.rowBytes(w.width)), weight(w.weight), row(w.row), x(x) {}

  Emitter::Values addUp(Value lane, int64_t lanes) {
    int64_t units = layout.units(width);
    Emitter::Values zeros(x.columns, e.real(e.getF32Type(), 0));
    return e.loop(lane, e.i64(units), e.i64(lanes), zeros,
                  [&](Value unit, ValueRange carried) { return addUnit(unit, Emitter::Values(carried)); });
  }

private:
  Emitter::Values addUnit(Value unit, Emitter::Values totals) {
    std::vector<std::vector<Value>> words = loadCodes(unit);
    Value k = e.mul(unit, layout.unit());
    std::vector<ScalePair> pairs = loadScales(unit, k);
    int64_t piece = layout.piece();
    for (int64_t t = 0; t < x.columns; ++t)
      for (int64_t at = 0; at < layout.unit(); at += piece)
        totals[t] = addPiece(totals[t], words, pairs[at / piece], t, k, at);
    return totals;
  }

  /// All words of a unit, by plane, then in the order in which they lie in its pieces.
  std::vector<std::vector<Value>> loadCodes(Value unit) {
    std::vector<std::vector<Value>> words(layout.planes.size());
    int64_t units = layout.units(width);
    for (size_t plane = 0; plane < layout.planes.size(); ++plane) {
      Value start = e.at(region(plane), e.mul(unit, kGpuLoadBytes));
      for (int64_t piece = 0; piece < layout.pieces(plane); ++piece)
        loadWords(e.at(start, piece * units * kGpuLoadBytes), words[plane]);
    }
    return words;
  }

  /// Four words by one load.
  void loadWords(Value pointer, std::vector<Value> &into) {
    Value four = e.load(e.i32s(4), pointer, kGpuLoadBytes);
    for (int64_t i = 0; i < 4; ++i)
      into.push_back(vector::ExtractOp::create(e, four, ArrayRef<int64_t>{i}));
  }

  /// Where this row starts in a region.
  Value region(size_t number) { return e.at(e.at(weight, regions[number]), e.mul(row, rowBytes[number])); }

  /// Quad q of the unit as four bytes, of all planes together.
  Value quad(const std::vector<std::vector<Value>> &words, int64_t q) {
    Value whole;
    unsigned below = 0;
    for (size_t plane = 0; plane < layout.planes.size(); ++plane) {
      unsigned bits = layout.planes[plane];
      int64_t quads = 32 / bits;
      Value word = words[plane][q / quads * 4 + q % 4];
      Value part = e.shiftRight(word, bits * (q % quads / 4));
      if (bits < 8)
        part = e.bitAnd(part, ((1 << bits) - 1) * 0x01010101);
      part = e.shiftLeft(part, below);
      whole = whole ? e.bitOr(whole, part) : part;
      below += bits;
    }
    return whole;
  }

  Value bytes(Value word) { return LLVM::BitcastOp::create(e, e.i8s(4), word); }

  /// total + scale * sx * (dot - zero * sum) -/+ minimum * sx * sum, over the k of one scale.
  Value addPiece(Value total, const std::vector<std::vector<Value>> &words, ScalePair pair, int64_t t, Value k,
                 int64_t at) {
    Value sx = e.load(e.getF32Type(), e.at(x.scales, offset(t, k, at, 32, 4)), 4), sum;
    if (layout.zero || pair.minimum)
      sum = loadSum(t, k, at);
    Value dot = layout.zero ? e.mul(sum, e.number(e.getI32Type(), -int64_t(layout.zero))) : e.number(e.getI32Type(), 0);
    auto codeType = layout.signedCodes ? NVVM::DotAccumulateType::SIGNED : NVVM::DotAccumulateType::UNSIGNED;
    for (int64_t from = at; from < at + layout.piece(); from += 16) {
      std::vector<Value> four;
      loadWords(e.at(x.codes, offset(t, k, from, 1, 1)), four);
      for (int64_t i = 0; i < 4; ++i)
        dot = NVVM::DotAccumulate4WayOp::create(e, e.getI32Type(), bytes(quad(words, from / 4 + i)), codeType,
                                                bytes(four[i]), NVVM::DotAccumulateType::SIGNED, dot);
    }
    total = e.fma(e.mulf(pair.scale, sx), e.toFloat(dot), total);
    if (!pair.minimum)
      return total;
    Value minimum = e.mulf(pair.minimum, sx);
    return e.fma(layout.minimumAdded ? minimum : e.negf(minimum), e.toFloat(sum), total);
  }

  /// Bytes to the number of `bytes` bytes that belongs to k + at of column t, one for each `share` k.
  Value offset(int64_t t, Value k, int64_t at, int64_t share, int64_t bytes) {
    Value base = e.mul(share == 1 ? k : e.div(k, share), bytes);
    return e.add(base, (t * gpuRowWidth(width) + at) / share * bytes);
  }

  /// The sum of the codes of a piece.
  Value loadSum(int64_t t, Value k, int64_t at) {
    Value sum;
    for (int64_t from = at; from < at + layout.piece(); from += 16) {
      Value part =
          arith::ExtSIOp::create(e, e.getI32Type(), e.load(e.getI16Type(), e.at(x.sums, offset(t, k, from, 16, 2)), 2));
      sum = sum ? e.add(sum, part) : part;
    }
    return sum;
  }

  Value loadHalf(Value pointer) { return e.widen(e.load(e.getF16Type(), pointer, 2)); }

  /// The scales of a unit, one for each of its pieces.
  std::vector<ScalePair> loadScales(Value unit, Value k) {
    std::vector<ScalePair> pairs;
    Value at = region(layout.planes.size());
    bool minimums = layout.scales == GpuScales::HalfAndMinimum;
    if (layout.scales == GpuScales::Half || minimums)
      for (int64_t from = 0; from < layout.unit(); from += layout.piece()) {
        Value place = e.mul(e.div(e.add(k, from), 32), 2);
        Value minimum = minimums ? loadHalf(e.at(region(layout.planes.size() + 1), place)) : Value();
        pairs.push_back({loadHalf(e.at(at, place)), minimum});
      }
    if (layout.scales == GpuScales::SignedBytes)
      loadByteScales(at, k, pairs);
    if (layout.scales == GpuScales::SixBits)
      loadSixBitScales(at, k, pairs);
    return pairs;
  }

  void loadByteScales(Value at, Value k, std::vector<ScalePair> &pairs) {
    Value super = loadHalf(e.at(region(layout.planes.size() + 1), e.mul(e.div(k, 256), 2)));
    for (int64_t from = 0; from < layout.unit(); from += 16) {
      Value factor = e.load(e.getI8Type(), e.at(at, e.div(e.add(k, from), 16)), 1);
      pairs.push_back({e.mulf(super, e.toFloat(factor)), {}});
    }
  }

  /// GpuScales::SixBits: one load brings all that the super-block has.
  void loadSixBitScales(Value at, Value k, std::vector<ScalePair> &pairs) {
    std::vector<Value> words;
    loadWords(e.at(at, e.mul(e.div(k, 256), 16)), words);
    Value supers = LLVM::BitcastOp::create(e, e.vec(2, e.getF16Type()), words[0]);
    Value widened = e.widen(supers);
    Value d = vector::ExtractOp::create(e, widened, ArrayRef<int64_t>{0});
    Value dMinimum = vector::ExtractOp::create(e, widened, ArrayRef<int64_t>{1});
    for (int64_t from = 0; from < layout.unit(); from += 32) {
      Value group = e.rem(e.div(e.add(k, from), 32), e.i64(8));
      Value shift = arith::TruncIOp::create(e, e.getI32Type(), e.mul(group, 4));
      auto nibble = [&](Value word) -> Value {
        return e.bitAnd(arith::ShRUIOp::create(e, word, shift).getResult(), 15);
      };
      Value high = nibble(words[3]);
      Value scale = e.bitOr(nibble(words[1]), e.shiftLeft(e.bitAnd(high, 3), 4));
      Value minimum = e.bitOr(nibble(words[2]), e.shiftLeft(e.shiftRight(high, 2), 4));
      pairs.push_back({e.mulf(d, e.toFloat(scale)), e.mulf(dMinimum, e.toFloat(minimum))});
    }
  }

  Emitter &e;
  const GpuLayout &layout;
  int64_t width;
  std::vector<int64_t> regions, rowBytes;
  Value weight, row;
  const ActivationPointers &x;
};

} // namespace

Emitter::Values codegen::emitRowDot(Emitter &e, const GpuLayout &layout, const WeightRow &w,
                                    const ActivationPointers &x, Value lane, int64_t lanes) {
  return RowDot(e, layout, w, x).addUp(lane, lanes);
}

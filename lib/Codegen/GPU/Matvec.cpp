// A matmul with few columns, bound by the bytes of the weight: a warp, or a part of one where rows are short, takes a
// row, and its lanes share the k. Each lane loads 16 bytes of codes at a time and multiplies them by the codes of all
// columns, in exact integers for each scale, then adds the scaled products up in f32 in ascending order of its k; the
// lanes' sums are added by shuffles at the end.
#include "Matvec.h"

#include "EmitKernel.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

namespace {

/// The scale of some k, and the minimum where the format has one.
struct ScalePair {
  Value scale, minimum;
};

class MatvecEmitter {
public:
  MatvecEmitter(Emitter &e, const Matvec &matvec, ValueRange arguments)
      : e(e), matvec(matvec), layout(matvec.layout), regions(layout.regions(matvec.rows, matvec.width)),
        rowBytes(layout.rowBytes(matvec.width)), paddedWidth(gpuRowWidth(matvec.width)), lanes(matvec.lanes()),
        weight(arguments[0]), codes(arguments[1]), scales(arguments[2]), sums(arguments[3]),
        more(arguments.drop_front(4)) {}

  void emit(int64_t warps) {
    Value thread = threadIndex(e), block = blockIndex(e);
    Value wanted = e.add(e.mul(block, warps * 32 / lanes), e.div(thread, lanes)), lane = e.rem(thread, e.i64(lanes));
    // Lanes beyond the last row do its work again, since shuffles need the whole warp.
    row = e.min(wanted, e.i64(matvec.rows - 1));
    Emitter::Values totals = reduce(addUp(lane));
    Value first = arith::CmpIOp::create(e, arith::CmpIPredicate::eq, lane, e.i64(0));
    Value stores = arith::AndIOp::create(e, first, e.less(wanted, e.i64(matvec.rows)));
    e.ifThen(stores, [&] { storeSums(totals); });
  }

private:
  /// The lane's sums, one for each column, over its units: every one after as many as
  /// there are lanes.
  Emitter::Values addUp(Value lane) {
    int64_t units = layout.units(matvec.width);
    Emitter::Values zeros(matvec.columns, e.real(e.getF32Type(), 0));
    return e.loop(lane, e.i64(units), e.i64(lanes), zeros,
                  [&](Value unit, ValueRange carried) { return addUnit(unit, Emitter::Values(carried)); });
  }

  Emitter::Values addUnit(Value unit, Emitter::Values totals) {
    std::vector<std::vector<Value>> words = loadCodes(unit);
    Value k = e.mul(unit, layout.unit());
    std::vector<ScalePair> pairs = loadScales(unit, k);
    int64_t piece = layout.piece();
    for (int64_t t = 0; t < matvec.columns; ++t)
      for (int64_t at = 0; at < layout.unit(); at += piece)
        totals[t] = addPiece(totals[t], words, pairs[at / piece], t, k, at);
    return totals;
  }

  /// All words of a unit, by plane, then in the order in which they lie in its pieces.
  std::vector<std::vector<Value>> loadCodes(Value unit) {
    std::vector<std::vector<Value>> words(layout.planes.size());
    int64_t units = layout.units(matvec.width);
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

  /// total + scale * sx * (dot - zero * sum) - minimum * sx * sum, over the k of one scale.
  Value addPiece(Value total, const std::vector<std::vector<Value>> &words, ScalePair pair, int64_t t, Value k,
                 int64_t at) {
    Value sx = e.load(e.getF32Type(), e.at(scales, offset(t, k, at, 32, 4)), 4), sum;
    if (layout.zero || pair.minimum)
      sum = loadSum(t, k, at);
    Value dot = layout.zero ? e.mul(sum, e.number(e.getI32Type(), -int64_t(layout.zero))) : e.number(e.getI32Type(), 0);
    auto codeType = layout.signedCodes ? NVVM::DotAccumulateType::SIGNED : NVVM::DotAccumulateType::UNSIGNED;
    for (int64_t from = at; from < at + layout.piece(); from += 16) {
      std::vector<Value> x;
      loadWords(e.at(codes, offset(t, k, from, 1, 1)), x);
      for (int64_t i = 0; i < 4; ++i)
        dot = NVVM::DotAccumulate4WayOp::create(e, e.getI32Type(), bytes(quad(words, from / 4 + i)), codeType,
                                                bytes(x[i]), NVVM::DotAccumulateType::SIGNED, dot);
    }
    total = e.fma(e.mulf(pair.scale, sx), e.toFloat(dot), total);
    if (!pair.minimum)
      return total;
    return e.fma(e.negf(e.mulf(pair.minimum, sx)), e.toFloat(sum), total);
  }

  /// Bytes to the number of `bytes` bytes that belongs to k + at of column t, one for each `share` k.
  Value offset(int64_t t, Value k, int64_t at, int64_t share, int64_t bytes) {
    Value base = e.mul(share == 1 ? k : e.div(k, share), bytes);
    return e.add(base, (t * paddedWidth + at) / share * bytes);
  }

  /// The sum of the codes of a piece.
  Value loadSum(int64_t t, Value k, int64_t at) {
    Value sum;
    for (int64_t from = at; from < at + layout.piece(); from += 16) {
      Value part =
          arith::ExtSIOp::create(e, e.getI32Type(), e.load(e.getI16Type(), e.at(sums, offset(t, k, from, 16, 2)), 2));
      sum = sum ? e.add(sum, part) : part;
    }
    return sum;
  }

  Value loadHalf(Value pointer) { return e.widen(e.load(e.getF16Type(), pointer, 2)); }

  /// The scales of a unit, one for each of its pieces.
  std::vector<ScalePair> loadScales(Value unit, Value k) {
    std::vector<ScalePair> pairs;
    Value at = region(layout.planes.size());
    if (layout.scales == GpuScales::Half)
      for (int64_t from = 0; from < layout.unit(); from += layout.piece())
        pairs.push_back({loadHalf(e.at(at, e.mul(e.div(e.add(k, from), 32), 2))), {}});
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

  Emitter::Values reduce(Emitter::Values totals) {
    for (Value &total : totals)
      total = gpu::SubgroupReduceOp::create(e, total, gpu::AllReduceOperation::ADD, /*uniform=*/false,
                                            lanes < 32 ? std::optional<uint32_t>(lanes) : std::nullopt);
    return totals;
  }

  void storeSums(const Emitter::Values &totals) {
    Value place = e.mul(row, 4), bias;
    if (matvec.bias)
      bias = e.load(e.getF32Type(), e.at(more.front(), place), 4);
    for (int64_t t = 0; t < matvec.columns; ++t) {
      Value here = e.add(place, t * matvec.rows * 4), y = totals[t];
      if (bias)
        y = e.addf(y, bias);
      if (matvec.residual)
        y = e.addf(y, e.load(e.getF32Type(), e.at(more.drop_front(matvec.bias).front(), here), 4));
      e.store(y, e.at(more.back(), here), 4);
    }
  }

  Emitter &e;
  const Matvec &matvec;
  const GpuLayout &layout;
  std::vector<int64_t> regions, rowBytes;
  int64_t paddedWidth, lanes;
  Value weight, codes, scales, sums, row;
  ValueRange more; ///< bias, residual, y
};

} // namespace

int64_t Matvec::lanes() const {
  int64_t units = layout.units(width), lanes = 32;
  auto steps = [&](int64_t count) { return (units + count - 1) / count; };
  while (lanes > kFewestLanes && steps(lanes / 2) == steps(32))
    lanes /= 2;
  return lanes;
}

int64_t Matvec::blocks(const GpuTarget &target) const {
  int64_t rowsOfBlock = 32 / lanes() * target.matvecWarps;
  return (rows + rowsOfBlock - 1) / rowsOfBlock;
}

std::string Matvec::name() const {
  return "matvec_" + format + "_" + std::to_string(rows) + "x" + std::to_string(width) + "_t" +
         std::to_string(columns) + (bias ? "_bias" : "") + (residual ? "_residual" : "");
}

gpu::GPUFuncOp codegen::emitMatvec(gpu::GPUModuleOp module, const Matvec &matvec, const GpuTarget &target) {
  int64_t arguments = 5 + matvec.bias + matvec.residual;
  auto body = [&](Emitter &e, ValueRange arguments) { MatvecEmitter(e, matvec, arguments).emit(target.matvecWarps); };
  return emitKernel(module, {matvec.name(), arguments, matvec.blocks(target), target.matvecWarps}, body);
}

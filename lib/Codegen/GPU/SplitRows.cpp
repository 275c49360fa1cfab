// A block takes a row, twice: for its greatest magnitude, and to split it.
#include "SplitRows.h"

#include "EmitKernel.h"

#include <algorithm>

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

namespace {

constexpr int64_t kAtOnce = 4; ///< numbers that a thread takes

class RowSplitter {
public:
  RowSplitter(Emitter &e, const SplitRows &rows, ValueRange arguments)
      : e(e), fours(rows.width / kAtOnce), warps(rows.warps()), row(blockIndex(e)), thread(threadIndex(e)),
        x(e.at(arguments[0], e.mul(row, rows.width * 4))), high(e.at(arguments[1], e.mul(row, rows.rowBytes()))),
        low(e.at(high, rows.width * 2)), scales(arguments[2]) {}

  void split() {
    auto [scale, inverse] = scaleOf(greatest());
    e.ifThen(arith::CmpIOp::create(e, arith::CmpIPredicate::eq, thread, e.i64(0)),
             [&] { e.store(scale, e.at(scales, e.mul(row, 4)), 4); });
    Value factor = e.splat(inverse, e.f32s(kAtOnce));
    e.loop(thread, e.i64(fours), e.i64(32 * warps), [&](Value four) {
      Value number = e.mulf(load(four), factor), rounded = toHalves(number);
      e.store(rounded, e.at(high, e.mul(four, kAtOnce * 2)), kAtOnce * 2);
      e.store(toHalves(e.subf(number, e.widen(rounded))), e.at(low, e.mul(four, kAtOnce * 2)), kAtOnce * 2);
    });
  }

private:
  Value load(Value four) { return e.load(e.f32s(kAtOnce), e.at(x, e.mul(four, kAtOnce * 4)), kAtOnce * 4); }
  Value toHalves(Value floats) { return arith::TruncFOp::create(e, e.vec(kAtOnce, e.getF16Type()), floats); }

  /// The bits (i32) of the row's greatest magnitude: those of positive floats are in their order.
  Value greatest() {
    auto larger = [&](Value a, Value b) -> Value { return arith::MaxSIOp::create(e, a, b); };
    Value zeros = e.number(e.i32s(kAtOnce), 0), most = e.number(e.getI32Type(), 0);
    Value each = e.loop(thread, e.i64(fours), e.i64(32 * warps), {zeros}, [&](Value four, ValueRange carried) {
      Value bits = e.bitAnd(e.bitcast(load(four), e.i32s(kAtOnce)), 0x7fffffff);
      return Emitter::Values{larger(carried[0], bits)};
    })[0];
    for (int64_t i = 0; i < kAtOnce; ++i)
      most = larger(most, vector::ExtractOp::create(e, each, ArrayRef<int64_t>{i}));
    return reduceBlock(e, most, gpu::AllReduceOperation::MAXSI, warps);
  }

  /// The scale and its inverse, both normal numbers: exponents lie 23 bits up, with 127 added.
  std::pair<Value, Value> scaleOf(Value bits) {
    constexpr int64_t kMantissaBits = 23, kExponentOfGreatest = 14;
    auto power = [&](Value exponent) {
      return Value(arith::BitcastOp::create(e, e.getF32Type(), e.shiftLeft(exponent, kMantissaBits)));
    };
    Type i32 = e.getI32Type();
    Value wanted = e.sub(e.shiftRight(bits, kMantissaBits), e.number(i32, kExponentOfGreatest));
    Value exponent = arith::MaxSIOp::create(e, wanted, e.number(i32, 1));
    return {power(exponent), power(e.sub(e.number(i32, 254), exponent))};
  }

  Emitter &e;
  int64_t fours, warps;
  Value row, thread, x, high, low, scales;
};

} // namespace

int64_t SplitRows::warps() const { return std::clamp<int64_t>((width / kAtOnce + 31) / 32, 1, 8); }

gpu::GPUFuncOp codegen::emitSplitRows(gpu::GPUModuleOp module, const SplitRows &rows) {
  return emitKernel(module, {rows.name(), 3, /*blocks=*/0, rows.warps()},
                    [&](Emitter &e, ValueRange arguments) { RowSplitter(e, rows, arguments).split(); });
}

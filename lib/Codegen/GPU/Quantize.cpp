// Quantizes activations: a warp takes a group of 32, a lane a number. The results equal the CPU's to the bit, since
// every step is rounded as there: d = max|x| / 127, q = x * (1 / d) to the nearest, ties to even.
#include "Quantize.h"

#include "EmitKernel.h"
#include "quern/Codegen/GpuLayout.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

namespace {

struct QuantizeEmitter {
  Emitter &e;
  int64_t width;
  ValueRange arguments; ///< x, codes, scales, sums

  void emit(int64_t warps) {
    int64_t padded = gpuRowWidth(width), groups = padded / 32;
    Value thread = threadIndex(e), lane = e.rem(thread, e.i64(32));
    Value group = e.add(e.mul(blockIndex(e), warps), e.div(thread, 32)); // of all rows together
    Value row = e.div(group, groups), k = e.add(e.mul(e.rem(group, e.i64(groups)), 32), lane);
    Value x = loadOrZero(row, k);
    Value scale = divide(greatestMagnitude(x), 127);
    Value code = quantize(x, scale);
    Value sum = reduceLanes(e, code, gpu::AllReduceOperation::ADD, 16);

    Value place = e.add(e.mul(group, 32), lane);
    e.store(arith::TruncIOp::create(e, e.getI8Type(), code), e.at(arguments[1], place), 1);
    e.ifThen(isZero(lane), [&] { e.store(scale, e.at(arguments[2], e.mul(group, 4)), 4); });
    e.ifThen(isZero(e.rem(lane, e.i64(16))), [&] {
      Value sixteenth = e.mul(e.div(place, 16), 2);
      e.store(arith::TruncIOp::create(e, e.getI16Type(), sum), e.at(arguments[3], sixteenth), 2);
    });
  }

  Value isZero(Value value) { return arith::CmpIOp::create(e, arith::CmpIPredicate::eq, value, e.i64(0)); }

  Value loadOrZero(Value row, Value k) {
    auto load = [&]() -> Value {
      Value place = e.mul(e.add(e.mul(row, width), k), 4);
      return e.load(e.getF32Type(), e.at(arguments[0], place), 4);
    };
    if (gpuRowWidth(width) == width)
      return load();
    Value zero = e.real(e.getF32Type(), 0);
    return e.ifElse(
        e.less(k, e.i64(width)), [&] { return Emitter::Values{load()}; }, [&] { return Emitter::Values{zero}; })[0];
  }

  /// |x| compares as its bits do, so the greatest is an integer maximum, in which a NaN wins, as on the CPU.
  Value greatestMagnitude(Value x) {
    Value bits = e.bitAnd(arith::BitcastOp::create(e, e.getI32Type(), x), 0x7fffffff);
    return arith::BitcastOp::create(e, e.getF32Type(), reduceLanes(e, bits, gpu::AllReduceOperation::MAXSI));
  }

  Value divide(Value a, double by) { return arith::DivFOp::create(e, a, e.real(e.getF32Type(), by)); }

  /// x * (1 / scale) as i32; 0 where that is no number or infinite, as with a scale of 0 or below 2^-128.
  Value quantize(Value x, Value scale) {
    Value one = e.real(e.getF32Type(), 1), inverse = arith::DivFOp::create(e, one, scale);
    Value code = math::RoundEvenOp::create(e, e.mulf(x, inverse));
    Value finite =
        arith::CmpFOp::create(e, arith::CmpFPredicate::OLT, math::AbsFOp::create(e, code), e.real(e.getF32Type(), 256));
    Value kept = arith::SelectOp::create(e, finite, code, e.real(e.getF32Type(), 0));
    return arith::FPToSIOp::create(e, e.getI32Type(), kept);
  }
};

} // namespace

std::string codegen::quantizeName(int64_t rows, int64_t width) {
  return "quantize_" + std::to_string(rows) + "x" + std::to_string(width);
}

gpu::GPUFuncOp codegen::emitQuantize(gpu::GPUModuleOp module, int64_t rows, int64_t width, const GpuTarget &target) {
  static_assert(kGpuRowMultiple == 4 * 32, "four warps of a block take whole rows' worth");
  int64_t warps = 4, blocks = rows * gpuRowWidth(width) / 32 / warps;
  auto body = [&](Emitter &e, ValueRange arguments) { QuantizeEmitter{e, width, arguments}.emit(warps); };
  return emitKernel(module, {quantizeName(rows, width), 4, blocks, warps}, body);
}

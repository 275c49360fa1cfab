#include "MatvecPrologue.h"

#include "EmitKernel.h"
#include "RmsNorm.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

namespace {

/// A warp takes every group of 32 after as many as there are warps, a lane one number of each.
class RowMaker {
public:
  RowMaker(Emitter &e, const Matvec &matvec, int64_t warps, Value x, Value gain)
      : e(e), matvec(matvec), warps(warps), width(matvec.width), x(x), gain(gain) {
    Value thread = threadIndex(e);
    warp = e.div(thread, 32);
    lane = e.rem(thread, e.i64(32));
  }

  void make(const ActivationPointers &rows, Value squares) {
    Value factor;
    if (matvec.prologue == Matvec::Prologue::Norm)
      factor = normFactor(squares);
    eachGroup([&](Value group, Value k) {
      Value number = loadOrZero(x, k);
      if (factor)
        number = e.mulf(e.mulf(number, factor), loadOrZero(gain, k));
      store(number, group, k, rows);
    });
    blockBarrier(e);
  }

private:
  /// 1 / sqrt(mean of x^2 + eps): each lane's squares in ascending order, then the lanes' by shuffles, then the warps'.
  Value normFactor(Value sums) {
    Value ofLane = e.loop(e.i64(0), e.i64(steps()), e.i64(1), ValueRange{zero()}, [&](Value step, ValueRange sum) {
      Value number = loadOrZero(x, e.add(e.mul(groupOf(step), 32), lane));
      return Emitter::Values{e.fma(number, number, sum[0])};
    })[0];
    Value ofWarp = reduceLanes(e, ofLane, gpu::AllReduceOperation::ADD);
    Value isFirst = arith::CmpIOp::create(e, arith::CmpIPredicate::eq, lane, e.i64(0));
    e.ifThen(isFirst, [&] { e.store(ofWarp, e.at(sums, e.mul(warp, 4)), 4); });
    blockBarrier(e);
    Value total;
    for (int64_t i = 0; i < warps; ++i) {
      Value sum = e.load(e.getF32Type(), e.at(sums, i * 4), 4);
      total = total ? e.addf(total, sum) : sum;
    }
    return emitNormFactor(e, total, width, matvec.eps);
  }

  /// Groups that a warp takes, and the one that it takes in a step.
  int64_t steps() const { return (gpuRowWidth(width) / 32 + warps - 1) / warps; }
  Value groupOf(Value step) { return e.add(e.mul(step, warps), warp); }

  void eachGroup(llvm::function_ref<void(Value, Value)> body) {
    int64_t groups = gpuRowWidth(width) / 32;
    e.loop(e.i64(0), e.i64(steps()), e.i64(1), [&](Value step) {
      Value group = groupOf(step);
      auto make = [&] { body(group, e.add(e.mul(group, 32), lane)); };
      groups % warps == 0 ? make() : e.ifThen(e.less(group, e.i64(groups)), make);
    });
  }

  void store(Value number, Value group, Value k, const ActivationPointers &to) {
    if (matvec.takes() == RowKind::Act8)
      return storeQuantizedGroup(e, number, lane, group, to.quantized);
    if (matvec.takes() == RowKind::BFloat)
      return e.store(roundToBfloat(e, number), e.at(to.rows, e.mul(k, 2)), 2);
    e.store(number, e.at(to.rows, e.mul(k, 4)), 4);
  }

  Value zero() { return e.real(e.getF32Type(), 0); }

  Value loadOrZero(Value row, Value k) {
    auto load = [&]() -> Value { return e.load(e.getF32Type(), e.at(row, e.mul(k, 4)), 4); };
    if (steps() * warps * 32 == width)
      return load();
    return e.ifElse(
        e.less(k, e.i64(width)), [&] { return Emitter::Values{load()}; }, [&] { return Emitter::Values{zero()}; })[0];
  }

  Emitter &e;
  const Matvec &matvec;
  int64_t warps, width;
  Value x, gain, warp, lane;
};

} // namespace

MatvecPrologue::MatvecPrologue(Emitter &e, const Matvec &matvec, int64_t warps)
    : e(e), matvec(matvec), warps(warps), made{{}, {}, 1} {
  int64_t padded = gpuRowWidth(matvec.width);
  if (matvec.takes() == RowKind::Act8)
    made.quantized = {sharedMemory(e, "codes", padded), sharedMemory(e, "scales", padded / 32 * 4),
                      sharedMemory(e, "sums", padded / 16 * 2)};
  else
    made.rows = sharedMemory(e, "row", matvec.rowBytes());
  if (matvec.prologue == Matvec::Prologue::Norm)
    squares = sharedMemory(e, "squares", warps * 4);
}

void MatvecPrologue::emit(Value x, Value gain) { RowMaker(e, matvec, warps, x, gain).make(made, squares); }

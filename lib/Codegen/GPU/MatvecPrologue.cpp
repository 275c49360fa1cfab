#include "MatvecPrologue.h"

#include "EmitKernel.h"
#include "RmsNorm.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

namespace {

/// A warp takes every chunk of 128 after as many as there are warps, a lane four neighbouring numbers of each.
class RowMaker {
public:
  RowMaker(Emitter &e, const Matvec &matvec, int64_t warps, Value x, Value gain)
      : e(e), matvec(matvec), warps(warps), width(matvec.width), x(x), gain(gain) {
    Value thread = threadIndex(e);
    warp = e.div(thread, 32);
    lane = e.rem(thread, e.i64(32));
  }

  /// All numbers and gains are asked for at once, where there are few, and read again after the sum of squares else.
  void make(const ActivationPointers &rows, Value squares) {
    bool isNorm = matvec.prologue == Matvec::Prologue::Norm;
    if (isNorm && steps() <= kMostKept)
      for (int64_t step = 0; step < steps(); ++step)
        kept.push_back({loadOrZeros(x, e.i64(step)), loadOrZeros(gain, e.i64(step))});
    Value factor = isNorm ? normFactor(squares) : Value();
    eachChunk([&](Value step, Value chunk) {
      auto [numbers, gains] = isNorm ? numbersAndGains(step) : Quads{loadOrZeros(x, step), {}};
      for (auto [number, scale] : llvm::zip(numbers, gains))
        number = e.mulf(e.mulf(number, factor), scale);
      store(numbers, chunk, rows);
    });
    blockBarrier(e);
  }

private:
  static constexpr int64_t kMostKept = 4; ///< steps, of eight registers each
  struct Quads {
    Emitter::Values numbers, gains;
  };

  /// 1 / sqrt(mean of x^2 + eps): each lane's squares in ascending order, then the lanes' by shuffles, then the warps'.
  Value normFactor(Value sums) {
    Value ofLane = e.real(e.getF32Type(), 0);
    auto square = [&](ValueRange numbers, Value sum) {
      for (Value number : numbers)
        sum = e.fma(number, number, sum);
      return sum;
    };
    for (const Quads &quads : kept)
      ofLane = square(quads.numbers, ofLane);
    if (kept.empty())
      ofLane = e.loop(e.i64(0), e.i64(steps()), e.i64(1), ofLane, [&](Value step, ValueRange sum) {
        return Emitter::Values{square(loadOrZeros(x, step), sum[0])};
      })[0];
    Value ofWarp = reduceLanes(e, ofLane, gpu::AllReduceOperation::ADD);
    Value isFirst = arith::CmpIOp::create(e, arith::CmpIPredicate::eq, lane, e.i64(0));
    e.ifThen(isFirst, [&] { e.store(ofWarp, e.at(sums, e.mul(warp, 4)), 4); });
    blockBarrier(e);
    Value total;
    for (int64_t i = 0; i < warps; i += 4)
      for (Value sum : four(e.at(sums, i * 4)))
        total = total ? e.addf(total, sum) : sum;
    return emitNormFactor(e, total, width, matvec.eps);
  }

  /// Chunks that a warp takes, and the one that it takes in a step.
  int64_t chunks() const { return gpuRowWidth(width) / kGpuRowMultiple; }
  int64_t steps() const { return (chunks() + warps - 1) / warps; }
  Value chunkOf(Value step) { return e.add(e.mul(step, warps), warp); }

  void eachChunk(llvm::function_ref<void(Value, Value)> body) {
    auto ofStep = [&](Value step, bool isWhole) {
      Value chunk = chunkOf(step);
      auto make = [&] { body(step, chunk); };
      isWhole ? make() : e.ifThen(e.less(chunk, e.i64(chunks())), make);
    };
    if (kept.empty())
      return e.loop(e.i64(0), e.i64(steps()), e.i64(1), [&](Value step) { ofStep(step, chunks() % warps == 0); });
    for (int64_t step = 0; step < int64_t(kept.size()); ++step)
      ofStep(e.i64(step), (step + 1) * warps <= chunks());
  }

  Quads numbersAndGains(Value step) {
    if (kept.empty())
      return {loadOrZeros(x, step), loadOrZeros(gain, step)};
    return kept[size_t(*getConstantIntValue(step))];
  }

  void store(ArrayRef<Value> numbers, Value chunk, const ActivationPointers &to) {
    if (matvec.takes() == RowKind::Act8)
      return storeQuantizedQuads(e, numbers, lane, chunk, to.quantized);
    Value k = e.add(e.mul(chunk, kGpuRowMultiple), e.mul(lane, 4));
    if (matvec.takes() == RowKind::Float)
      return e.store(vector::FromElementsOp::create(e, e.f32s(4), numbers), e.at(to.rows, e.mul(k, 4)), 16);
    Emitter::Values rounded;
    for (Value number : numbers)
      rounded.push_back(roundToBfloat(e, number));
    e.store(vector::FromElementsOp::create(e, e.vec(4, e.getI16Type()), rounded), e.at(to.rows, e.mul(k, 2)), 8);
  }

  Emitter::Values four(Value at) {
    Value vector = e.load(e.f32s(4), at, 16);
    Emitter::Values numbers;
    for (int64_t i = 0; i < 4; ++i)
      numbers.push_back(vector::ExtractOp::create(e, vector, ArrayRef<int64_t>{i}));
    return numbers;
  }

  /// A lane's four numbers of a step. Rows are whole fours, so that all of them are in the row or none.
  Emitter::Values loadOrZeros(Value row, Value step) {
    Value k = e.add(e.mul(chunkOf(step), kGpuRowMultiple), e.mul(lane, 4));
    auto load = [&] { return four(e.at(row, e.mul(k, 4))); };
    std::optional<int64_t> known = getConstantIntValue(step);
    if ((known ? *known + 1 : steps()) * warps * kGpuRowMultiple <= width)
      return load();
    Emitter::Values zeros(4, e.real(e.getF32Type(), 0));
    return e.ifElse(e.less(k, e.i64(width)), load, [&] { return zeros; });
  }

  Emitter &e;
  const Matvec &matvec;
  int64_t warps, width;
  Value x, gain, warp, lane;
  SmallVector<Quads> kept; ///< of each step
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

#include "HeadLanes.h"

#include "EmitKernel.h"
#include "RmsNorm.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

HeadLanes::HeadLanes(Emitter &e, int64_t headDim)
    : e(e), headDim(headDim), lanesOfKey(int64_t(llvm::PowerOf2Ceil(uint64_t(headDim / 8)))) {
  lane = e.rem(threadIndex(e), e.i64(32));
  inKey = e.rem(lane, e.i64(lanesOfKey));
  group = e.div(lane, lanesOfKey);
  element = e.mul(inKey, 8);
  if (lanesOfKey * 8 != headDim) {
    isInside = e.less(element, e.i64(headDim));
    element = e.min(element, e.i64(headDim - 8));
  }
}

static void unpack(Emitter &e, Value vector, Emitter::Values &into) {
  for (int64_t i = 0; i < cast<VectorType>(vector.getType()).getNumElements(); ++i)
    into.push_back(vector::ExtractOp::create(e, vector, ArrayRef<int64_t>{i}));
}

Emitter::Values HeadLanes::loadFloats(Value from, Value first) {
  Emitter::Values numbers;
  Value start = e.at(from, e.mul(first, 4));
  unpack(e, e.load(e.f32s(4), start, 16), numbers);
  unpack(e, e.load(e.f32s(4), e.at(start, 16), 16), numbers);
  return numbers;
}

Value HeadLanes::loadHalves(Value from) { return e.load(e.i32s(4), e.at(from, e.mul(element, 2)), 16); }

Emitter::Values HeadLanes::widen(Value halves) {
  Emitter::Values numbers;
  unpack(e, e.widen(e.bitcast(halves, e.vec(8, e.getF16Type()))), numbers);
  return numbers;
}

Value HeadLanes::narrow(ArrayRef<Value> numbers) {
  Value eight = vector::FromElementsOp::create(e, e.f32s(8), numbers);
  return e.bitcast(arith::TruncFOp::create(e, e.vec(8, e.getF16Type()), eight), e.i32s(4));
}

void HeadLanes::storeHalves(Value halves, Value to) {
  Value first = e.less(lane, e.i64(headDim / 8));
  e.ifThen(first, [&] { e.store(halves, e.at(to, e.mul(element, 2)), 16); });
}

Emitter::Values HeadLanes::scaled(Value from, Value first, Value gain, Value factor) {
  Emitter::Values numbers = loadFloats(from, first);
  if (!factor)
    return numbers;
  Emitter::Values gains = loadFloats(gain, first);
  for (int64_t i = 0; i < 8; ++i)
    numbers[i] = e.mulf(e.mulf(numbers[i], factor), gains[i]);
  return numbers;
}

/// Pairs (i, i + D/2): a lane loads the other elements of its pairs too.
Emitter::Values HeadLanes::turnHalves(Value from, Value gain, Value factor, const Turn &turn) {
  Value isFirst = e.less(element, e.i64(headDim / 2)), half = e.i64(headDim / 2);
  Value pair = arith::SelectOp::create(e, isFirst, element, e.sub(element, half));
  Value other = arith::SelectOp::create(e, isFirst, e.add(element, half), e.sub(element, half));
  Emitter::Values own = scaled(from, element, gain, factor), others = scaled(from, other, gain, factor), turned;
  std::vector<Angle> angles = loadAngles(e, turn.table, turn.position, pair, 8, headDim);
  for (int64_t i = 0; i < 8; ++i) {
    Value sine = e.mulf(others[i], angles[i].sin);
    Value signedSine = arith::SelectOp::create(e, isFirst, e.negf(sine), sine);
    turned.push_back(e.addf(e.mulf(own[i], angles[i].cos), signedSine));
  }
  return turned;
}

Emitter::Values HeadLanes::loadTurned(Value from, Value gain, const Turn &turn) {
  Value factor;
  if (turn.eps) {
    Value squares = e.real(e.getF32Type(), 0), zero = squares;
    for (Value number : loadFloats(from))
      squares = e.fma(number, number, squares);
    if (isInside)
      squares = arith::SelectOp::create(e, isInside, squares, zero);
    Value sum = lanesOfKey == 1 ? squares : reduceLanes(e, squares, gpu::AllReduceOperation::ADD, uint32_t(lanesOfKey));
    factor = emitNormFactor(e, sum, headDim, *turn.eps);
  }
  if (!turn.interleaved)
    return turnHalves(from, gain, factor, turn);
  Emitter::Values numbers = scaled(from, element, gain, factor);
  std::vector<Angle> angles = loadAngles(e, turn.table, turn.position, e.div(element, 2), 4, headDim);
  for (int64_t i = 0; i < 4; ++i)
    std::tie(numbers[2 * i], numbers[2 * i + 1]) = rotate(e, numbers[2 * i], numbers[2 * i + 1], angles[i]);
  return numbers;
}

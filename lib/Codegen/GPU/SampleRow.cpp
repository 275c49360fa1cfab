#include "SampleRow.h"

#include <limits>

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

static constexpr double kInfinity = std::numeric_limits<double>::infinity();
static_assert(sizeof(RowDraw) == 20, "as docs/package-format.md says");

static Value compare(Emitter &e, arith::CmpFPredicate predicate, Value a, Value b) {
  return arith::CmpFOp::create(e, predicate, a, b);
}

SampleRow::SampleRow(Emitter &e, const Sample &sample, ValueRange arguments, Value row)
    : zero(e.real(e.getF32Type(), 0)), one(e.real(e.getF32Type(), 1)), e(e) {
  logits = e.at(arguments[0], e.mul(row, sample.rowWidth() * 4));
  token = e.at(arguments[1], e.mul(row, 4));
  draw = e.at(arguments[2], e.mul(row, int64_t(sizeof(RowDraw))));
  work = e.at(arguments[3], e.mul(row, Sample::kRowBytes));
  list = e.at(work, Sample::kListAt);
  count = e.at(work, Sample::kCountAt);
  inverse = setting(e.getF32Type(), offsetof(RowDraw, inverseTemperature));
  topP = setting(e.getF32Type(), offsetof(RowDraw, topP));
  minP = setting(e.getF32Type(), offsetof(RowDraw, minP));
  random = setting(e.getF32Type(), offsetof(RowDraw, random));
  Value k = setting(e.getI32Type(), offsetof(RowDraw, topK));
  Value none = e.number(e.getI32Type(), 0), all = e.number(e.getI32Type(), sample.vocabulary);
  hasTopK = arith::CmpIOp::create(e, arith::CmpIPredicate::sgt, k, none);
  hasTopP = compare(e, arith::CmpFPredicate::OLT, topP, one);
  topK = e.toFloat(arith::MinSIOp::create(e, k, all));
  likeliest = e.load(e.getI32Type(), token, 4);
  Value index = arith::ExtSIOp::create(e, e.getI64Type(), arith::MaxSIOp::create(e, likeliest, none));
  largest = logit(index);
}

Value SampleRow::setting(Type type, size_t at) { return e.load(type, e.at(draw, int64_t(at)), 4); }

Value SampleRow::isDrawn() {
  Value exists = arith::CmpIOp::create(e, arith::CmpIPredicate::sge, likeliest, e.number(e.getI32Type(), 0));
  Value isFinite = compare(e, arith::CmpFPredicate::OLT, largest, e.real(e.getF32Type(), kInfinity));
  Value isOn = compare(e, arith::CmpFPredicate::OGT, inverse, zero);
  return arith::AndIOp::create(e, exists, arith::AndIOp::create(e, isFinite, isOn));
}

Value SampleRow::isRanked() { return arith::OrIOp::create(e, hasTopK, hasTopP); }

Value SampleRow::logit(Value token) {
  Value number = e.load(e.getF32Type(), e.at(logits, e.mul(token, 4)), 4);
  Value isNan = compare(e, arith::CmpFPredicate::UNO, number, number);
  return arith::SelectOp::create(e, isNan, e.real(e.getF32Type(), -kInfinity), number);
}

Value SampleRow::distance(Value logit) { return e.mulf(e.subf(largest, logit), inverse); }

Value SampleRow::weight(Value distance) { return math::ExpOp::create(e, e.negf(distance)); }

Value SampleRow::cutByMinP(Value weight) {
  return arith::SelectOp::create(e, compare(e, arith::CmpFPredicate::OGE, weight, minP), weight, zero);
}

Value SampleRow::keptWeight(Value distance) { return cutByMinP(weight(distance)); }

Value SampleRow::sumAt(Value part, Value value) {
  return e.at(work, e.mul(e.add(e.mul(part, 2 * Sample::kBounds), value), 4));
}

Value codegen::sampleBound(Emitter &e, Value bound) {
  // As bits of an f32, which grow about as its logarithm does. Weights below e^-88 count for nothing.
  constexpr int64_t kFirst = 0x3DD00000, kStep = 0x290000;
  Value bits = arith::TruncIOp::create(e, e.getI32Type(), e.add(e.mul(bound, kStep), kFirst));
  Value isLast = arith::CmpIOp::create(e, arith::CmpIPredicate::eq, bound, e.i64(Sample::kBounds - 1));
  return arith::SelectOp::create(e, isLast, e.real(e.getF32Type(), kInfinity),
                                 arith::BitcastOp::create(e, e.getF32Type(), bits));
}

Value codegen::sumUpTo(Emitter &e, Value own, Value lane) {
  Value lane32 = arith::TruncIOp::create(e, e.getI32Type(), lane), zero = e.number(e.getI32Type(), 0), sum = own;
  for (int64_t step = 1; step < 32; step *= 2) {
    Value from = arith::SubIOp::create(e, lane32, e.number(e.getI32Type(), step));
    Value other = fromLane(e, sum, arith::MaxSIOp::create(e, from, zero));
    Value isThere = arith::CmpIOp::create(e, arith::CmpIPredicate::sge, from, zero);
    sum = arith::SelectOp::create(e, isThere, e.addf(sum, other), sum);
  }
  return sum;
}

RunningSum codegen::runningSum(Emitter &e, Value own, Value thread, int64_t warps, Value room) {
  Value lane = e.rem(thread, e.i64(32)), warp = e.div(thread, 32), zero = e.real(e.getF32Type(), 0);
  Value ofWarp = sumUpTo(e, own, lane);
  auto isEqual = [&](Value a, int64_t b) {
    return arith::CmpIOp::create(e, arith::CmpIPredicate::eq, a, e.i64(b));
  };
  e.ifThen(isEqual(lane, 31), [&] { e.store(ofWarp, e.at(room, e.mul(warp, 4)), 4); });
  blockBarrier(e);
  Value sums = e.load(e.getF32Type(), e.at(room, e.mul(e.min(lane, e.i64(warps - 1)), 4)), 4);
  auto sumWhere = [&](Value condition) {
    return reduceLanes(e, arith::SelectOp::create(e, condition, sums, zero), gpu::AllReduceOperation::ADD);
  };
  Value offset = sumWhere(e.less(lane, warp)), all = sumWhere(e.less(lane, e.i64(warps)));
  Value lane32 = arith::TruncIOp::create(e, e.getI32Type(), lane), none = e.number(e.getI32Type(), 0);
  Value left = arith::MaxSIOp::create(e, arith::SubIOp::create(e, lane32, e.number(e.getI32Type(), 1)), none);
  Value before = arith::SelectOp::create(e, isEqual(lane, 0), zero, fromLane(e, ofWarp, left));
  blockBarrier(e);
  return {e.addf(offset, before), e.addf(offset, ofWarp), all};
}

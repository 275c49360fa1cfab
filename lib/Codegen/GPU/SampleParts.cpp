// Counting and gathering what can be drawn. See Sample.h.
#include "SampleRow.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

namespace {

/// A block of one part of a row.
class PartEmitter {
public:
  PartEmitter(Emitter &e, const Sample &sample, ValueRange arguments)
      : e(e), part(blockIndex(e)), thread(threadIndex(e)), lane(e.rem(thread, e.i64(32))), warp(e.div(thread, 32)),
        begin(e.mul(part, sample.partSize())),
        end(e.min(e.i64(sample.vocabulary), e.add(begin, sample.partSize()))),
        row(e, sample, arguments, blockIndex(e, gpu::Dimension::y)) {}

  void countByBounds();
  void gather();

private:
  struct Bound {
    Value index, distance, count; ///< i64, f32, f32: in all parts
  };

  /// Calls `body` for each logit of this thread with its token and distance.
  Emitter::Values forLogits(ValueRange init,
                            llvm::function_ref<Emitter::Values(Value, Value, Value, ValueRange)> body) {
    return e.loop(e.add(begin, thread), end, e.i64(32 * Sample::kWarps), init, [&](Value token, ValueRange carried) {
      Value logit = row.logit(token);
      return body(token, logit, row.distance(logit), carried);
    });
  }

  Value isWithin(Value distance, Value bound) {
    return arith::CmpFOp::create(e, arith::CmpFPredicate::OLE, distance, bound);
  }
  Value oneWhere(Value condition) { return arith::SelectOp::create(e, condition, row.one, row.zero); }
  Emitter::Values countWarp(Value isRanked);
  void storeSums(Value shared, ValueRange sums);
  Bound leastBound(Value shared);
  void gatherWithin(const Bound &bound, Value room);
  Value key(Value token, Value logit);

  Emitter &e;
  Value part, thread, lane, warp, begin, end;
  SampleRow row;
};

} // namespace

/// How many of this warp's logits lie within the bound of each lane, and the sum of their weights: 32 logits at a time,
/// which lanes show each other.
Emitter::Values PartEmitter::countWarp(Value isRanked) {
  Value bound = sampleBound(e, lane), first = e.add(begin, e.mul(warp, 32));
  return e.loop(first, end, e.i64(32 * Sample::kWarps), {row.zero, row.zero}, [&](Value from, ValueRange sums) {
    Value token = e.add(from, lane), isThere = e.less(token, end);
    Value distance = row.distance(row.logit(e.min(token, e.add(end, -1))));
    // What min-p drops counts for top-p, but not where there is none.
    Value weight = arith::SelectOp::create(e, isRanked, row.weight(distance), row.keptWeight(distance));
    weight = arith::SelectOp::create(e, isThere, weight, row.zero);
    Value count = e.min(e.sub(end, from), e.i64(32));
    return e.loop(e.i64(0), count, e.i64(1), sums, [&](Value i, ValueRange so) {
      Value from = arith::TruncIOp::create(e, e.getI32Type(), i);
      Value within = isWithin(fromLane(e, distance, from), bound);
      Value added = arith::SelectOp::create(e, within, fromLane(e, weight, from), row.zero);
      return Emitter::Values{e.addf(so[0], oneWhere(within)), e.addf(so[1], added)};
    });
  });
}

/// A warp's sums, to its place in shared memory.
void PartEmitter::storeSums(Value shared, ValueRange sums) {
  Value place = e.at(shared, e.mul(e.add(e.mul(warp, 2 * Sample::kBounds), lane), 4));
  e.store(sums[0], place, 4);
  e.store(sums[1], e.at(place, Sample::kBounds * 4), 4);
  blockBarrier(e);
}

/// Adds up `count` sets of sums from `from` on: those of this lane's bound.
static Emitter::Values sumSets(Emitter &e, Value from, Value lane, int64_t count) {
  Value zero = e.real(e.getF32Type(), 0), end = e.i64(count);
  return e.loop(e.i64(0), end, e.i64(1), {zero, zero}, [&](Value i, ValueRange so) {
    Value place = e.at(from, e.mul(e.add(e.mul(i, 2 * Sample::kBounds), lane), 4));
    return Emitter::Values{e.addf(so[0], e.load(e.getF32Type(), place, 4)),
                           e.addf(so[1], e.load(e.getF32Type(), e.at(place, Sample::kBounds * 4), 4))};
  });
}

void PartEmitter::countByBounds() {
  static_assert(Sample::kBounds == 32, "a bound for each lane");
  Value shared = sharedMemory(e, "sums", Sample::kWarps * 2 * Sample::kBounds * 4);
  e.ifThen(row.isDrawn(), [&] {
    storeSums(shared, countWarp(row.isRanked()));
    auto sums = sumSets(e, shared, lane, Sample::kWarps);
    e.ifThen(e.less(thread, e.i64(32)), [&] {
      e.store(sums[0], row.sumAt(part, lane), 4);
      e.store(sums[1], row.sumAt(part, e.add(lane, Sample::kBounds)), 4);
    });
  });
}

/// The least bound that holds all that top-k keeps, or without it all that top-p does.
PartEmitter::Bound PartEmitter::leastBound(Value shared) {
  constexpr int64_t kEach = Sample::kParts / Sample::kWarps;
  storeSums(shared, sumSets(e, row.sumAt(e.mul(warp, kEach), e.i64(0)), lane, kEach));
  auto sums = sumSets(e, shared, lane, Sample::kWarps);
  auto ofBound = [&](Value value, Value bound) {
    return fromLane(e, value, arith::TruncIOp::create(e, e.getI32Type(), bound));
  };
  // A little more than top-p, since the sum over what is gathered is rounded in another way.
  Value share = e.mulf(row.topP, e.real(e.getF32Type(), 1.00001)), all = ofBound(sums[1], e.i64(Sample::kBounds - 1));
  Value reached = arith::SelectOp::create(e, row.hasTopK, sums[0], sums[1]);
  Value goal = arith::SelectOp::create(e, row.hasTopK, row.topK, e.mulf(share, all));
  Value falls = oneWhere(arith::CmpFOp::create(e, arith::CmpFPredicate::OLT, reached, goal));
  Value below = reduceLanes(e, falls, gpu::AllReduceOperation::ADD);
  Value index = e.min(arith::FPToSIOp::create(e, e.getI64Type(), below), e.i64(Sample::kBounds - 1));
  return {index, sampleBound(e, index), ofBound(sums[0], index)};
}

/// A number without sign that orders tokens by rank: larger logits are larger, of equal ones lower tokens.
Value PartEmitter::key(Value token, Value logit) {
  Value bits = arith::BitcastOp::create(e, e.getI32Type(), e.addf(logit, row.zero)); // -0 is 0
  Value flipped = e.bitOr(e.signedShiftRight(bits, 31), e.number(e.getI32Type(), int64_t(1) << 31));
  Value order = arith::ExtUIOp::create(e, e.getI64Type(), arith::XOrIOp::create(e, bits, flipped));
  return e.bitOr(e.shiftLeft(order, 32), e.sub(e.i64(UINT32_MAX), token));
}

/// Behind what the parts before this one gather, each thread in turn.
void PartEmitter::gatherWithin(const Bound &bound, Value room) {
  static_assert(Sample::kParts == 64, "two parts a lane");
  auto ifBefore = [&](Value other) -> Value {
    Value count = e.load(e.getF32Type(), row.sumAt(other, bound.index), 4);
    return arith::SelectOp::create(e, e.less(other, part), count, row.zero);
  };
  Value before = e.addf(ifBefore(lane), ifBefore(e.add(lane, 32)));
  Value offset = reduceLanes(e, before, gpu::AllReduceOperation::ADD);
  auto own = forLogits(row.zero, [&](Value, Value, Value distance, ValueRange so) {
    return Emitter::Values{e.addf(so[0], oneWhere(isWithin(distance, bound.distance)))};
  });
  RunningSum sum = runningSum(e, own[0], thread, Sample::kWarps, room);
  Value place = arith::FPToSIOp::create(e, e.getI64Type(), e.addf(offset, sum.before));
  forLogits(place, [&](Value token, Value logit, Value distance, ValueRange so) {
    Value within = isWithin(distance, bound.distance);
    e.ifThen(within, [&] { e.store(key(token, logit), e.at(row.list, e.mul(so[0], 8)), 8); });
    return Emitter::Values{e.add(so[0], arith::ExtUIOp::create(e, e.getI64Type(), within))};
  });
}

void PartEmitter::gather() {
  Value shared = sharedMemory(e, "sums", Sample::kWarps * 2 * Sample::kBounds * 4);
  Value room = sharedMemory(e, "room", 32 * 4);
  e.ifThen(arith::AndIOp::create(e, row.isDrawn(), row.isRanked()), [&] {
    Bound bound = leastBound(shared);
    Value fits = arith::CmpFOp::create(e, arith::CmpFPredicate::OLE, bound.count,
                                       e.real(e.getF32Type(), double(Sample::kMost)));
    Value isFirst = arith::CmpIOp::create(e, arith::CmpIPredicate::eq, e.bitOr(part, thread), e.i64(0));
    e.ifThen(isFirst, [&] {
      Value count = arith::FPToSIOp::create(e, e.getI32Type(), bound.count);
      e.store(arith::SelectOp::create(e, fits, count, e.number(e.getI32Type(), -1)), row.count, 4);
    });
    e.ifThen(fits, [&] { gatherWithin(bound, room); });
  });
}

gpu::GPUFuncOp codegen::emitSampleParts(gpu::GPUModuleOp module, const Sample &sample, const GpuTarget &) {
  return emitKernel(module, {sample.partsName(), 4, 0, Sample::kWarps},
                    [&](Emitter &e, ValueRange arguments) { PartEmitter(e, sample, arguments).countByBounds(); });
}

gpu::GPUFuncOp codegen::emitSampleGather(gpu::GPUModuleOp module, const Sample &sample, const GpuTarget &) {
  return emitKernel(module, {sample.gatherName(), 4, 0, Sample::kWarps},
                    [&](Emitter &e, ValueRange arguments) { PartEmitter(e, sample, arguments).gather(); });
}

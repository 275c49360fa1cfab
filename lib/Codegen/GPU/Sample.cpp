// Drawing a token of a row, by a block that has it to itself. See Sample.h.
#include "Sample.h"

#include "SampleRow.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

namespace {

constexpr int64_t kThreads = 32 * Sample::kDrawWarps;

class DrawEmitter {
public:
  DrawEmitter(Emitter &e, const Sample &sample, ValueRange arguments)
      : e(e), sample(sample), thread(threadIndex(e)), lane(e.rem(thread, e.i64(32))), warp(e.div(thread, 32)),
        row(e, sample, arguments, blockIndex(e)) {}

  void emit() {
    keys = sharedMemory(e, "keys", Sample::kMost * 8);
    room = sharedMemory(e, "room", 32 * 4);
    e.ifThen(row.isDrawn(), [&] {
      e.ifThenElse(row.isRanked(), [&] { drawByRank(); }, [&] { drawInOrder(); });
    });
  }

private:
  static constexpr auto kAdd = gpu::AllReduceOperation::ADD, kMax = gpu::AllReduceOperation::MAXNUMF;
  using Fp = arith::CmpFPredicate;

  Value compare(Fp predicate, Value a, Value b) { return arith::CmpFOp::create(e, predicate, a, b); }
  Value both(Value a, Value b) { return arith::AndIOp::create(e, a, b); }
  Value isFirst() { return arith::CmpIOp::create(e, arith::CmpIPredicate::eq, thread, e.i64(0)); }
  Value minimum(Value a, Value b) { return arith::MinNumFOp::create(e, a, b); }
  Value asIndex(Value number) { return arith::FPToSIOp::create(e, e.getI64Type(), number); }

  /// Folds what the threads have; all of them get the result.
  Value foldBlock(Value own, gpu::AllReduceOperation operation) {
    Value ofWarp = reduceLanes(e, own, operation);
    e.ifThen(arith::CmpIOp::create(e, arith::CmpIPredicate::eq, lane, e.i64(0)),
             [&] { e.store(ofWarp, e.at(room, e.mul(warp, 4)), 4); });
    blockBarrier(e);
    Value all = reduceLanes(e, e.load(e.getF32Type(), e.at(room, e.mul(lane, 4)), 4), operation);
    blockBarrier(e);
    return all;
  }

  void drawByRank() {
    Value count = e.load(e.getI32Type(), row.count, 4);
    Value isThere = arith::CmpIOp::create(e, arith::CmpIPredicate::sge, count, e.number(e.getI32Type(), 0));
    e.ifThenElse(
        isThere,
        [&] {
          sort(arith::ExtSIOp::create(e, e.getI64Type(), count));
          drawFromSorted(e.toFloat(count));
        },
        [&] { e.ifThen(isFirst(), [&] { e.store(e.number(e.getI32Type(), RowDraw::kNotDrawn), row.token, 4); }); });
  }

  Value keyAt(Value place) { return e.at(keys, e.mul(place, 8)); }
  Value powerOf(Value exponent) { return arith::ShLIOp::create(e, e.i64(1), exponent); }

  /// Brings the gathered keys to shared memory, the largest first: bitonic, over the next power of two.
  void sort(Value count) {
    Value exponent = e.i64(0), zero = e.i64(0);
    int64_t stages = 0;
    for (int64_t size = 1; size < Sample::kMost; size *= 2, ++stages)
      exponent = e.add(exponent, arith::ExtUIOp::create(e, e.getI64Type(), e.less(e.i64(size), count)));
    for (int64_t at = 0; at < Sample::kMost; at += kThreads) {
      Value place = e.add(thread, at);
      auto load = [&] { return Emitter::Values{e.load(e.getI64Type(), e.at(row.list, e.mul(place, 8)), 8)}; };
      Value key = e.ifElse(e.less(place, count), load, [&] { return Emitter::Values{zero}; })[0];
      e.store(key, keyAt(place), 8);
    }
    blockBarrier(e);
    Value isPair = e.less(thread, arith::ShRUIOp::create(e, powerOf(exponent), e.i64(1)));
    // How many trips there are at most shows in the code, so that a model of it can tell the time.
    e.loop(zero, e.i64(stages), e.i64(1), [&](Value stage) {
      e.ifThen(e.less(stage, exponent), [&] {
        e.loop(zero, e.add(stage, 1), e.i64(1), [&](Value done) {
          e.ifThen(isPair, [&] { exchange(powerOf(e.sub(stage, done)), powerOf(e.add(stage, 1))); });
          blockBarrier(e);
        });
      });
    });
  }

  /// Orders keys that lie `distance` apart; runs of `run` are falling and rising in turn.
  void exchange(Value distance, Value run) {
    Value below = arith::AndIOp::create(e, thread, e.sub(distance, e.i64(1)));
    Value first = e.sub(e.mul(thread, 2), below), second = e.add(first, distance);
    Value a = e.load(e.getI64Type(), keyAt(first), 8), b = e.load(e.getI64Type(), keyAt(second), 8);
    Value bit = arith::AndIOp::create(e, first, run);
    Value isFalling = arith::CmpIOp::create(e, arith::CmpIPredicate::eq, bit, e.i64(0));
    Value larger = arith::MaxUIOp::create(e, a, b), smaller = arith::MinUIOp::create(e, a, b);
    e.store(arith::SelectOp::create(e, isFalling, larger, smaller), keyAt(first), 8);
    e.store(arith::SelectOp::create(e, isFalling, smaller, larger), keyAt(second), 8);
  }

  /// A token of this thread: its rank, weight, and the sum of the weights up to it.
  struct Ranked {
    Value rank, weight, upTo;
  };

  Value weightOf(Value key) {
    Value order = arith::TruncIOp::create(e, e.getI32Type(), e.shiftRight(key, 32));
    Value top = e.number(e.getI32Type(), int64_t(1) << 31), ones = e.number(e.getI32Type(), -1);
    Value flipped = arith::SelectOp::create(
        e, arith::CmpIOp::create(e, arith::CmpIPredicate::slt, order, e.number(e.getI32Type(), 0)), top, ones);
    Value logit = arith::BitcastOp::create(e, e.getF32Type(), arith::XOrIOp::create(e, order, flipped));
    return row.weight(row.distance(logit));
  }

  /// How many of the first `kept` tokens meet a condition.
  Value countOf(ArrayRef<Ranked> tokens, Value kept, llvm::function_ref<Value(const Ranked &)> condition) {
    Value own = row.zero;
    for (const Ranked &token : tokens) {
      Value counts = both(compare(Fp::OLT, token.rank, kept), condition(token));
      own = e.addf(own, arith::SelectOp::create(e, counts, row.one, row.zero));
    }
    return foldBlock(own, kAdd);
  }

  void drawFromSorted(Value count) {
    static_assert(Sample::kMost == 2 * kThreads, "two tokens a thread");
    Value kept = arith::SelectOp::create(e, row.hasTopK, minimum(row.topK, count), count);
    Ranked tokens[2];
    for (int64_t i = 0; i < 2; ++i) {
      Value place = e.add(e.mul(thread, 2), i);
      tokens[i].rank = e.toFloat(arith::TruncIOp::create(e, e.getI32Type(), place));
      Value weight = weightOf(e.load(e.getI64Type(), keyAt(place), 8));
      tokens[i].weight = arith::SelectOp::create(e, compare(Fp::OLT, tokens[i].rank, kept), weight, row.zero);
    }
    RunningSum sum = runningSum(e, e.addf(tokens[0].weight, tokens[1].weight), thread, Sample::kDrawWarps, room);
    tokens[0].upTo = e.addf(sum.before, tokens[0].weight);
    tokens[1].upTo = sum.upTo;
    Value total = arith::SelectOp::create(e, row.hasTopK, sum.all, allWeights().total);
    Value goal = e.mulf(row.topP, total);
    Value inside = countOf(tokens, kept, [&](const Ranked &token) { return compare(Fp::OLT, token.upTo, goal); });
    kept = arith::SelectOp::create(e, row.hasTopP, minimum(kept, e.addf(inside, row.one)), kept);
    kept = countOf(tokens, kept, [&](const Ranked &token) {
      return both(compare(Fp::OGE, token.weight, row.minP), compare(Fp::OGT, token.weight, row.zero));
    });
    Value rank = asIndex(minimum(rankDrawn(tokens, kept), e.subf(kept, row.one)));
    e.ifThen(isFirst(), [&] {
      Value token = e.sub(e.i64(UINT32_MAX), e.bitAnd(e.load(e.getI64Type(), keyAt(rank), 8), UINT32_MAX));
      e.store(arith::TruncIOp::create(e, e.getI32Type(), token), row.token, 4);
    });
  }

  /// How many of the first `kept` tokens there are up to which the sum does not go beyond the random share.
  Value rankDrawn(ArrayRef<Ranked> tokens, Value kept) {
    Value own = row.zero;
    for (const Ranked &token : tokens) {
      Value upTo = arith::SelectOp::create(e, compare(Fp::OLT, token.rank, kept), token.upTo, row.zero);
      own = arith::MaxNumFOp::create(e, own, upTo);
    }
    Value goal = e.mulf(row.random, foldBlock(own, kMax));
    return countOf(tokens, kept, [&](const Ranked &token) { return compare(Fp::OLE, token.upTo, goal); });
  }

  /// Weights of two parts in each lane, with sums up to them, and of all.
  struct PartWeights {
    Value upTo[2], total;
  };
  PartWeights allWeights() {
    Value value = e.i64(2 * Sample::kBounds - 1), place = e.mul(lane, 2);
    Value even = e.load(e.getF32Type(), row.sumAt(place, value), 4);
    Value odd = e.load(e.getF32Type(), row.sumAt(e.add(place, 1), value), 4);
    Value upTo = sumUpTo(e, e.addf(even, odd), lane);
    return {{e.subf(upTo, odd), upTo}, fromLane(e, upTo, e.number(e.getI32Type(), 31))};
  }

  /// Finds the part first, then the token in it. Where rounding leaves none, the likeliest token stays.
  void drawInOrder() {
    PartWeights parts = allWeights();
    Value goal = e.mulf(row.random, parts.total), passed = row.zero, before = row.zero;
    for (Value upTo : parts.upTo) {
      Value isPassed = compare(Fp::OLE, upTo, goal);
      passed = e.addf(passed, arith::SelectOp::create(e, isPassed, row.one, row.zero));
      before = arith::MaxNumFOp::create(e, before, arith::SelectOp::create(e, isPassed, upTo, row.zero));
    }
    Value part = e.min(asIndex(reduceLanes(e, passed, kAdd)), e.i64(Sample::kParts - 1));
    goal = e.subf(goal, reduceLanes(e, before, kMax));
    Value begin = e.mul(part, sample.partSize()), first = e.add(begin, e.mul(thread, tokensEach()));
    Value end = e.min(e.add(begin, sample.partSize()), e.i64(sample.vocabulary));
    auto own = forWeights(first, end, row.zero, [&](Value, Value weight, ValueRange so) {
      return Emitter::Values{e.addf(so[0], weight)};
    });
    RunningSum sum = runningSum(e, own[0], thread, Sample::kDrawWarps, room);
    Value isPassed = compare(Fp::OLE, sum.upTo, goal);
    Value drawer = foldBlock(arith::SelectOp::create(e, isPassed, row.one, row.zero), kAdd);
    e.ifThen(arith::CmpIOp::create(e, arith::CmpIPredicate::eq, asIndex(drawer), thread),
             [&] { drawWithin(first, end, sum.before, goal); });
  }

  /// Tokens of a part for each thread.
  int64_t tokensEach() const { return (sample.partSize() + kThreads - 1) / kThreads; }

  /// Calls `body` for each token of this thread before `end` with its weight.
  Emitter::Values forWeights(Value first, Value end, ValueRange init,
                             llvm::function_ref<Emitter::Values(Value, Value, ValueRange)> body) {
    return e.loop(e.min(first, end), e.min(e.add(first, tokensEach()), end), e.i64(1), init,
                  [&](Value token, ValueRange carried) {
                    return body(token, row.keptWeight(row.distance(row.logit(token))), carried);
                  });
  }

  /// The last token of some weight before which the sum does not go beyond the goal.
  void drawWithin(Value first, Value end, Value before, Value goal) {
    Value none = e.number(e.getI32Type(), -1);
    auto found = forWeights(first, end, {before, none}, [&](Value token, Value weight, ValueRange so) {
      Value takes = both(compare(Fp::OLE, so[0], goal), compare(Fp::OGT, weight, row.zero));
      Value number = arith::TruncIOp::create(e, e.getI32Type(), token);
      return Emitter::Values{e.addf(so[0], weight), arith::SelectOp::create(e, takes, number, so[1])};
    });
    e.ifThen(arith::CmpIOp::create(e, arith::CmpIPredicate::ne, found[1], none),
             [&] { e.store(found[1], row.token, 4); });
  }

  Emitter &e;
  const Sample &sample;
  Value thread, lane, warp;
  SampleRow row;
  Value keys, room;
};

} // namespace

gpu::GPUFuncOp codegen::emitSampleDraw(gpu::GPUModuleOp module, const Sample &sample, const GpuTarget &) {
  return emitKernel(module, {sample.drawName(), 4, 0, Sample::kDrawWarps},
                    [&](Emitter &e, ValueRange arguments) { DrawEmitter(e, sample, arguments).emit(); });
}

// Which logits are kept is found without sorting: the least one that is kept is known four bits at a time, each time by
// what lies at or above fifteen numbers. Logits are compared as integers that are in the same order. A thread takes
// every 1,024th logit, and tokens are drawn from in the order of threads: any fixed order is as good.
#include "Sample.h"

#include "EmitKernel.h"

#include <limits>

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

namespace {

class SampleEmitter {
public:
  SampleEmitter(Emitter &e, const Sample &sample, ValueRange arguments)
      : e(e), sample(sample), row(blockIndex(e)), thread(threadIndex(e)), lane(e.rem(thread, e.i64(32))),
        warp(e.div(thread, 32)), logits(e.at(arguments[0], e.mul(row, sample.vocabulary * 4))), tokens(arguments[2]),
        settings(e.at(arguments[1], e.mul(row, Sample::kSettingBytes))), zero(e.real(e.getF32Type(), 0)),
        none(e.real(e.getF32Type(), -std::numeric_limits<double>::infinity())) {}

  void emit() {
    shared = sharedMemory(e, "sums", kDigits * Sample::kWarps * 4);
    running = sharedMemory(e, "running", 32 * Sample::kWarps * 4);
    inverse = setting(e.getF32Type(), 0);
    largest = largestLogit();
    Value all = e.number(e.getI32Type(), 0), one = e.real(e.getF32Type(), 1);
    Value k = setting(e.getI32Type(), 8), p = setting(e.getF32Type(), 4);
    Value least =
        ifElse(isBetween(k), all, [&] { return threshold(e.toFloat(k), [&](const Logit &) { return one; }); });
    auto weight = [&](const Logit &logit) { return weightOf(logit, least); };
    Value isOn = arith::CmpFOp::create(e, arith::CmpFPredicate::OLT, p, one);
    least = ifElse(isOn, least, [&] {
      Value total = blockSum(sumOf(weight));
      // Rounding must not keep more than all of them.
      return arith::MaxUIOp::create(e, least, threshold(e.mulf(p, total), weight)).getResult();
    });
    draw(least);
  }

private:
  static constexpr int64_t kDigits = 15; ///< four bits but for 0

  /// A logit, and the number that compares as it does, without sign.
  struct Logit {
    Value number, order;
  };

  Value setting(Type type, int64_t at) { return e.load(type, e.at(settings, at), 4); }

  Value isBetween(Value k) {
    auto compare = [&](arith::CmpIPredicate predicate, int64_t to) {
      return arith::CmpIOp::create(e, predicate, k, e.number(e.getI32Type(), to));
    };
    return arith::AndIOp::create(e, compare(arith::CmpIPredicate::sgt, 0),
                                 compare(arith::CmpIPredicate::slt, sample.vocabulary));
  }

  Value ifElse(Value condition, Value otherwise, llvm::function_ref<Value()> then) {
    return e.ifElse(
        condition, [&] { return Emitter::Values{then()}; }, [&] { return Emitter::Values{otherwise}; })[0];
  }

  Logit load(Value i) {
    Value number = e.load(e.getF32Type(), e.at(logits, e.mul(i, 4)), 4);
    Value isNan = arith::CmpFOp::create(e, arith::CmpFPredicate::UNO, number, number);
    number = arith::SelectOp::create(e, isNan, none, number);
    Value bits = arith::BitcastOp::create(e, e.getI32Type(), number);
    Value flipped = e.bitOr(e.signedShiftRight(bits, 31), e.number(e.getI32Type(), int64_t(1) << 31));
    return {number, arith::XOrIOp::create(e, bits, flipped)};
  }

  /// Calls `body` for each logit of this thread.
  Emitter::Values forLogits(ValueRange init,
                            llvm::function_ref<Emitter::Values(const Logit &, Value, ValueRange)> body) {
    return e.loop(thread, e.i64(sample.vocabulary), e.i64(32 * Sample::kWarps), init,
                  [&](Value i, ValueRange carried) { return body(load(i), i, carried); });
  }

  Value weightOf(const Logit &logit, Value least) {
    Value weight = math::ExpOp::create(e, e.mulf(e.subf(logit.number, largest), inverse));
    return arith::SelectOp::create(e, atLeast(logit, least), weight, zero);
  }
  Value atLeast(const Logit &logit, Value least) {
    return arith::CmpIOp::create(e, arith::CmpIPredicate::uge, logit.order, least);
  }

  Value sumOf(llvm::function_ref<Value(const Logit &)> measure) {
    return forLogits(zero, [&](const Logit &logit, Value, ValueRange sum) {
      return Emitter::Values{e.addf(sum[0], measure(logit))};
    })[0];
  }

  Value slot(int64_t digit, Value which) { return e.at(shared, e.mul(e.add(which, digit * Sample::kWarps), 4)); }

  /// Folds what the threads have, for each of some values; all threads get the results.
  Emitter::Values foldBlock(ValueRange values, gpu::AllReduceOperation operation) {
    Emitter::Values folded;
    for (auto [digit, value] : llvm::enumerate(values)) {
      Value ofWarp = reduceLanes(e, value, operation);
      e.ifThen(isZero(lane), [&] { e.store(ofWarp, slot(int64_t(digit), warp), 4); });
    }
    blockBarrier(e);
    for (size_t digit = 0; digit < values.size(); ++digit)
      folded.push_back(reduceLanes(e, e.load(e.getF32Type(), slot(int64_t(digit), lane), 4), operation));
    blockBarrier(e);
    return folded;
  }
  Value blockSum(Value value) { return foldBlock(value, gpu::AllReduceOperation::ADD)[0]; }

  Value isZero(Value index) { return arith::CmpIOp::create(e, arith::CmpIPredicate::eq, index, e.i64(0)); }

  Value largestLogit() {
    Value own = forLogits(none, [&](const Logit &logit, Value, ValueRange so) {
      return Emitter::Values{arith::MaxNumFOp::create(e, so[0], logit.number)};
    })[0];
    return foldBlock(own, gpu::AllReduceOperation::MAXNUMF)[0];
  }

  /// The greatest number such that the measures of the logits at or above it come to `goal`.
  Value threshold(Value goal, llvm::function_ref<Value(const Logit &)> measure) {
    Value start = e.number(e.getI32Type(), 0);
    return e.loop(e.i64(0), e.i64(32), e.i64(4), start, [&](Value done, ValueRange prefix) {
      Value shift = arith::TruncIOp::create(e, e.getI32Type(), e.sub(e.i64(28), done));
      Emitter::Values tried;
      for (int64_t digit = 1; digit <= kDigits; ++digit)
        tried.push_back(e.bitOr(prefix[0], arith::ShLIOp::create(e, e.number(e.getI32Type(), digit), shift)));
      auto sums = forLogits(Emitter::Values(kDigits, zero), [&](const Logit &logit, Value, ValueRange so) {
        Value amount = measure(logit);
        Emitter::Values next;
        for (auto [bound, sum] : llvm::zip(tried, so))
          next.push_back(e.addf(sum, arith::SelectOp::create(e, atLeast(logit, bound), amount, zero)));
        return next;
      });
      Value found = prefix[0];
      for (auto [bound, sum] : llvm::zip(tried, foldBlock(sums, gpu::AllReduceOperation::ADD))) {
        Value reaches = arith::CmpFOp::create(e, arith::CmpFPredicate::OGE, sum, goal);
        found = arith::SelectOp::create(e, reaches, bound, found);
      }
      return Emitter::Values{found};
    })[0];
  }

  struct RunningSum {
    Value before, upTo, total; ///< of the threads before this one, with it, and of all
  };

  /// Lanes of a warp in order, then the warps: a sum never falls from a thread to the next.
  RunningSum runningSum(Value own) {
    Value place = e.at(running, e.mul(thread, 4)), isFirst = isZero(lane);
    auto load = [&](Value from, int64_t at) { return e.load(e.getF32Type(), e.at(from, at), 4); };
    e.store(own, place, 4);
    blockBarrier(e);
    e.ifThen(isFirst, [&] {
      e.loop(e.i64(0), e.i64(31 * 4), e.i64(4), own, [&](Value at, ValueRange so) {
        Value next = e.at(e.at(place, at), 4), sum = e.addf(so[0], e.load(e.getF32Type(), next, 4));
        e.store(sum, next, 4);
        return Emitter::Values{sum};
      });
    });
    blockBarrier(e);
    e.ifThen(isZero(thread), [&] {
      e.loop(e.i64(0), e.i64(Sample::kWarps), e.i64(1), zero, [&](Value which, ValueRange so) {
        e.store(so[0], slot(0, which), 4);
        return Emitter::Values{e.addf(so[0], load(e.at(running, e.mul(which, 32 * 4)), 31 * 4))};
      });
    });
    blockBarrier(e);
    Value offset = load(slot(0, warp), 0), last = load(slot(0, e.i64(Sample::kWarps - 1)), 0);
    Value previous = e.at(running, e.mul(arith::SelectOp::create(e, isFirst, thread, e.add(thread, -1)), 4));
    Value before = arith::SelectOp::create(e, isFirst, offset, e.addf(offset, load(previous, 0)));
    return {before, e.addf(offset, load(place, 0)), e.addf(last, load(running, (32 * Sample::kWarps - 1) * 4))};
  }

  /// The last token of a weight before which the sum of weights does not go beyond u of all of them.
  void draw(Value least) {
    Value own = sumOf([&](const Logit &logit) { return weightOf(logit, least); });
    RunningSum sum = runningSum(own);
    Value goal = e.mulf(sum.total, setting(e.getF32Type(), 12));
    auto compare = [&](arith::CmpFPredicate predicate, Value a, Value b) -> Value {
      return arith::CmpFOp::create(e, predicate, a, b);
    };
    // Sums do not fall from thread to thread, so that one thread crosses the goal, if it is below the total.
    Value crosses = arith::AndIOp::create(e, compare(arith::CmpFPredicate::OGT, sum.upTo, goal),
                                          compare(arith::CmpFPredicate::OLE, sum.before, goal));
    Value token = e.number(e.getI32Type(), -1), tokenOfRow = e.at(tokens, e.mul(row, 4));
    Value isInfinite = compare(arith::CmpFPredicate::OEQ, math::AbsFOp::create(e, largest), e.negf(none));
    e.ifThen(arith::AndIOp::create(e, isZero(thread), isInfinite), [&] { e.store(token, tokenOfRow, 4); });
    e.ifThen(crosses, [&] {
      auto found = forLogits({sum.before, token}, [&](const Logit &logit, Value i, ValueRange so) {
        Value weight = weightOf(logit, least), next = e.addf(so[0], weight);
        Value takes = arith::AndIOp::create(e, compare(arith::CmpFPredicate::OLE, so[0], goal),
                                            compare(arith::CmpFPredicate::OGT, weight, zero));
        Value own = arith::TruncIOp::create(e, e.getI32Type(), i);
        return Emitter::Values{next, arith::SelectOp::create(e, takes, own, so[1])};
      });
      e.store(found[1], tokenOfRow, 4);
    });
  }

  Emitter &e;
  const Sample &sample;
  Value row, thread, lane, warp, logits, tokens, settings, zero, none;
  Value shared, running, inverse, largest;
};

} // namespace

gpu::GPUFuncOp codegen::emitSample(gpu::GPUModuleOp module, const Sample &sample, const GpuTarget &) {
  return emitKernel(module, {sample.name(), 3, 0, Sample::kWarps},
                    [&](Emitter &e, ValueRange arguments) { SampleEmitter(e, sample, arguments).emit(); });
}

// Entries that measure what the processor can do, in the instructions that kernels are made of. See Passes.td.
#include "dialects/DQ/DQ.h"
#include "lib/Codegen/Common/Emitter.h"
#include "quern/Codegen/Passes.h"
#include "quern/Codegen/Target.h"
#include "quern/Runtime/KernelABI.h"

namespace quern::codegen {
#define GEN_PASS_DEF_ADDPROBES
#include "lib/Codegen/Passes.h.inc"
} // namespace quern::codegen

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

namespace {

constexpr int64_t kLine = 64;
constexpr int64_t kUnroll = 4;           ///< lines of one stream in a turn of a reading loop
constexpr int64_t kTurnsPerRound = 4096; ///< turns of a computing loop

/// One probe under construction: (call) -> (). Fields as in Passes.td.
class ProbeEmitter {
public:
  ProbeEmitter(Emitter &e, const Target &target, Value call) : e(e), target(target), call(call) {
    Value sizes = e.callField(call, QUERN_CALL_SIZES, e.ptr());
    rounds = e.load(e.getI64Type(), sizes, 8);
    weightBytes = e.load(e.getI64Type(), e.at(sizes, 8), 8);
    Value thread = e.callField(call, QUERN_CALL_THREAD, e.getI64Type());
    out = e.at(e.load(e.ptr(), e.callField(call, QUERN_CALL_BUFFERS, e.ptr()), 8), e.mul(thread, 2 * kLine));
  }

  void read(int64_t streams, bool prefetches);
  void dot();
  void pairs();
  void fma();

private:
  /// Stores what was done, and the sum that keeps it from being optimized away.
  void finish(Value work, Value sum) {
    e.store(work, out, 8);
    e.store(sum, e.at(out, kLine), 4);
  }
  Value turns() { return e.mul(rounds, kTurnsPerRound); }

  Emitter &e;
  const Target &target;
  Value call, rounds, weightBytes, out;
};

/// Adds all words of this thread's share of the weights, `rounds` times, in `streams` loops side by side.
void ProbeEmitter::read(int64_t streams, bool prefetches) {
  int64_t turnBytes = streams * kUnroll * kLine;
  auto [first, last] = e.share(call, e.div(weightBytes, turnBytes));
  Value streamBytes = e.mul(e.sub(last, first), kUnroll * kLine);
  Value start = e.at(e.callField(call, QUERN_CALL_WEIGHTS, e.ptr()), e.mul(first, turnBytes));
  Emitter::Values zeros(streams * kUnroll, e.number(e.i32s(), 0));
  Emitter::Values sums = e.loop(e.i64(0), rounds, e.i64(1), zeros, [&](Value, ValueRange outer) {
    return e.loop(e.i64(0), streamBytes, e.i64(kUnroll * kLine), outer, [&](Value at, ValueRange carried) {
      Emitter::Values next;
      for (int64_t i = 0; i < streams * kUnroll; ++i) {
        Value stream = e.at(start, e.mul(streamBytes, i / kUnroll));
        Value line = e.at(e.at(stream, at), i % kUnroll * kLine);
        if (prefetches && target.prefetchBytes > 0)
          e.prefetch(e.at(line, target.prefetchBytes));
        next.push_back(e.add(carried[i], e.load(e.i32s(), line, kLine)));
      }
      return next;
    });
  });
  Value sum = sums.front();
  for (Value other : ArrayRef<Value>(sums).drop_front())
    sum = e.add(sum, other);
  finish(e.mul(rounds, e.mul(streamBytes, streams)), sum);
}

/// Byte dot products into accumulators that stay in registers: different codes for each, new activations each turn.
void ProbeEmitter::dot() {
  Emitter::Values init;
  llvm::SmallVector<Value> codes;
  for (unsigned i = 0; i < target.probeAccumulators; ++i) {
    init.push_back(e.number(e.i32s(), 0));
    codes.push_back(
        e.bitcast(e.splat(arith::TruncIOp::create(e, e.getI32Type(), e.add(rounds, i)), e.i32s()), e.i8s()));
  }
  init.push_back(e.number(e.i32s(), 1));
  Emitter::Values sums = e.loop(e.i64(0), turns(), e.i64(1), init, [&](Value, ValueRange carried) {
    Emitter::Values next;
    Value activations = e.bitcast(carried.back(), e.i8s());
    for (auto [sum, code] : llvm::zip(carried.drop_back(), codes))
      next.push_back(dq::DotOp::create(e, sum.getType(), sum, code, activations, target.signedCodes,
                                       target.signedCodes ? 128 : 255));
    next.push_back(e.add(carried.back(), e.number(e.i32s(), 0x01030507)));
    return next;
  });
  Value sum = sums.front();
  for (Value other : ArrayRef<Value>(sums).drop_front())
    sum = e.add(sum, other);
  finish(e.mul(turns(), 2 * 64 * int64_t(target.probeAccumulators)), sum);
}

/// The same with pairs of bf16, all near one.
void ProbeEmitter::pairs() {
  VectorType bfloats = e.vec(32, e.getBF16Type());
  Emitter::Values init(target.probeAccumulators, e.real(e.f32s(), 0));
  Value round = e.splat(arith::TruncIOp::create(e, e.getI32Type(), rounds), e.i32s());
  Value ones = e.bitOr(e.bitAnd(round, 1), e.number(e.i32s(), 0x3f803f80)), weights = e.bitcast(ones, bfloats);
  init.push_back(ones);
  Emitter::Values sums = e.loop(e.i64(0), turns(), e.i64(1), init, [&](Value, ValueRange carried) {
    Emitter::Values next;
    Value activations = e.bitcast(carried.back(), bfloats);
    for (Value sum : carried.drop_back())
      next.push_back(dq::DotPairsOp::create(e, sum.getType(), sum, weights, activations));
    next.push_back(e.bitXor(carried.back(), 0x00010002));
    return next;
  });
  Value sum = sums.front();
  for (Value other : ArrayRef<Value>(sums).drop_back().drop_front())
    sum = e.addf(sum, other);
  finish(e.mul(turns(), 2 * 32 * int64_t(target.probeAccumulators)), sum);
}

/// The same with fused multiply-adds of f32.
void ProbeEmitter::fma() {
  Emitter::Values init(target.probeAccumulators, e.real(e.f32s(), 0));
  Value one = e.splat(e.toFloat(arith::TruncIOp::create(e, e.getI32Type(), rounds)), e.f32s());
  init.push_back(one);
  Emitter::Values sums = e.loop(e.i64(0), turns(), e.i64(1), init, [&](Value, ValueRange carried) {
    Emitter::Values next;
    for (Value sum : carried.drop_back())
      next.push_back(e.fma(carried.back(), one, sum));
    next.push_back(e.addf(carried.back(), e.real(e.f32s(), 1)));
    return next;
  });
  Value sum = sums.front();
  for (Value other : ArrayRef<Value>(sums).drop_front())
    sum = e.addf(sum, other);
  finish(e.mul(turns(), 2 * 16 * int64_t(target.probeAccumulators)), sum);
}

struct AddProbes : codegen::impl::AddProbesBase<AddProbes> {
  using AddProbesBase::AddProbesBase;

  void runOnOperation() override {
    auto target = findTarget(targetName);
    if (!target) {
      getOperation().emitError(target.error().message);
      return signalPassFailure();
    }
    auto add = [&](StringRef name, llvm::function_ref<void(ProbeEmitter &)> body) {
      Emitter e(getOperation().getLoc(), &getContext());
      e.setInsertionPointToEnd(getOperation().getBody());
      auto probe = func::FuncOp::create(e, name, e.getFunctionType({e.ptr()}, {}));
      e.setInsertionPointToEnd(probe.addEntryBlock());
      ProbeEmitter emitter(e, **target, probe.getArgument(0));
      body(emitter);
      func::ReturnOp::create(e);
    };
    add("probe_read_plain", [](ProbeEmitter &probe) { probe.read(1, false); });
    add("probe_read_prefetch", [](ProbeEmitter &probe) { probe.read(1, true); });
    add("probe_read_streams", [](ProbeEmitter &probe) { probe.read(4, true); });
    add("probe_dot", [](ProbeEmitter &probe) { probe.dot(); });
    add("probe_pairs", [](ProbeEmitter &probe) { probe.pairs(); });
    add("probe_fma", [](ProbeEmitter &probe) { probe.fma(); });
  }
};

} // namespace

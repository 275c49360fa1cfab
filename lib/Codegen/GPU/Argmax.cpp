// A candidate is a logit and its token (i32), none being -infinity and -1. Comparing two of them does not depend on
// their order, so that the result does not depend on how a row was divided.
#include "Argmax.h"

#include "EmitKernel.h"

#include <limits>

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

namespace {

struct Candidate {
  Value logit, token;
};

} // namespace

static Candidate noCandidate(Emitter &e) {
  return {e.real(e.getF32Type(), -std::numeric_limits<double>::infinity()), e.number(e.getI32Type(), -1)};
}

/// The larger one, of equal ones that with the lower token. -1 is the highest, compared without sign.
static Candidate better(Emitter &e, const Candidate &a, const Candidate &b) {
  Value larger = arith::CmpFOp::create(e, arith::CmpFPredicate::OGT, b.logit, a.logit);
  Value equal = arith::CmpFOp::create(e, arith::CmpFPredicate::OEQ, b.logit, a.logit);
  Value lower = arith::CmpIOp::create(e, arith::CmpIPredicate::ult, b.token, a.token);
  Value takes = arith::OrIOp::create(e, larger, arith::AndIOp::create(e, equal, lower));
  return {arith::SelectOp::create(e, takes, b.logit, a.logit), arith::SelectOp::create(e, takes, b.token, a.token)};
}

static Candidate bestOfWarp(Emitter &e, Candidate best) {
  for (int32_t mask = 16; mask > 0; mask /= 2)
    best = better(e, best, {fromNeighbour(e, best.logit, mask), fromNeighbour(e, best.token, mask)});
  return best;
}

static Candidate loadCandidate(Emitter &e, Value from) {
  return {e.load(e.getF32Type(), from, 4), e.load(e.getI32Type(), e.at(from, 4), 4)};
}

static void storeCandidate(Emitter &e, const Candidate &best, Value to) {
  e.store(best.logit, to, 4);
  e.store(best.token, e.at(to, 4), 4);
}

static void ifFirst(Emitter &e, Value index, llvm::function_ref<void()> body) {
  e.ifThen(arith::CmpIOp::create(e, arith::CmpIPredicate::eq, index, e.i64(0)), body);
}

/// The best of what `load(i)` gives for i from `first` to `end` in steps of `step`.
static Candidate bestOf(Emitter &e, Value first, Value end, int64_t step, llvm::function_ref<Candidate(Value)> load) {
  Candidate none = noCandidate(e);
  auto best = e.loop(first, end, e.i64(step), {none.logit, none.token}, [&](Value i, ValueRange carried) {
    Candidate next = better(e, {carried[0], carried[1]}, load(i));
    return Emitter::Values{next.logit, next.token};
  });
  return {best[0], best[1]};
}

gpu::GPUFuncOp codegen::emitArgmaxParts(gpu::GPUModuleOp module, const Argmax &argmax, const GpuTarget &) {
  KernelFrame frame{argmax.partsName(), 2, 0, Argmax::kWarps};
  return emitKernel(module, frame, [&](Emitter &e, ValueRange arguments) {
    int64_t size = (argmax.vocabulary + Argmax::kParts - 1) / Argmax::kParts;
    Value part = blockIndex(e), row = blockIndex(e, gpu::Dimension::y), thread = threadIndex(e);
    Value first = e.mul(part, size), end = e.min(e.i64(argmax.vocabulary), e.add(first, size));
    Value logits = e.at(arguments[0], e.mul(row, argmax.rowWidth() * 4));
    Candidate best = bestOf(e, e.add(first, thread), end, 32 * Argmax::kWarps, [&](Value i) {
      Value logit = e.load(e.getF32Type(), e.at(logits, e.mul(i, 4)), 4);
      Candidate none = noCandidate(e), found{logit, arith::TruncIOp::create(e, e.getI32Type(), i)};
      Value counts = arith::CmpFOp::create(e, arith::CmpFPredicate::OGT, logit, none.logit);
      found.logit = arith::SelectOp::create(e, counts, found.logit, none.logit);
      found.token = arith::SelectOp::create(e, counts, found.token, none.token);
      return found;
    });
    best = bestOfWarp(e, best);
    Value lane = e.rem(thread, e.i64(32)), shared = sharedMemory(e, "best", Argmax::kWarps * 8);
    ifFirst(e, lane, [&] { storeCandidate(e, best, e.at(shared, e.mul(e.div(thread, 32), 8))); });
    blockBarrier(e);
    ifFirst(e, thread, [&] {
      Candidate all = bestOf(e, e.i64(0), e.i64(Argmax::kWarps), 1,
                             [&](Value warp) { return loadCandidate(e, e.at(shared, e.mul(warp, 8))); });
      storeCandidate(e, all, e.at(arguments[1], e.mul(e.add(e.mul(row, Argmax::kParts), part), 8)));
    });
  });
}

gpu::GPUFuncOp codegen::emitArgmaxMerge(gpu::GPUModuleOp module, const Argmax &argmax, const GpuTarget &) {
  return emitKernel(module, {argmax.mergeName(), 2, 0, 1}, [&](Emitter &e, ValueRange arguments) {
    Value row = blockIndex(e), lane = threadIndex(e), parts = e.at(arguments[0], e.mul(row, Argmax::kPartBytes));
    Candidate best = bestOf(e, lane, e.i64(Argmax::kParts), 32,
                            [&](Value part) { return loadCandidate(e, e.at(parts, e.mul(part, 8))); });
    best = bestOfWarp(e, best);
    ifFirst(e, lane, [&] { e.store(best.token, e.at(arguments[1], e.mul(row, 4)), 4); });
  });
}

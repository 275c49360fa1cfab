#include "AttentionTile.h"

#include <algorithm>
#include <limits>
#include <numeric>

using namespace mlir;
using namespace quern::codegen;

static constexpr double kLowest = -std::numeric_limits<float>::max();
static constexpr int64_t kKeptAt = 0, kTakenAt = 1, kGreatestAt = 2; // vectors in the work memory, a lane a head

std::unique_ptr<HeadGroup> HeadGroup::make(Emitter &e, const AttentionShape &shape, const Target &target, Value work,
                                           int64_t count) {
  if (shape.cache == CacheKind::F16)
    return std::make_unique<HalfGroup>(e, shape, work, count);
  return std::make_unique<ByteGroup>(e, shape, work, count, target.signedCodes);
}

int64_t HeadGroup::tileWorkBytes(const AttentionShape &shape, int64_t count) {
  int64_t own = shape.cache == CacheKind::F16 ? 0 : ByteGroup::workBytes(shape.layout(), count);
  return (count * kKeyTile + 3 * 16) * 4 + own;
}

int64_t HeadGroup::queryBytes(const AttentionShape &shape, int64_t count) {
  return shape.cache == CacheKind::F16 ? 0 : count * ByteGroup::headQueryBytes(shape.layout());
}

void HeadGroup::begin(Value state) {
  e.loop(e.i64(0), e.i64(sumsAt(count)), e.i64(64),
         [&](Value at) { e.store(e.real(e.f32s(), 0), e.at(state, at), 4); });
  e.store(e.real(e.f32s(), kLowest), maxima(state), 4);
  e.store(e.real(e.f32s(), 0), totals(state), 4);
}

/// Scores of 16 keys for each head: the dot product over D in two partial sums (even and odd d), times the scale.
Emitter::Values HalfGroup::scoreBlock(Value queries, Value tile, Value at) {
  Value block = e.at(tile, e.mul(at, shape.headDim * 2));
  Values zeros(2 * count, e.real(e.f32s(), 0));
  Values sums = e.loop(e.i64(0), e.i64(shape.headDim), e.i64(2), zeros, [&](Value d, ValueRange carried) {
    Values next(carried);
    Value line = e.at(block, e.mul(d, kKeyBlock * 2));
    e.prefetchFar(e.at(line, layout.tileBytes())); // the same keys of the next tile
    for (int64_t odd = 0; odd < 2; ++odd) {
      Value keys = e.widen(e.load(e.vec(kKeyBlock, e.getF16Type()), e.at(line, odd * kKeyBlock * 2), 32));
      for (int64_t r = 0; r < count; ++r) {
        Value query = e.load(e.getF32Type(), e.at(queries, e.add(e.mul(d, 4), sumsAt(r) + odd * 4)), 4);
        Value &sum = next[2 * r + odd];
        sum = e.fma(keys, e.splat(query, e.f32s()), sum);
      }
    }
    return next;
  });
  Values scores;
  for (int64_t r = 0; r < count; ++r)
    scores.push_back(e.mulf(e.addf(sums[2 * r], sums[2 * r + 1]), e.real(e.f32s(), shape.scale)));
  return scores;
}

Value HeadGroup::validLanes(Value left) {
  llvm::SmallVector<int32_t> order(kKeyBlock);
  std::iota(order.begin(), order.end(), 0);
  Value lane = arith::ConstantOp::create(e, DenseIntElementsAttr::get(e.i32s(), order));
  Value bound = e.splat(arith::TruncIOp::create(e, e.getI32Type(), left), e.i32s());
  return arith::CmpIOp::create(e, arith::CmpIPredicate::slt, lane, bound);
}

/// Scores of the first keys of a tile into the heads' weights; returns the heads' maxima.
Value HeadGroup::scoreTile(Value queries, Value tile, Value tileKeys) {
  Value lowest = e.real(e.f32s(), kLowest);
  Values none(count, lowest);
  Values greatest = e.loop(e.i64(0), tileKeys, e.i64(kKeyBlock), none, [&](Value at, ValueRange carried) {
    Values next(carried);
    Values scores = scoreBlock(queries, tile, at);
    Value valid = validLanes(e.sub(tileKeys, at));
    for (int64_t r = 0; r < count; ++r) {
      Value score = arith::SelectOp::create(e, valid, scores[r], lowest);
      e.store(score, e.at(weights(r), e.mul(at, 4)), 4);
      next[r] = e.maxf(next[r], score);
    }
    return next;
  });
  return e.foldLanes(greatest, [&](Value a, Value b) { return e.maxf(a, b); });
}

/// Merges maxima and sums of weights; leaves in the work memory what the earlier and the later sums of values are
/// multiplied by.
void HeadGroup::mergeTotals(Value state, Value laterMaxima, Value laterTotals) {
  Value earlier = e.load(e.f32s(), maxima(state), 4), greatest = e.maxf(earlier, laterMaxima);
  Value kept = math::ExpOp::create(e, e.subf(earlier, greatest));
  Value taken = math::ExpOp::create(e, e.subf(laterMaxima, greatest));
  Value total = e.mulf(e.load(e.f32s(), totals(state), 4), kept);
  e.store(e.fma(laterTotals, taken, total), totals(state), 4);
  e.store(greatest, maxima(state), 4);
  e.store(kept, lanes(kKeptAt), 4);
  e.store(taken, lanes(kTakenAt), 4);
}

void HeadGroup::mergeSums(Value state, int64_t head, Value offset, Value later) {
  Value address = e.at(state, e.add(offset, sumsAt(head)));
  Value kept = e.mulf(e.load(e.f32s(), address, 4), splatLane(lanes(kKeptAt), head));
  e.store(e.fma(later, splatLane(lanes(kTakenAt), head), kept), address, 4);
}

void HeadGroup::tile(Value state, Value queries, Value keys, Value values, Value first, Value end) {
  Value tileKeys = e.sub(end, first), offset = e.mul(first, layout.positionBytes());
  Value greatest = scoreTile(queries, e.at(keys, offset), tileKeys);
  e.store(greatest, lanes(kGreatestAt), 4);
  Values sums;
  for (int64_t r = 0; r < count; ++r) {
    Value maximum = splatLane(lanes(kGreatestAt), r), zero = e.real(e.f32s(), 0);
    sums.push_back(e.loop(e.i64(0), tileKeys, e.i64(kKeyBlock), zero, [&](Value at, ValueRange carried) {
      Value address = e.at(weights(r), e.mul(at, 4));
      Value weight = math::ExpOp::create(e, e.subf(e.load(e.f32s(), address, 4), maximum));
      e.store(weight, address, 4);
      return Values{e.addf(carried[0], weight)};
    })[0]);
  }
  mergeTotals(state, greatest, e.foldLanes(sums, [&](Value a, Value b) { return e.addf(a, b); }));
  weighValues(state, e.at(values, offset), tileKeys);
}

/// 16 elements of a head at a time.
void HalfGroup::weighValues(Value state, Value tile, Value tileKeys) {
  Values zeros(count, e.real(e.f32s(), 0));
  auto pass = [&](Value d, bool prefetches) {
    Values weighted = e.loop(e.i64(0), tileKeys, e.i64(1), zeros, [&](Value key, ValueRange carried) {
      Values next(carried);
      Value address = e.at(tile, e.mul(e.add(e.mul(key, shape.headDim), d), 2));
      if (prefetches)
        e.prefetchFar(e.at(address, layout.tileBytes())); // the same values of the next tile
      Value value = e.widen(e.load(e.vec(16, e.getF16Type()), address, 32));
      for (int64_t r = 0; r < count; ++r) {
        Value weight = e.load(e.getF32Type(), e.at(weights(r), e.mul(key, 4)), 4);
        next[r] = e.fma(value, e.splat(weight, e.f32s()), next[r]);
      }
      return next;
    });
    for (int64_t r = 0; r < count; ++r)
      mergeSums(state, r, e.mul(d, 4), weighted[r]);
  };
  // A line holds 32 values: two passes, of which one prefetches.
  int64_t step = std::min<int64_t>(32, shape.headDim);
  e.loop(e.i64(0), e.i64(shape.headDim / step * step), e.i64(step), [&](Value d) {
    for (int64_t half = 0; half < step; half += 16)
      pass(e.add(d, half), half == 0);
  });
  if (shape.headDim % step != 0)
    pass(e.i64(shape.headDim / step * step), true);
}

void HeadGroup::merge(Value state, Value from) {
  mergeTotals(state, e.load(e.f32s(), maxima(from), 4), e.load(e.f32s(), totals(from), 4));
  for (int64_t r = 0; r < count; ++r)
    e.loop(e.i64(0), e.i64(shape.headDim * 4), e.i64(64), [&](Value at) {
      mergeSums(state, r, at, e.load(e.f32s(), e.at(from, e.add(at, sumsAt(r))), 4));
    });
}

void HeadGroup::finish(Value state, Value out) {
  for (int64_t r = 0; r < count; ++r) {
    Value divisor = splatLane(totals(state), r);
    e.loop(e.i64(0), e.i64(shape.headDim * 4), e.i64(64), [&](Value at) {
      Value offset = e.add(at, sumsAt(r));
      e.store(arith::DivFOp::create(e, e.load(e.f32s(), e.at(state, offset), 4), divisor), e.at(out, offset), 4);
    });
  }
}

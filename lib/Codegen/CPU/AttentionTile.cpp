#include "AttentionTile.h"
#include "CacheAccess.h"

#include <algorithm>
#include <limits>
#include <numeric>

using namespace mlir;
using namespace quern::codegen;

static constexpr double kLowest = -std::numeric_limits<float>::max();
static constexpr int64_t kKeptAt = 0, kTakenAt = 1, kGreatestAt = 2; // vectors in the work memory, a lane a head

std::unique_ptr<HeadGroup> HeadGroup::make(Emitter &e, const AttentionShape &shape, const Target &target, Value work,
                                           int64_t count) {
  if (shape.layout().bytes())
    return std::make_unique<ByteGroup>(e, shape, work, count, target.signedCodes);
  return std::make_unique<FloatGroup>(e, shape, work, count, target);
}

int64_t HeadGroup::tileWorkBytes(const AttentionShape &shape, int64_t count) {
  int64_t own = shape.layout().bytes() ? ByteGroup::workBytes(shape.layout(), count) : 0;
  return (count * kKeyTile + 3 * 16) * 4 + own;
}

int64_t HeadGroup::queryBytes(const AttentionShape &shape, int64_t count) {
  return shape.layout().bytes() ? count * ByteGroup::headQueryBytes(shape.layout()) : 0;
}

void HeadGroup::begin(Value state) {
  e.loop(e.i64(0), e.i64(sumsAt(count)), e.i64(64),
         [&](Value at) { e.store(e.real(e.f32s(), 0), e.at(state, at), 4); });
  e.store(e.real(e.f32s(), kLowest), maxima(state), 4);
  e.store(e.real(e.f32s(), 0), totals(state), 4);
}

Value FloatGroup::numbers(Value address, int64_t index) {
  Value stored = e.load(cacheNumbers(e, layout), e.at(address, index * lineBytes()), lineBytes());
  return stored.getType() == e.f32s() ? stored : e.widen(stored);
}

void FloatGroup::prefetchNext(Value address, int64_t count) {
  for (int64_t at = 0; at < count * lineBytes(); at += 64)
    e.prefetchFar(e.at(address, layout.tileBytes() + at));
}

/// Two where their sums fit the registers: then they share the queries, which come from memory.
int64_t FloatGroup::blocksTogether() const { return 4 * count + 3 <= registers ? 2 : 1; }

/// The dot product over D in two partial sums (even and odd d), times the scale.
Emitter::Values FloatGroup::scoreBlocks(Value queries, Value tile, Value at) {
  int64_t blocks = blocksTogether(), blockBytes = shape.headDim * lineBytes();
  Value first = e.at(tile, e.mul(at, shape.headDim * layout.elementBytes()));
  Values zeros(2 * blocks * count, e.real(e.f32s(), 0));
  Values sums = e.loop(e.i64(0), e.i64(shape.headDim), e.i64(2), zeros, [&](Value d, ValueRange carried) {
    Values next(carried), lines;
    for (int64_t b = 0; b < blocks; ++b) {
      lines.push_back(e.at(e.at(first, b * blockBytes), e.mul(d, lineBytes())));
      prefetchNext(lines[b], 2);
    }
    for (int64_t odd = 0; odd < 2; ++odd) {
      Values keys;
      for (Value line : lines)
        keys.push_back(numbers(line, odd));
      for (int64_t r = 0; r < count; ++r) {
        Value address = e.at(queries, e.add(e.mul(d, 4), sumsAt(r) + odd * 4));
        Value query = e.splat(e.load(e.getF32Type(), address, 4), e.f32s());
        for (int64_t b = 0; b < blocks; ++b) {
          Value &sum = next[2 * (b * count + r) + odd];
          sum = e.fma(keys[b], query, sum);
        }
      }
    }
    return next;
  });
  Values scores;
  for (int64_t i = 0; i < blocks * count; ++i)
    scores.push_back(e.mulf(e.addf(sums[2 * i], sums[2 * i + 1]), e.real(e.f32s(), shape.scale)));
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
  int64_t step = blocksTogether() * kKeyBlock;
  Values greatest = e.loop(e.i64(0), tileKeys, e.i64(step), none, [&](Value at, ValueRange carried) {
    Values next(carried);
    Values scores = scoreBlocks(queries, tile, at);
    for (int64_t b = 0; b < blocksTogether(); ++b) {
      Value valid = validLanes(e.sub(tileKeys, e.add(at, b * kKeyBlock)));
      for (int64_t r = 0; r < count; ++r) {
        Value score = arith::SelectOp::create(e, valid, scores[b * count + r], lowest);
        e.store(score, e.at(weights(r), e.mul(e.add(at, b * kKeyBlock), 4)), 4);
        next[r] = e.maxf(next[r], score);
      }
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

/// The weighted sums of `vectors` times 16 elements that begin at `d`, merged into the state.
void FloatGroup::weighElements(Value state, Value tile, Value tileKeys, Value d, int64_t vectors) {
  Values zeros(vectors * count, e.real(e.f32s(), 0));
  Values weighted = e.loop(e.i64(0), tileKeys, e.i64(1), zeros, [&](Value key, ValueRange carried) {
    Values next(carried), parts;
    Value address = e.at(tile, e.mul(e.add(e.mul(key, shape.headDim), d), layout.elementBytes()));
    prefetchNext(address, vectors);
    for (int64_t v = 0; v < vectors; ++v)
      parts.push_back(numbers(address, v));
    for (int64_t r = 0; r < count; ++r) {
      Value weight = e.splat(e.load(e.getF32Type(), e.at(weights(r), e.mul(key, 4)), 4), e.f32s());
      for (int64_t v = 0; v < vectors; ++v)
        next[v * count + r] = e.fma(parts[v], weight, next[v * count + r]);
    }
    return next;
  });
  for (int64_t v = 0; v < vectors; ++v)
    for (int64_t r = 0; r < count; ++r)
      mergeSums(state, r, e.mul(e.add(d, v * 16), 4), weighted[v * count + r]);
}

/// 32 values at a time, in f16 a line of memory, where their sums fit the registers.
void FloatGroup::weighValues(Value state, Value tile, Value tileKeys) {
  int64_t vectors = 2 * count + 4 <= registers ? 2 : 1, step = 16 * vectors, whole = shape.headDim / step * step;
  e.loop(e.i64(0), e.i64(whole), e.i64(step), [&](Value d) { weighElements(state, tile, tileKeys, d, vectors); });
  if (whole != shape.headDim)
    weighElements(state, tile, tileKeys, e.i64(whole), 1);
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

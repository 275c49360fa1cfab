// The key-value cache and attention over it.
//
// A cache of capacity C (positions, a multiple of 64) holds for each (layer, key-value head) C * D keys, then C * D
// values, as f16. Keys lie in blocks of 16 positions, [D][16], so that a lane is a position and no dot product needs a
// horizontal sum; values lie position by position.
//
// Attention goes over tiles of 64 keys at absolute positions. Each tile has its own maximum, sum and weighted values,
// and tiles are merged in ascending order, so that the result depends on neither the number of rows nor of threads.
#include "KernelBody.h"
#include "Kernels.h"
#include "quern/Runtime/KernelABI.h"

#include <algorithm>
#include <limits>

using namespace mlir;
using namespace quern::codegen;

static constexpr int64_t kKeyBlock = 16;
static constexpr int64_t kKeyTile = 64;

/// The keys and the values of (layer, head) in the cache of row t.
static std::pair<Value, Value> headCache(Emitter &e, Value caches, Value capacities, Value t, Value layer, Value head,
                                         int64_t kvHeads, int64_t headDim) {
  Value base = e.load(e.ptr(), e.at(caches, e.mul(t, 8)), 8);
  Value bytes = e.mul(e.load(e.getI64Type(), e.at(capacities, e.mul(t, 8)), 8), headDim * 2);
  Value index = e.mul(e.add(e.mul(layer, kvHeads), head), 2);
  Value keys = e.at(base, e.mul(index, bytes));
  return {keys, e.at(keys, bytes)};
}

static Value loadPosition(Emitter &e, Value positions, Value t) {
  Value position = e.load(e.getI32Type(), e.at(positions, e.mul(t, 4)), 4);
  return arith::ExtSIOp::create(e, e.getI64Type(), position);
}

func::FuncOp quern::codegen::emitCacheAppend(ModuleOp module, StringRef name, int64_t kvHeads, int64_t headDim) {
  KernelBody k(module, name, "ppipipppii"); // call, k, kStride, v, vStride, positions, caches, capacities, T, layer
  Emitter &e = k.e;
  VectorType halves = e.vec(kKeyBlock, e.getF16Type());
  k.forRows(k.args[8], [&](Value t) {
    Value position = loadPosition(e, k.args[5], t);
    Value key = k.row(k.args[1], t, k.args[2]), value = k.row(k.args[3], t, k.args[4]);
    e.loop(e.i64(0), e.i64(kvHeads), e.i64(1), [&](Value head) {
      auto [keys, values] = headCache(e, k.args[6], k.args[7], t, k.args[9], head, kvHeads, headDim);
      Value block = e.mul(e.div(position, kKeyBlock), headDim * kKeyBlock * 2);
      Value slot = e.at(e.at(keys, block), e.mul(e.rem(position, e.i64(kKeyBlock)), 2));
      Value row = e.at(values, e.mul(position, headDim * 2)), from = e.mul(head, headDim * 4);
      e.loop(e.i64(0), e.i64(headDim), e.i64(kKeyBlock), [&](Value d) {
        Value offset = e.add(from, e.mul(d, 4));
        Value keyHalves = arith::TruncFOp::create(e, halves, e.load(e.f32s(), e.at(key, offset), 4));
        Value column = e.at(slot, e.mul(d, kKeyBlock * 2));
        for (int64_t i = 0; i < kKeyBlock; ++i)
          e.store(vector::ExtractOp::create(e, keyHalves, ArrayRef<int64_t>{i}), e.at(column, i * kKeyBlock * 2), 2);
        Value valueHalves = arith::TruncFOp::create(e, halves, e.load(e.f32s(), e.at(value, offset), 4));
        e.store(valueHalves, e.at(row, e.mul(d, 2)), 2);
      });
    });
  });
  return k.finish();
}

// A thread's working memory, for each query head of a group: the weighted values [D], the tile's weights [64], the
// running maximum and sum.
static int64_t headScratch(const AttentionShape &shape) { return (shape.headDim + kKeyTile + 16) * 4; }

int64_t quern::codegen::attentionScratchBytes(const AttentionShape &shape) {
  int64_t bytes = shape.heads / shape.kvHeads * headScratch(shape);
  return (bytes + 63) / 64 * 64;
}

namespace {

/// Emits attention of `count` query heads that share a key-value head.
class HeadGroup {
public:
  HeadGroup(Emitter &e, const AttentionShape &shape, Value queries, Value scratch, int64_t count)
      : e(e), shape(shape), queries(queries), scratch(scratch), count(count) {}

  void begin() {
    for (int64_t r = 0; r < count; ++r) {
      e.loop(e.i64(0), e.i64(shape.headDim * 4), e.i64(64),
             [&](Value at) { e.store(e.real(e.f32s(), 0), e.at(sums(r), at), 4); });
      e.store(e.real(e.getF32Type(), -std::numeric_limits<float>::max()), maximum(r), 4);
      e.store(e.real(e.getF32Type(), 0), total(r), 4);
    }
  }

  void tile(Value keys, Value values, Value first, Value end);

  void finish(Value out) {
    for (int64_t r = 0; r < count; ++r) {
      Value divisor = e.splat(e.load(e.getF32Type(), total(r), 4), e.f32s());
      e.loop(e.i64(0), e.i64(shape.headDim * 4), e.i64(64), [&](Value at) {
        Value sum = e.load(e.f32s(), e.at(sums(r), at), 4);
        Value quotient = arith::DivFOp::create(e, sum, divisor);
        e.store(quotient, e.at(out, e.add(at, r * shape.headDim * 4)), 4);
      });
    }
  }

private:
  Value sums(int64_t r) { return e.at(scratch, r * headScratch(shape)); }
  Value weights(int64_t r) { return e.at(scratch, r * headScratch(shape) + shape.headDim * 4); }
  Value maximum(int64_t r) { return e.at(scratch, r * headScratch(shape) + (shape.headDim + kKeyTile) * 4); }
  Value total(int64_t r) { return e.at(maximum(r), 4); }

  Emitter::Values scoreBlock(Value block);
  Emitter::Values scoreTile(Value keys, Value first, Value end);
  void mergeValues(Value values, Value tileKeys, ArrayRef<std::pair<Value, Value>> factors);

  Emitter &e;
  const AttentionShape &shape;
  Value queries, scratch;
  int64_t count;
};

} // namespace

/// Scores of 16 keys for each head: the dot product over D in two partial sums (even and odd d), times the scale.
Emitter::Values HeadGroup::scoreBlock(Value block) {
  Emitter::Values zeros(2 * count, e.real(e.f32s(), 0));
  Emitter::Values sums = e.loop(e.i64(0), e.i64(shape.headDim), e.i64(2), zeros, [&](Value d, ValueRange carried) {
    Emitter::Values next(carried);
    for (int64_t odd = 0; odd < 2; ++odd) {
      Value address = e.at(block, e.add(e.mul(d, kKeyBlock * 2), odd * kKeyBlock * 2));
      Value keys = e.widen(e.load(e.vec(kKeyBlock, e.getF16Type()), address, 32));
      for (int64_t r = 0; r < count; ++r) {
        Value query = e.load(e.getF32Type(), e.at(queries, e.add(e.mul(d, 4), (r * shape.headDim + odd) * 4)), 4);
        Value &sum = next[2 * r + odd];
        sum = e.fma(keys, e.splat(query, e.f32s()), sum);
      }
    }
    return next;
  });
  Emitter::Values scores;
  for (int64_t r = 0; r < count; ++r)
    scores.push_back(e.mulf(e.addf(sums[2 * r], sums[2 * r + 1]), e.real(e.f32s(), shape.scale)));
  return scores;
}

/// Scores of the keys [first, end) of a tile into the heads' weights; returns each head's maximum.
Emitter::Values HeadGroup::scoreTile(Value keys, Value first, Value end) {
  llvm::SmallVector<int32_t> lanes(kKeyBlock);
  for (int32_t i = 0; i < kKeyBlock; ++i)
    lanes[i] = i;
  Value lane = arith::ConstantOp::create(e, DenseIntElementsAttr::get(e.i32s(), lanes));
  Value lowest = e.real(e.f32s(), -std::numeric_limits<float>::max());
  Emitter::Values none(count, lowest);
  Emitter::Values greatest = e.loop(first, end, e.i64(kKeyBlock), none, [&](Value at, ValueRange carried) {
    Emitter::Values next(carried);
    Emitter::Values scores = scoreBlock(e.at(keys, e.mul(at, shape.headDim * 2)));
    Value left = e.splat(arith::TruncIOp::create(e, e.getI32Type(), e.sub(end, at)), e.i32s());
    Value valid = arith::CmpIOp::create(e, arith::CmpIPredicate::slt, lane, left);
    for (int64_t r = 0; r < count; ++r) {
      Value score = arith::SelectOp::create(e, valid, scores[r], lowest);
      e.store(score, e.at(weights(r), e.mul(e.sub(at, first), 4)), 4);
      next[r] = e.maxf(next[r], score);
    }
    return next;
  });
  Emitter::Values maxima;
  for (Value lanesMax : greatest)
    maxima.push_back(e.treeFold(lanesMax, [&](Value a, Value b) { return e.maxf(a, b); }));
  return maxima;
}

/// One tile of keys [first, end), `end` at most first + 64: its softmax and weighted values, merged into the head's.
void HeadGroup::tile(Value keys, Value values, Value first, Value end) {
  Emitter::Values maxima = scoreTile(keys, first, end);
  Value tileKeys = e.sub(end, first);
  llvm::SmallVector<std::pair<Value, Value>> factors;
  for (int64_t r = 0; r < count; ++r) {
    Value greatest = e.splat(maxima[r], e.f32s());
    Value sum = e.loop(e.i64(0), tileKeys, e.i64(kKeyBlock), e.real(e.f32s(), 0), [&](Value at, ValueRange carried) {
      Value address = e.at(weights(r), e.mul(at, 4));
      Value weight = math::ExpOp::create(e, e.subf(e.load(e.f32s(), address, 4), greatest));
      e.store(weight, address, 4);
      return Emitter::Values{e.addf(carried[0], weight)};
    })[0];
    Value oldMaximum = e.load(e.getF32Type(), maximum(r), 4);
    Value newMaximum = e.maxf(oldMaximum, maxima[r]);
    auto rescale = [&](Value from) -> Value {
      return math::ExpOp::create(e, e.splat(e.subf(from, newMaximum), e.f32s()));
    };
    Value keep = rescale(oldMaximum), take = rescale(maxima[r]);
    auto scalar = [&](Value vector) -> Value { return vector::ExtractOp::create(e, vector, ArrayRef<int64_t>{0}); };
    Value oldTotal = e.mulf(e.load(e.getF32Type(), total(r), 4), scalar(keep));
    e.store(e.fma(e.treeSum(sum), scalar(take), oldTotal), total(r), 4);
    e.store(newMaximum, maximum(r), 4);
    factors.push_back({keep, take});
  }
  mergeValues(e.at(values, e.mul(first, shape.headDim * 2)), tileKeys, factors);
}

/// sums = sums * keep + (weighted values of the tile) * take, 16 elements of a head at a time.
void HeadGroup::mergeValues(Value values, Value tileKeys, ArrayRef<std::pair<Value, Value>> factors) {
  Emitter::Values zeros(count, e.real(e.f32s(), 0));
  e.loop(e.i64(0), e.i64(shape.headDim), e.i64(16), [&](Value d) {
    Emitter::Values weighted = e.loop(e.i64(0), tileKeys, e.i64(1), zeros, [&](Value key, ValueRange carried) {
      Emitter::Values next(carried);
      Value address = e.at(values, e.mul(e.add(e.mul(key, shape.headDim), d), 2));
      Value value = e.widen(e.load(e.vec(16, e.getF16Type()), address, 2));
      for (int64_t r = 0; r < count; ++r) {
        Value weight = e.load(e.getF32Type(), e.at(weights(r), e.mul(key, 4)), 4);
        next[r] = e.fma(value, e.splat(weight, e.f32s()), next[r]);
      }
      return next;
    });
    for (int64_t r = 0; r < count; ++r) {
      Value address = e.at(sums(r), e.mul(d, 4));
      Value kept = e.mulf(e.load(e.f32s(), address, 4), factors[r].first);
      e.store(e.fma(weighted[r], factors[r].second, kept), address, 4);
    }
  });
}

func::FuncOp quern::codegen::emitAttention(ModuleOp module, StringRef name, const AttentionShape &shape,
                                           const Target &target) {
  // call, q, qStride, positions, caches, capacities, y, yStride, T, layer, scratch
  KernelBody k(module, name, "ppippppiiip");
  Emitter &e = k.e;
  int64_t group = shape.heads / shape.kvHeads;
  Value thread = e.callField(k.args[0], QUERN_CALL_THREAD, e.getI64Type());
  Value threads = e.callField(k.args[0], QUERN_CALL_THREADS, e.getI64Type());
  // Items go to threads in turn, since later rows see more keys.
  Value items = e.mul(k.args[8], shape.kvHeads);
  e.loop(thread, items, threads, [&](Value item) {
    Value t = e.div(item, shape.kvHeads), head = e.rem(item, e.i64(shape.kvHeads));
    auto [keys, values] = headCache(e, k.args[4], k.args[5], t, k.args[9], head, shape.kvHeads, shape.headDim);
    Value end = e.add(loadPosition(e, k.args[3], t), 1), headBytes = e.mul(head, group * shape.headDim * 4);
    Value query = e.at(k.row(k.args[1], t, k.args[2]), headBytes), out = e.at(k.row(k.args[6], t, k.args[7]), headBytes);
    for (int64_t first = 0; first < group; first += target.attentionHeads) {
      int64_t count = std::min<int64_t>(target.attentionHeads, group - first), bytes = first * shape.headDim * 4;
      HeadGroup heads(e, shape, e.at(query, bytes), e.at(k.args[10], first * headScratch(shape)), count);
      heads.begin();
      e.loop(e.i64(0), end, e.i64(kKeyTile),
             [&](Value at) { heads.tile(keys, values, at, e.min(end, e.add(at, kKeyTile))); });
      heads.finish(e.at(out, bytes));
    }
  });
  return k.finish();
}

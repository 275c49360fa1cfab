// The frame of the attention over splits: which keys a block takes, its queries, the new key, and what it hands on.
#include "DecodeAttention.h"

#include "EmitKernel.h"
#include "KeyTiles.h"
#include "RmsNorm.h"

#include <cmath>

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

int64_t DecodeAttention::headsTogether() const {
  int64_t group = heads / kvHeads, count = std::min<int64_t>(group, headDim <= 64 ? 8 : 7);
  while (group % count != 0)
    --count;
  return count;
}

int64_t DecodeAttention::splits() const {
  constexpr int64_t kBlocks = 256, kMultiple = 32; // of states of 8 bytes, which fill 256 bytes
  int64_t wanted = kBlocks / (kvHeads * passes());
  return std::max((wanted + kMultiple - 1) / kMultiple, int64_t(1)) * kMultiple;
}

std::string DecodeAttention::name() const {
  std::string turn = !fused ? "" : interleaved ? "_fused_interleaved" : "_fused";
  return "attention_" + std::to_string(heads) + "_" + std::to_string(kvHeads) + "x" + std::to_string(headDim) +
         "_scale" + floatName(scale) + turn + (fused && headEps ? "_eps" + floatName(*headEps) : "");
}

Value codegen::keysOfSplit(Emitter &e, Value keys, int64_t splits) {
  int64_t least = DecodeAttention::kLeastKeys, all = splits * least;
  return e.mul(e.div(e.add(keys, all - 1), all), least);
}

namespace {

class SplitEmitter {
public:
  SplitEmitter(Emitter &e, const DecodeAttention &attention, ValueRange arguments)
      : e(e), attention(attention), count(attention.headsTogether()), lanes(e, attention.headDim), split(blockIndex(e)),
        row(blockIndex(e, gpu::Dimension::z)), query(arguments[0]) {
    Value pass = blockIndex(e, gpu::Dimension::y);
    kvHead = e.div(pass, attention.passes());
    firstHead = e.mul(pass, count);
    arguments = arguments.drop_front();
    if (attention.fused) {
      key = arguments[0], value = arguments[1];
      arguments = arguments.drop_front(2);
      if (attention.headEps) {
        gains = arguments.take_front(2);
        arguments = arguments.drop_front(2);
      }
      table = arguments[0];
      arguments = arguments.drop_front();
    }
    position = loadIndex(e, arguments[0], row);
    caches = {arguments[1], arguments[2], attention.kvHeads, attention.headDim};
    values = arguments[3], states = arguments[4], layer = arguments[5];
    warp = e.div(threadIndex(e), 32);
  }

  void emit() {
    Value sharedValues = sharedMemory(e, "values", DecodeAttention::kWarps * count * attention.headDim * 4);
    Value sharedStates = sharedMemory(e, "states", DecodeAttention::kWarps * count * 8);
    Value keys = e.add(position, 1), length = keysOfSplit(e, keys, attention.splits());
    Value first = e.mul(split, length);
    e.ifThen(e.less(first, keys), [&] {
      Value end = e.min(keys, e.add(first, length));
      HeadCache cache = headCache(e, caches, row, layer, kvHead);
      if (attention.fused)
        storeNew(cache, arith::CmpIOp::create(e, arith::CmpIPredicate::eq, end, keys));
      KeyTiles tiles(e, lanes, cache, count, attention.headDim);
      Value firstOfWarp = e.add(first, e.mul(warp, KeyTiles::kTile));
      auto found = tiles.fold(loadQueries(), firstOfWarp, end, KeyTiles::kTile * DecodeAttention::kWarps);
      tiles.addUp(found);
      share(found, sharedValues, sharedStates);
      blockBarrier(e);
      merge(sharedValues, sharedStates);
    });
  }

private:
  HeadLanes::Turn turn() { return {table, position, attention.interleaved, attention.headEps}; }

  Value headOf(Value base, int64_t heads, Value which) {
    return e.at(base, e.mul(e.add(e.mul(row, heads), which), attention.headDim * 4));
  }

  /// Each head's query times scale and log2(e), so that weights are powers of two.
  std::vector<Emitter::Values> loadQueries() {
    std::vector<Emitter::Values> queries;
    Value factor = e.real(e.getF32Type(), double(attention.scale) * M_LOG2E), zero = e.real(e.getF32Type(), 0);
    for (int64_t head = 0; head < count; ++head) {
      Value from = headOf(query, attention.heads, e.add(firstHead, head));
      queries.push_back(attention.fused ? lanes.loadTurned(from, gains.empty() ? Value() : gains[0], turn())
                                        : lanes.loadFloats(from));
      for (Value &number : queries.back()) {
        number = e.mulf(number, factor);
        if (lanes.isInside)
          number = arith::SelectOp::create(e, lanes.isInside, number, zero);
      }
    }
    return queries;
  }

  /// Writes the new key and value, if this block reads them.
  void storeNew(const HeadCache &cache, Value isLast) {
    Value entry = e.mul(position, attention.headDim * 2);
    auto byWarp = [&](int64_t number, llvm::function_ref<void()> body) {
      Value isIt = arith::CmpIOp::create(e, arith::CmpIPredicate::eq, warp, e.i64(number));
      e.ifThen(arith::AndIOp::create(e, isIt, isLast), body);
    };
    byWarp(0, [&] {
      Value from = headOf(key, attention.kvHeads, kvHead);
      lanes.storeHalves(lanes.loadTurned(from, gains.empty() ? Value() : gains[1], turn()), e.at(cache.keys, entry));
    });
    byWarp(1, [&] {
      lanes.storeHalves(lanes.loadFloats(headOf(value, attention.kvHeads, kvHead)), e.at(cache.values, entry));
    });
    blockBarrier(e);
  }

  /// Where a warp's head lies in shared memory.
  Value sharedHead(Value which, int64_t head) { return e.add(e.mul(which, count), head); }

  void share(ArrayRef<KeyTiles::State> found, Value sharedValues, Value sharedStates) {
    Value stores = e.less(lanes.lane, e.i64(attention.headDim / 8));
    Value isFirst = arith::CmpIOp::create(e, arith::CmpIPredicate::eq, lanes.lane, e.i64(0));
    for (int64_t head = 0; head < count; ++head) {
      const KeyTiles::State &state = found[head];
      Value to =
          e.at(sharedValues, e.add(e.mul(sharedHead(warp, head), attention.headDim * 4), e.mul(lanes.element, 4)));
      e.ifThen(stores, [&] {
        for (int64_t half = 0; half < 2; ++half) {
          auto four = ArrayRef<Value>(state.values).slice(4 * half, 4);
          e.store(vector::FromElementsOp::create(e, e.f32s(4), four), e.at(to, 16 * half), 16);
        }
      });
      e.ifThen(isFirst, [&] {
        Value pair = vector::FromElementsOp::create(e, e.f32s(2), ValueRange{state.maximum, state.sum});
        e.store(pair, e.at(sharedStates, e.mul(sharedHead(warp, head), 8)), 8);
      });
    }
  }

  /// Adds up what the warps have, and hands it on: a thread takes every 128th element of the heads.
  void merge(Value sharedValues, Value sharedStates) {
    Value thread = threadIndex(e);
    e.loop(thread, e.i64(count * attention.headDim), e.i64(32 * DecodeAttention::kWarps), [&](Value place) {
      Value head = e.div(place, attention.headDim), d = e.rem(place, e.i64(attention.headDim));
      Emitter::Values maxima, sums;
      for (int64_t w = 0; w < DecodeAttention::kWarps; ++w) {
        Value pair = e.load(e.f32s(2), e.at(sharedStates, e.mul(e.add(head, w * count), 8)), 8);
        maxima.push_back(vector::ExtractOp::create(e, pair, ArrayRef<int64_t>{0}));
        sums.push_back(vector::ExtractOp::create(e, pair, ArrayRef<int64_t>{1}));
      }
      Value greatest = maxima[0], value = e.real(e.getF32Type(), 0), sum = value; // the first warp has keys
      for (Value more : ArrayRef<Value>(maxima).drop_front())
        greatest = arith::MaxNumFOp::create(e, greatest, more);
      for (int64_t w = 0; w < DecodeAttention::kWarps; ++w) {
        Value weight = math::Exp2Op::create(e, e.subf(maxima[w], greatest));
        Value from = e.add(e.mul(place, 4), w * count * attention.headDim * 4);
        value = e.fma(weight, e.load(e.getF32Type(), e.at(sharedValues, from), 4), value);
        sum = e.fma(weight, sums[w], sum);
      }
      Value all = e.add(e.mul(row, attention.heads), e.add(firstHead, head));
      Value slot = e.add(e.mul(all, attention.splits()), split);
      e.store(value, e.at(values, e.mul(e.add(e.mul(slot, attention.headDim), d), 4)), 4);
      e.ifThen(arith::CmpIOp::create(e, arith::CmpIPredicate::eq, d, e.i64(0)), [&] {
        Value pair = vector::FromElementsOp::create(e, e.f32s(2), ValueRange{greatest, sum});
        e.store(pair, e.at(states, e.mul(slot, 8)), 8);
      });
    });
  }

  Emitter &e;
  const DecodeAttention &attention;
  int64_t count;
  HeadLanes lanes;
  Value split, row, query, key, value, table, position, values, states, layer, warp, kvHead, firstHead;
  ValueRange gains;
  DeviceCaches caches;
};

} // namespace

gpu::GPUFuncOp codegen::emitDecodeAttention(gpu::GPUModuleOp module, const DecodeAttention &attention,
                                            const GpuTarget &) {
  int64_t pointers = 6 + (attention.fused ? 3 + (attention.headEps ? 2 : 0) : 0);
  return emitKernel(module, {attention.name(), pointers, 0, DecodeAttention::kWarps, 1},
                    [&](Emitter &e, ValueRange arguments) { SplitEmitter(e, attention, arguments).emit(); });
}

// The frame of the attention over splits: which keys a block takes, its queries, the new key, and what it hands on.
#include "DecodeAttention.h"

#include "EmitKernel.h"
#include "KeyTiles.h"
#include "RmsNorm.h"
#include "SplitMerge.h"

#include <cmath>

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

int64_t DecodeAttention::splits() const {
  constexpr int64_t kBlocks = 256, kMultiple = 32; // of states of 8 bytes, which fill 256 bytes
  int64_t wanted = kBlocks / (kvHeads * passes());
  return std::max((wanted + kMultiple - 1) / kMultiple, int64_t(1)) * kMultiple;
}

std::string DecodeAttention::name() const {
  std::string turn = !fused ? "" : interleaved ? "_fused_interleaved" : "_fused";
  turn += fused && !writes ? "_cached" : "";
  return "attention_" + std::to_string(heads) + "_" + std::to_string(kvHeads) + "x" + std::to_string(headDim) +
         "_scale" + floatName(scale) + turn + (fused && headEps ? "_eps" + floatName(*headEps) : "") +
         (!merges     ? ""
          : quantized ? "_merged_act8"
                      : "_merged");
}

Value codegen::keysOfSplit(Emitter &e, Value keys, int64_t splits) {
  int64_t least = DecodeAttention::kLeastKeys, all = splits * least;
  return e.mul(e.div(e.add(keys, all - 1), all), least);
}

namespace {

class SplitEmitter {
public:
  SplitEmitter(Emitter &e, const DecodeAttention &attention, ValueRange arguments)
      : e(e), attention(attention), lanes(e, attention.headDim), split(blockIndex(e)),
        row(blockIndex(e, gpu::Dimension::z)), warp(e.div(threadIndex(e), 32)), query(arguments[0]) {
    Value place = blockIndex(e, gpu::Dimension::y), pass = e.rem(place, e.i64(attention.passes()));
    kvHead = e.div(place, attention.passes());
    warpOfRow = e.add(e.mul(place, attention.warps()), warp);
    firstInGroup = e.mul(e.add(e.mul(pass, attention.warps()), warp), attention.headsOfWarp());
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
    values = arguments[3], states = arguments[4], layer = arguments.back();
    if (attention.merges)
      merged = arguments.slice(5, arguments.size() - 6);
  }

  void emit() {
    Value keys = e.add(position, 1), length = keysOfSplit(e, keys, attention.splits());
    Value first = e.mul(split, length);
    Value hasWork = e.less(first, keys);
    if (attention.passes() > 1) // of a block's warps, some may have no heads
      hasWork = arith::AndIOp::create(e, hasWork, e.less(firstInGroup, e.i64(attention.group())));
    e.ifThen(hasWork, [&] {
      Value end = e.min(keys, e.add(first, length));
      HeadCache cache = headCache(e, caches, row, layer, kvHead);
      KeyTiles tiles(e, lanes, cache, attention.headsOfWarp(), attention.headDim, end);
      tiles.begin(first);
      Value count = attention.merges ? splitsOf(keys, length) : Value();
      auto queries = loadQueries();
      std::optional<KeyTiles::Fresh> fresh;
      if (attention.fused)
        fresh = newEntry(cache, arith::CmpIOp::create(e, arith::CmpIPredicate::eq, end, keys));
      store(tiles.fold(queries, first, fresh));
      if (attention.merges)
        merge(count);
    });
  }

private:
  HeadLanes::Turn turn() { return {table, position, attention.interleaved, attention.headEps}; }

  Value headOf(Value base, int64_t heads, Value which) {
    return e.at(base, e.mul(e.add(e.mul(row, heads), which), attention.headDim * 4));
  }

  /// Head i of the warp, or the last one of the group.
  Value headOfWarp(int64_t i) {
    Value inGroup = e.min(e.add(firstInGroup, i), e.i64(attention.group() - 1));
    return e.add(e.mul(kvHead, attention.group()), inGroup);
  }

  /// Each head's query times scale and log2(e), so that weights are powers of two.
  std::vector<Emitter::Values> loadQueries() {
    std::vector<Emitter::Values> queries;
    Value factor = e.real(e.getF32Type(), double(attention.scale) * M_LOG2E), zero = e.real(e.getF32Type(), 0);
    for (int64_t i = 0; i < attention.headsOfWarp(); ++i) {
      Value from = headOf(query, attention.heads, headOfWarp(i));
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

  /// The new key and value, if this block reads them: each warp makes them for itself, and one warp of the head's
  /// blocks writes them into the cache.
  KeyTiles::Fresh newEntry(const HeadCache &cache, Value isLast) {
    auto make = [&] {
      Value from = headOf(key, attention.kvHeads, kvHead), entry = e.mul(position, attention.headDim * 2);
      Value newKey = lanes.narrow(lanes.loadTurned(from, gains.empty() ? Value() : gains[1], turn()));
      Value newValue = lanes.narrow(lanes.loadFloats(headOf(value, attention.kvHeads, kvHead)));
      if (attention.writes)
        e.ifThen(arith::CmpIOp::create(e, arith::CmpIPredicate::eq, firstInGroup, e.i64(0)), [&] {
          lanes.storeHalves(newKey, e.at(cache.keys, entry));
          lanes.storeHalves(newValue, e.at(cache.values, entry));
        });
      return Emitter::Values{newKey, newValue};
    };
    Value none = e.number(e.i32s(4), 0);
    auto made = e.ifElse(isLast, make, [&] { return Emitter::Values{none, none}; });
    return {isLast, made[0], made[1]};
  }

  /// Hands on what the warp has found of its heads.
  void store(ArrayRef<KeyTiles::State> found) {
    SmallVector<Value> slots;
    for (size_t i = 0; i < found.size(); ++i) {
      Value head = e.add(e.mul(row, attention.heads), headOfWarp(int64_t(i)));
      slots.push_back(e.add(e.mul(head, attention.splits()), split));
    }
    e.ifThen(e.less(lanes.lane, e.i64(attention.headDim / 8)), [&] {
      for (auto [slot, state] : llvm::zip(slots, found)) {
        Value to = e.at(values, e.mul(e.add(e.mul(slot, attention.headDim), lanes.element), 4));
        for (int64_t half = 0; half < 2; ++half) {
          auto four = ArrayRef<Value>(state.values).slice(4 * half, 4);
          e.store(vector::FromElementsOp::create(e, e.f32s(4), four), e.at(to, 16 * half), 16);
        }
      }
    });
    e.ifThen(arith::CmpIOp::create(e, arith::CmpIPredicate::eq, lanes.lane, e.i64(0)), [&] {
      for (auto [slot, state] : llvm::zip(slots, found)) {
        Value pair = vector::FromElementsOp::create(e, e.f32s(2), ValueRange{state.maximum, state.sum});
        e.store(pair, e.at(states, e.mul(slot, 8)), 8);
      }
    });
  }

  /// How many splits have keys; divided in 32 bits, which takes a third of the instructions.
  Value splitsOf(Value keys, Value length) {
    auto narrow = [&](Value number) -> Value { return arith::TruncIOp::create(e, e.getI32Type(), number); };
    Value count = e.div(narrow(e.add(keys, e.add(length, -1))), narrow(length));
    return arith::ExtUIOp::create(e, e.getI64Type(), count);
  }

  void merge(Value count) {
    SplitMerge::Warp self{row, split, count, warpOfRow, firstInGroup, {}, lanes.lane};
    for (int64_t i = 0; i < attention.headsOfWarp(); ++i)
      self.heads.push_back(headOfWarp(i));
    SplitMerge(e, attention, {values, states, merged.front(), merged.drop_front()}, self).emit();
  }

  Emitter &e;
  const DecodeAttention &attention;
  HeadLanes lanes;
  Value split, row, warp, query, key, value, table, position, values, states, layer, kvHead, firstInGroup, warpOfRow;
  ValueRange gains, merged; ///< merged: counters, then results
  DeviceCaches caches;
};

} // namespace

gpu::GPUFuncOp codegen::emitDecodeAttention(gpu::GPUModuleOp module, const DecodeAttention &attention,
                                            const GpuTarget &) {
  int64_t pointers = 6 + (attention.fused ? 3 + (attention.headEps ? 2 : 0) : 0) +
                     (attention.merges ? 1 + (attention.quantized ? 3 : 1) : 0);
  return emitKernel(module, {attention.name(), pointers, 0, attention.warps(), 1},
                    [&](Emitter &e, ValueRange arguments) { SplitEmitter(e, attention, arguments).emit(); });
}

// The key-value cache and attention over it.
//
// A cache of capacity C (positions, a multiple of 64) holds for each (layer, key-value head) C * D keys, then C * D
// values, as f16. Keys lie in blocks of 16 positions, [D][16], so that a lane is a position and no dot product needs a
// horizontal sum; values lie position by position.
//
// Attention goes over tiles of 64 keys at absolute positions, each with its own maximum, sum and weighted values. Tiles
// are merged in ascending order within a span, and spans in ascending order. A row's keys have at most 32 spans, whose
// length depends on its position alone. So the result depends on neither the number of rows nor of threads, and where
// there are fewer heads than keep all threads busy, threads take spans.
#include "AttentionTile.h"
#include "KernelBody.h"
#include "quern/Runtime/KernelABI.h"

using namespace mlir;
using namespace quern::codegen;

static constexpr int64_t kSpans = 32;     // most spans of a row's keys
static constexpr int64_t kLeastSpan = 512; // keys
static constexpr int64_t kChunkRows = 16; // rows of one sequence that share a pass over the keys

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

/// Query heads of a key-value head that are taken together: as many as the target has registers for, all passes alike.
static int64_t headsTogether(const AttentionShape &shape, const Target &target) {
  int64_t group = shape.heads / shape.kvHeads, count = std::min<int64_t>(target.attentionHeads, group);
  while (group % count != 0)
    --count;
  return count;
}

// A thread's working memory: that of a tile, then states: of a chunk's rows, two for each, or of the spans of two units
// and of a unit whose spans are merged.
int64_t quern::codegen::attentionScratchBytes(const AttentionShape &shape, const Target &target) {
  int64_t count = headsTogether(shape, target), states = std::max(2 * kSpans + 1, 2 * kChunkRows);
  int64_t bytes = HeadGroup::tileWorkBytes(count) + states * HeadGroup::stateBytes(shape, count);
  return (bytes + 63) / 64 * 64;
}

namespace {

/// Emits the distribution of the work. A unit is a row with the query heads of one pass.
class AttentionEmitter {
public:
  AttentionEmitter(KernelBody &k, const AttentionShape &shape, const Target &target)
      : k(k), e(k.e), shape(shape), count(headsTogether(shape, target)),
        passes(shape.heads / count), threadBytes(attentionScratchBytes(shape, target)),
        thread(e.callField(k.args[0], QUERN_CALL_THREAD, e.getI64Type())),
        threads(e.callField(k.args[0], QUERN_CALL_THREADS, e.getI64Type())),
        group(e, shape, e.at(k.args[10], e.mul(thread, threadBytes)), count) {}

  void emit();

private:
  /// One row's part of a pass.
  struct Unit {
    Value keys, values, queries, out;
    Value end;  ///< past the last key that the row sees
    Value span; ///< keys of a span, a power of two
  };
  Unit unit(Value row, Value pass);
  Value statesOf(Value owner) {
    return e.at(k.args[10], e.add(e.mul(owner, threadBytes), HeadGroup::tileWorkBytes(count)));
  }
  Value stateAt(Value states, Value index) { return e.at(states, e.mul(index, HeadGroup::stateBytes(shape, count))); }
  Value sharedCache(Value rows);
  void chunk(Value first, Value last, Value pass);
  void split(Value units);
  /// The states of a unit that is split: two units for each thread.
  Value spanStates(Value unit) { return stateAt(statesOf(e.div(unit, 2)), e.mul(e.bitAnd(unit, 1), kSpans)); }

  KernelBody &k;
  Emitter &e;
  const AttentionShape &shape;
  int64_t count, passes, threadBytes;
  Value thread, threads;
  HeadGroup group;
};

} // namespace

AttentionEmitter::Unit AttentionEmitter::unit(Value row, Value pass) {
  Value head = e.div(pass, passes / shape.kvHeads), bytes = e.mul(pass, count * shape.headDim * 4);
  auto [keys, values] = headCache(e, k.args[4], k.args[5], row, k.args[9], head, shape.kvHeads, shape.headDim);
  Value last = loadPosition(e, k.args[3], row);
  // 512 keys, doubled until there are no more than 32 spans.
  Value excess = e.div(last, kSpans * kLeastSpan);
  Value doublings = e.sub(e.i64(64), math::CountLeadingZerosOp::create(e, excess));
  return {keys, values, e.at(k.row(k.args[1], row, k.args[2]), bytes), e.at(k.row(k.args[6], row, k.args[7]), bytes),
          e.add(last, 1), arith::ShLIOp::create(e, e.i64(kLeastSpan), doublings)};
}

/// Whether all rows are of one sequence.
Value AttentionEmitter::sharedCache(Value rows) {
  Value first = e.load(e.getI64Type(), k.args[4], 8), all = arith::ConstantOp::create(e, e.getBoolAttr(true));
  return e.loop(e.i64(1), rows, e.i64(1), all, [&](Value row, ValueRange carried) {
    Value cache = e.load(e.getI64Type(), e.at(k.args[4], e.mul(row, 8)), 8);
    Value same = arith::CmpIOp::create(e, arith::CmpIPredicate::eq, first, cache);
    return Emitter::Values{arith::AndIOp::create(e, carried[0], same)};
  })[0];
}

/// Rows [first, last) of one sequence, in one pass over the keys that the last of them sees.
void AttentionEmitter::chunk(Value first, Value last, Value pass) {
  Value states = statesOf(thread);
  auto forRows = [&](llvm::function_ref<void(Value, Value)> body) {
    e.loop(first, last, e.i64(1), [&](Value row) { body(row, stateAt(states, e.mul(e.sub(row, first), 2))); });
  };
  Value next = e.i64(HeadGroup::stateBytes(shape, count)); // from a row's state to that of its span
  forRows([&](Value, Value total) { group.begin(total), group.begin(e.at(total, next)); });
  Value end = unit(e.sub(last, e.i64(1)), pass).end;
  e.loop(e.i64(0), end, e.i64(kKeyTile), [&](Value at) {
    forRows([&](Value row, Value total) {
      Unit u = unit(row, pass);
      e.ifThen(e.less(at, u.end), [&] {
        Value tileEnd = e.min(u.end, e.add(at, kKeyTile)), span = e.at(total, next);
        group.tile(span, u.queries, u.keys, u.values, at, tileEnd);
        Value rest = arith::AndIOp::create(e, tileEnd, e.sub(u.span, e.i64(1)));
        Value spanEnds = arith::CmpIOp::create(e, arith::CmpIPredicate::eq, rest, e.i64(0));
        Value rowEnds = arith::CmpIOp::create(e, arith::CmpIPredicate::eq, tileEnd, u.end);
        e.ifThen(arith::OrIOp::create(e, spanEnds, rowEnds), [&] {
          group.merge(total, span);
          group.begin(span);
        });
      });
    });
  });
  forRows([&](Value row, Value total) { group.finish(total, unit(row, pass).out); });
}

/// Few units: threads take spans in turn, meet, and then merge each unit's spans.
void AttentionEmitter::split(Value units) {
  e.loop(thread, e.mul(units, kSpans), threads, [&](Value piece) {
    Value index = e.rem(piece, units), span = e.div(piece, units);
    Unit u = unit(e.div(index, passes), e.rem(index, e.i64(passes)));
    Value first = e.mul(span, u.span), end = e.min(u.end, e.add(first, u.span));
    Value state = stateAt(spanStates(index), span);
    e.ifThen(e.less(first, end), [&] {
      group.begin(state);
      e.loop(first, end, e.i64(kKeyTile), [&](Value at) {
        group.tile(state, u.queries, u.keys, u.values, at, e.min(end, e.add(at, kKeyTile)));
      });
    });
  });
  e.barrier(k.args[0]);
  e.loop(thread, units, threads, [&](Value index) {
    Unit u = unit(e.div(index, passes), e.rem(index, e.i64(passes)));
    Value spans = e.div(e.sub(e.add(u.end, u.span), e.i64(1)), u.span);
    Value total = stateAt(statesOf(thread), e.i64(2 * kSpans));
    group.begin(total);
    e.loop(e.i64(0), spans, e.i64(1), [&](Value span) { group.merge(total, stateAt(spanStates(index), span)); });
    group.finish(total, u.out);
  });
}

void AttentionEmitter::emit() {
  Value rows = k.args[8], units = e.mul(rows, passes);
  // Whole units leave threads idle where there are few and they do not come out even.
  Value uneven = arith::CmpIOp::create(e, arith::CmpIPredicate::ne, e.rem(units, threads), e.i64(0));
  Value few = arith::AndIOp::create(e, e.less(units, e.mul(threads, 2)), uneven);
  Value inChunks = arith::XOrIOp::create(e, few, arith::ConstantOp::create(e, e.getBoolAttr(true)));
  e.ifThen(few, [&] { split(units); });
  e.ifThen(inChunks, [&] {
    // About four chunks a thread, for balance: later rows see more keys. They go to threads in turn.
    Value balanced = e.min(e.div(units, e.mul(threads, 4)), e.i64(kChunkRows));
    Value several = arith::AndIOp::create(e, sharedCache(rows), e.less(e.i64(1), balanced));
    Value length = arith::SelectOp::create(e, several, balanced, e.i64(1));
    Value chunks = e.div(e.sub(e.add(rows, length), e.i64(1)), length);
    e.loop(thread, e.mul(chunks, passes), threads, [&](Value item) {
      Value first = e.mul(e.div(item, passes), length);
      chunk(first, e.min(rows, e.add(first, length)), e.rem(item, e.i64(passes)));
    });
  });
}

func::FuncOp quern::codegen::emitAttention(ModuleOp module, StringRef name, const AttentionShape &shape,
                                           const Target &target) {
  // call, q, qStride, positions, caches, capacities, y, yStride, T, layer, scratch
  KernelBody k(module, name, "ppippppiiip");
  AttentionEmitter(k, shape, target).emit();
  return k.finish();
}

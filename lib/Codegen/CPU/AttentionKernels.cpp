// Attention over the key-value cache: how the work is cut and shared.
//
// Attention goes over tiles of 64 keys at absolute positions, each with its own maximum, sum and weighted values. Tiles
// are merged in ascending order within a span, and spans in ascending order. A row's keys have at most 32 spans, whose
// length depends on its position alone. So the result depends on neither the number of rows nor of threads, and where
// there are fewer heads than keep all threads busy, threads take spans.
#include "AttentionTile.h"
#include "CacheAccess.h"
#include "KernelBody.h"
#include "quern/Runtime/KernelABI.h"

using namespace mlir;
using namespace quern::codegen;

static constexpr int64_t kSpans = 32;     // most spans of a row's keys
static constexpr int64_t kLeastSpan = 512; // keys
static constexpr int64_t kChunkRows = 16; // rows of one sequence that share a pass over the keys

/// Query heads of a key-value head that are taken together: as many as the target has registers for, all passes alike.
static int64_t headsTogether(const AttentionShape &shape, const Target &target) {
  int64_t group = shape.heads / shape.kvHeads, count = std::min<int64_t>(target.attentionHeads, group);
  while (group % count != 0)
    --count;
  return count;
}

// A thread's working memory: that of a tile, the prepared queries of a chunk's rows, then states: of these rows, two
// for each, or of the spans of two units and of a unit whose spans are merged.
int64_t quern::codegen::attentionScratchBytes(const AttentionShape &shape, const Target &target) {
  int64_t count = headsTogether(shape, target), states = std::max(2 * kSpans + 1, 2 * kChunkRows);
  int64_t bytes = HeadGroup::tileWorkBytes(shape, count) + kChunkRows * HeadGroup::queryBytes(shape, count) +
                  states * HeadGroup::stateBytes(shape, count);
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
        made(HeadGroup::make(e, shape, target, e.at(k.args[10], e.mul(thread, threadBytes)), count)), group(*made) {}

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
    int64_t at = HeadGroup::tileWorkBytes(shape, count) + kChunkRows * HeadGroup::queryBytes(shape, count);
    return e.at(k.args[10], e.add(e.mul(owner, threadBytes), at));
  }
  /// The queries of a chunk's row as tiles take them; `prepare` first.
  Value prepared(const Unit &u, Value row) {
    if (HeadGroup::queryBytes(shape, count) == 0)
      return u.queries;
    Value own = e.at(k.args[10], e.add(e.mul(thread, threadBytes), HeadGroup::tileWorkBytes(shape, count)));
    return e.at(own, e.mul(row, HeadGroup::queryBytes(shape, count)));
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
  std::unique_ptr<HeadGroup> made;
  HeadGroup &group;
};

} // namespace

AttentionEmitter::Unit AttentionEmitter::unit(Value row, Value pass) {
  Value head = e.div(pass, passes / shape.kvHeads), bytes = e.mul(pass, count * shape.headDim * 4);
  auto [keys, values] = headCache(e, k.args[4], k.args[5], row, k.args[9], head, shape.layout());
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
  forRows([&](Value row, Value total) {
    group.begin(total), group.begin(e.at(total, next));
    Unit u = unit(row, pass);
    group.prepare(u.queries, prepared(u, e.sub(row, first)));
  });
  Value end = unit(e.sub(last, e.i64(1)), pass).end;
  e.loop(e.i64(0), end, e.i64(kKeyTile), [&](Value at) {
    forRows([&](Value row, Value total) {
      Unit u = unit(row, pass);
      e.ifThen(e.less(at, u.end), [&] {
        Value tileEnd = e.min(u.end, e.add(at, kKeyTile)), span = e.at(total, next);
        group.tile(span, prepared(u, e.sub(row, first)), u.keys, u.values, at, tileEnd);
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
      Value queries = prepared(u, e.i64(0));
      group.prepare(u.queries, queries);
      e.loop(first, end, e.i64(kKeyTile), [&](Value at) {
        group.tile(state, queries, u.keys, u.values, at, e.min(end, e.add(at, kKeyTile)));
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

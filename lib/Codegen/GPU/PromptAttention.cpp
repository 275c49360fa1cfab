// Which rows and keys a block takes, and how keys and values get to shared memory: two stages, one of which is filled
// while the other is read.
#include "PromptAttention.h"

#include "DeviceCache.h"
#include "EmitKernel.h"
#include "FlashTile.h"
#include "RmsNorm.h"

#include <cmath>

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

std::string PromptAttention::name() const {
  return "prompt_attention_" + std::to_string(heads) + "_" + std::to_string(kvHeads) + "x" + std::to_string(headDim) +
         "_scale" + floatName(scale);
}

namespace {

class PromptEmitter {
public:
  PromptEmitter(Emitter &e, const PromptAttention &attention, const GpuTarget &target, ValueRange arguments)
      : e(e), attention(attention), target(target), sharedRows(e, attention.headDim),
        tile(e, target, attention.headDim, attention.tileKeys()), query(arguments[0]), positions(arguments[1]),
        out(arguments[4]), layer(arguments[5]),
        rows(arguments[6]), caches{arguments[2], arguments[3], attention.kvHeads, attention.headDim},
        thread(threadIndex(e)) {
    // Later rows see more keys, so that their blocks begin first.
    Value blocks = e.div(e.add(rows, PromptAttention::kRows - 1), PromptAttention::kRows);
    firstRow = e.mul(e.sub(e.add(blocks, -1), blockIndex(e)), PromptAttention::kRows);
    endRow = e.min(rows, e.add(firstRow, PromptAttention::kRows));
    head = blockIndex(e, gpu::Dimension::y);
    Value inBlock = e.mul(e.div(thread, 32), FlashTile::kRows);
    for (int64_t i = 0; i < 2; ++i) {
      ownRows[i] = e.add(e.add(firstRow, inBlock), tile.rows[i]);
      readRows[i] = e.min(ownRows[i], e.add(endRow, -1));
    }
  }

  void emit() {
    stages = sharedMemory(e, "keys", 2 * stageBytes());
    tile.loadQueries(headOf(query, readRows[0]), headOf(query, readRows[1]), double(attention.scale) * M_LOG2E);
    forRuns([&](Value first, Value end) { attend(first, end); });
  }

private:
  int64_t sideBytes() const { return attention.tileKeys() * sharedRows.rowBytes(); }
  int64_t stageBytes() const { return 2 * sideBytes(); } ///< keys, then values

  Value headOf(Value base, Value row) {
    return e.at(base, e.mul(e.add(e.mul(row, attention.heads), head), attention.headDim * 4));
  }

  /// Calls `body` for each run of neighbouring rows of one sequence.
  void forRuns(llvm::function_ref<void(Value, Value)> body) {
    auto loop = scf::WhileOp::create(e, TypeRange{e.getI64Type()}, ValueRange{firstRow});
    OpBuilder::InsertionGuard guard(e);
    Block *before = e.createBlock(&loop.getBefore(), {}, {e.getI64Type()}, {e.getLoc()});
    scf::ConditionOp::create(e, e.less(before->getArgument(0), endRow), before->getArguments());
    Block *after = e.createBlock(&loop.getAfter(), {}, {e.getI64Type()}, {e.getLoc()});
    Value first = after->getArgument(0), end = endOfRun(first);
    body(first, end);
    scf::YieldOp::create(e, ValueRange{end});
  }

  Value cacheOf(Value row) { return e.load(e.getI64Type(), e.at(caches.addresses, e.mul(row, 8)), 8); }

  /// The first row after `first` that has another cache: each lane looks at some.
  Value endOfRun(Value first) {
    Value cache = cacheOf(first), end = endRow;
    for (int64_t at = 0; at < PromptAttention::kRows; at += 32) {
      Value row = e.add(e.add(first, tile.lane), at), known = e.min(row, e.add(endRow, -1));
      Value differs = arith::CmpIOp::create(e, arith::CmpIPredicate::ne, cacheOf(known), cache);
      end = e.min(end, arith::SelectOp::create(e, differs, known, endRow));
    }
    Value narrow = arith::TruncIOp::create(e, e.getI32Type(), end);
    return arith::ExtSIOp::create(e, e.getI64Type(), reduceLanes(e, narrow, gpu::AllReduceOperation::MINSI));
  }

  void attend(Value first, Value end) {
    Value kvHead = e.div(head, attention.heads / attention.kvHeads);
    HeadCache cache = headCache(e, caches, first, layer, kvHead);
    Value keys = e.add(loadIndex(e, positions, e.add(end, -1)), 1), step = e.i64(attention.tileKeys());
    Value ends[2], isInRun[2];
    for (int64_t i = 0; i < 2; ++i) {
      isInRun[i] = arith::AndIOp::create(e, e.less(e.add(first, -1), ownRows[i]), e.less(ownRows[i], end));
      ends[i] = arith::SelectOp::create(e, isInRun[i], e.add(loadIndex(e, positions, readRows[i]), 1), e.i64(0));
    }
    copyTile(cache, e.i64(0), keys);
    endCopies(e, target);
    auto state = e.loop(e.i64(0), keys, step, tile.begin(), [&](Value key, ValueRange carried) {
      Value next = e.add(key, step);
      e.ifThen(e.less(next, keys), [&] { copyTile(cache, next, keys); });
      endCopies(e, target);
      waitForCopies(e, target, 1);
      blockBarrier(e);
      Value stage = stageOf(key);
      auto result = tile.fold(carried, stage, e.at(stage, sideBytes()), key, ends);
      blockBarrier(e);
      return result;
    });
    Value to[2] = {headOf(out, readRows[0]), headOf(out, readRows[1])};
    tile.store(state, to, isInRun);
  }

  Value stageOf(Value key) { return e.at(stages, e.mul(e.bitAnd(e.div(key, attention.tileKeys()), 1), stageBytes())); }

  /// Copies keys and values `first` and on to their stage; behind the last one it again, which nobody sees.
  void copyTile(const HeadCache &cache, Value first, Value end) {
    int64_t pieces = attention.headDim / 8, count = attention.tileKeys() * pieces,
            threads = 32 * PromptAttention::kWarps;
    Value stage = stageOf(first);
    for (int64_t at = 0; at < count; at += threads) {
      Value index = e.add(thread, at), row = e.div(index, pieces), piece = e.rem(index, e.i64(pieces));
      auto copy = [&] {
        Value key = e.min(e.add(first, row), e.add(end, -1));
        Value from = e.add(e.mul(key, attention.headDim * 2), e.mul(piece, 16)),
              to = sharedRows.address(stage, row, piece);
        copyToShared(e, target, e.at(cache.keys, from), to);
        copyToShared(e, target, e.at(cache.values, from), e.at(to, sideBytes()));
      };
      at + threads <= count ? copy() : e.ifThen(e.less(index, e.i64(count)), copy);
    }
  }

  Emitter &e;
  const PromptAttention &attention;
  const GpuTarget &target;
  SharedRows sharedRows;
  FlashTile tile;
  Value query, positions, out, layer, rows;
  DeviceCaches caches;
  Value thread, firstRow, endRow, head, stages;
  Value ownRows[2];  ///< the lane's, which may lie behind the last
  Value readRows[2]; ///< the same, or the last
};

} // namespace

gpu::GPUFuncOp codegen::emitPromptAttention(gpu::GPUModuleOp module, const PromptAttention &attention,
                                            const GpuTarget &target) {
  auto function =
      emitKernel(module, {attention.name(), 5, 0, PromptAttention::kWarps, 2},
                 [&](Emitter &e, ValueRange arguments) { PromptEmitter(e, attention, target, arguments).emit(); });
  // Else ptxas spills some numbers for the sake of a third block on a multiprocessor.
  function->setAttr("nvvm.minctasm", Builder(module.getContext()).getI32IntegerAttr(1));
  return function;
}

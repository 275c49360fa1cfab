// Stages of float weights. Nothing but a barrier stands between the products of two stages: copies are started as many
// stages ahead as places are free. Where they take registers, there are two places, and a stage's products lie between
// the loads and the stores of the next one.
#include "HalfProducts.h"
#include "PromptFloatStage.h"
#include "PromptHalfProduct.h"
#include "PromptStages.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

namespace {

struct FloatStages {
  Emitter &e;
  const PromptBlock &block;
  FloatStage stage;
  HalfProduct product;

  FloatStages(Emitter &e, const PromptBlock &block)
      : e(e), block(block), stage(e, block.target, block.shape, block.tile, block.memory, block.operands),
        product(e, block) {}

  int64_t ahead() const { return block.tile.places - 1; }

  void beginFirst() {
    if (!block.target.asyncCopies)
      return stage.store(e.i64(0), stage.load(e.i64(0)));
    for (int64_t number = 0; number < ahead(); ++number) {
      if (number < block.stages())
        stage.begin(e.i64(number), e.i64(number));
      endCopies(e, block.target);
    }
  }

  /// Adds stage `now`, which is at `place`; the place that the last one was at gets another. Behind the barrier all
  /// warps have left that, and see what all threads' copies brought.
  void step(Value now, Value place, Emitter::Values &sums) {
    waitForCopies(e, block.target, int32_t(ahead() - 1));
    blockBarrier(e);
    Emitter::Values loaded = block.target.asyncCopies ? Emitter::Values() : stage.load(block.after(e, now, 1));
    if (block.target.asyncCopies)
      beginLater(now, place);
    for (int64_t chunk = 0; chunk < product.chunks(); ++chunk)
      product.add(place, chunk, sums);
    if (!block.target.asyncCopies)
      stage.store(next(place, 1), loaded);
  }

  void beginLater(Value now, Value place) {
    Value later = e.add(now, ahead());
    e.ifThen(e.less(later, e.i64(block.stages())), [&] { stage.begin(later, next(place, ahead())); });
    endCopies(e, block.target);
  }

  /// The place that comes `count` after this one.
  Value next(Value place, int64_t count) {
    Value wanted = e.add(place, count), first = e.sub(wanted, e.i64(block.tile.places));
    return arith::SelectOp::create(e, e.less(wanted, e.i64(block.tile.places)), wanted, first);
  }
};

} // namespace

Emitter::Values codegen::emitFloatStages(Emitter &e, const PromptBlock &block, Emitter::Values sums) {
  FloatStages stages(e, block);
  stages.beginFirst();
  sums.push_back(e.i64(0));
  sums = e.loop(e.i64(0), e.i64(block.stages()), e.i64(1), sums, [&](Value now, ValueRange carried) {
    Emitter::Values added(carried.drop_back());
    stages.step(now, carried.back(), added);
    added.push_back(stages.next(carried.back(), 1));
    return added;
  });
  sums.pop_back();
  blockBarrier(e);
  return sums;
}

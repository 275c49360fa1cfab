// Stages of codes and scales.
#include "PromptByteProduct.h"
#include "PromptByteStage.h"
#include "PromptStages.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

namespace {

struct ByteStages {
  Emitter &e;
  const PromptBlock &block;
  ByteStage stage;
  ByteProduct product;

  ByteStages(Emitter &e, const PromptBlock &block)
      : e(e), block(block), stage(e, block.target, block.shape, block.tile, block.memory, block.operands),
        product(e, block.target, block.tile, block.memory, block.lanes) {}

  void fillFirst() {
    Value zero = e.i64(0);
    stage.beginPacked(zero);
    Emitter::Values loaded = stage.begin(zero, zero);
    stage.finish(zero, zero, loaded);
    stage.unpack(zero, zero);
    stage.beginPacked(block.after(e, zero, 1));
    stage.wait();
    blockBarrier(e);
  }

  /// Adds stage `now` to the sums, and fills the other buffer.
  void step(Value now, Emitter::Values &sums) {
    const PromptTile &tile = block.tile;
    Value next = block.after(e, now, 1), buffer = e.rem(now, e.i64(2)), other = e.sub(e.i64(1), buffer);
    Emitter::Values loaded = stage.begin(next, other);
    // A loop over groups takes more registers than minimums leave: there the first group is multiplied before
    // unpacking, and without looking ahead where there are two pieces to unpack.
    bool halved = tile.minimums && tile.steps() > 1;
    bool apart = halved && tile.rawPieces > 1 && tile.warpTokens == 64;
    int64_t before = halved ? tile.steps() / 2 : tile.steps();
    if (apart)
      NVVM::SyncWarpOp::create(e, e.number(e.getI32Type(), -1));
    multiply(buffer, 0, before, sums);
    if (apart)
      NVVM::SyncWarpOp::create(e, e.number(e.getI32Type(), -1));
    stage.unpack(next, other);
    stage.beginPacked(block.after(e, now, 2));
    multiply(buffer, before, tile.steps(), sums);
    stage.finish(next, other, loaded);
    blockBarrier(e);
  }

  /// The groups of a stage that are the warp's. A loop, since registers do for one at a time.
  void multiply(Value buffer, int64_t from, int64_t to, Emitter::Values &sums) {
    Value first = e.mul(block.lanes.share, block.tile.steps());
    if (to - from == 1)
      product.addGroup(buffer, e.add(first, from), sums);
    if (to - from <= 1)
      return;
    sums = e.loop(e.i64(from), e.i64(to), e.i64(1), sums, [&](Value group, ValueRange carried) {
      Emitter::Values added(carried);
      product.addGroup(buffer, e.add(first, group), added);
      return added;
    });
  }
};

} // namespace

Emitter::Values codegen::emitByteStages(Emitter &e, const PromptBlock &block, Emitter::Values sums) {
  ByteStages stages(e, block);
  stages.fillFirst();
  return e.loop(e.i64(0), e.i64(block.stages()), e.i64(1), sums, [&](Value now, ValueRange carried) {
    Emitter::Values added(carried);
    stages.step(now, added);
    return added;
  });
}

// Stages of numbers in f16. What a stage is made of is asked for two stages ahead and made one stage ahead, in pieces
// of work between the products of a warp, so that tensor cores need not wait for either.
#include "PromptHalfProduct.h"
#include "PromptHalfStage.h"
#include "PromptStages.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

namespace {

struct HalfStages {
  Emitter &e;
  const PromptBlock &block;
  HalfStage stage;
  HalfProduct product;

  HalfStages(Emitter &e, const PromptBlock &block)
      : e(e), block(block), stage(e, block.target, block.shape, block.tile, block.memory, block.operands),
        product(e, block) {}

  /// Makes the first stage; gives what the second is made of.
  Emitter::Values fillFirst() {
    Value zero = e.i64(0);
    Emitter::Values loaded = stage.begin(zero, zero);
    stage.wait();
    for (int64_t piece = 0; piece < stage.pieces(); ++piece)
      stage.makePiece(piece, zero, zero, loaded);
    Emitter::Values next = stage.begin(block.after(e, zero, 1), e.i64(1));
    stage.wait();
    blockBarrier(e);
    return next;
  }

  /// Adds stage `now` to the sums, and makes the next one of what is `loaded`; gives what the one after is made of.
  Emitter::Values step(Value now, Emitter::Values &sums, ValueRange loaded) {
    Value next = block.after(e, now, 1), buffer = e.rem(now, e.i64(2)), other = e.sub(e.i64(1), buffer);
    Emitter::Values later = stage.begin(block.after(e, now, 2), buffer);
    int64_t chunks = product.chunks(), made = 0;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      product.add(buffer, chunk, sums);
      for (int64_t due = (chunk + 1) * stage.pieces() / chunks; made < due; ++made)
        stage.makePiece(made, next, other, loaded);
    }
    stage.wait();
    blockBarrier(e);
    return later;
  }
};

} // namespace

Emitter::Values codegen::emitHalfStages(Emitter &e, const PromptBlock &block, Emitter::Values sums) {
  HalfStages stages(e, block);
  size_t count = sums.size();
  sums.append(stages.fillFirst());
  sums = e.loop(e.i64(0), e.i64(block.stages()), e.i64(1), sums, [&](Value now, ValueRange carried) {
    Emitter::Values added(carried.take_front(count));
    Emitter::Values later = stages.step(now, added, carried.drop_front(count));
    added.append(later);
    return added;
  });
  sums.truncate(count);
  return sums;
}

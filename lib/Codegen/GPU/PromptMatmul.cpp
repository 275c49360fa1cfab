// A matmul with many columns, bound by what is to be multiplied: a block makes a tile of 128 tokens, and walks the k in
// stages. While its warps multiply one stage out of shared memory, the next one comes there.
#include "PromptMatmul.h"

#include "ByteProducts.h"
#include "PromptProduct.h"
#include "PromptStage.h"
#include "lib/Codegen/CPU/Kernels.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

namespace {

PromptTile tileOf(const PromptMatmul &shape, const GpuTarget &target) {
  PromptTile tile{int64_t(shape.segments.size()), 1,     false, hasByteProducts(target),
                  hasBfloatProducts(target),      false, 0};
  for (const Matvec::Segment &segment : shape.segments) {
    const GpuLayout &layout = segment.layout;
    tile.scalesOfGroup = std::max<int64_t>(tile.scalesOfGroup, 32 / layout.group);
    tile.minimums |= ScaleReader::hasMinimum(layout);
    tile.wideScales |= layout.scales == GpuScales::Single;
    if (!layout.signedCodes)
      tile.rawPlanes = std::max<int64_t>(tile.rawPlanes, int64_t(layout.planes.size()));
  }
  return tile;
}

class PromptEmitter {
public:
  PromptEmitter(Emitter &e, const GpuTarget &target, const PromptMatmul &shape, ValueRange arguments)
      : e(e), shape(shape), tile(tileOf(shape, target)), memory(e, tile),
        more(arguments.drop_front(shape.segments.size() + 3).drop_back()),
        thread(threadIndex(e)), operands{arguments.take_front(shape.segments.size()),
                                         arguments[shape.segments.size()],
                                         arguments[shape.segments.size() + 1],
                                         arguments[shape.segments.size() + 2],
                                         arguments.back(),
                                         e.mul(blockIndex(e, gpu::Dimension::y), shape.blockRows()),
                                         e.mul(blockIndex(e), PromptMatmul::kBlockTokens),
                                         thread},
        stage(e, target, shape, tile, memory, operands), product(e, target, tile, memory, thread) {}

  void emit() {
    int64_t stages = (shape.width + PromptTile::kStage - 1) / PromptTile::kStage;
    // What comes after the last stage is that again, for nothing.
    auto after = [&](Value now, int64_t count) { return e.min(e.add(now, count), e.i64(stages - 1)); };
    Value zero = e.i64(0);
    stage.beginPacked(zero);
    Emitter::Values loaded = stage.begin(zero, zero);
    stage.finish(zero, zero, loaded);
    stage.unpack(zero, zero);
    stage.beginPacked(after(zero, 1));
    stage.wait();
    blockBarrier(e);
    Emitter::Values sums(PromptProduct::kSums, e.real(e.getF32Type(), 0));
    sums = e.loop(zero, e.i64(stages), e.i64(1), sums, [&](Value now, ValueRange carried) {
      Value next = after(now, 1), buffer = e.rem(now, e.i64(2)), other = e.sub(e.i64(1), buffer);
      Emitter::Values added(carried), loaded = stage.begin(next, other);
      static_assert(PromptTile::kGroups == 2);
      product.addGroup(buffer, 0, added);
      // Between products, so that they go on while this waits.
      stage.unpack(next, other);
      stage.beginPacked(after(now, 2));
      product.addGroup(buffer, 1, added);
      stage.finish(next, other, loaded);
      blockBarrier(e);
      return added;
    });
    store(sums);
  }

private:
  void store(const Emitter::Values &sums) {
    constexpr int64_t kWarpRows = PromptTile::kWarpRows;
    int64_t rowsOfWarp = kWarpRows / tile.segments;
    Value row = e.add(e.add(operands.firstRow, e.mul(product.warpRow, rowsOfWarp)), product.rowOfLane);
    Value token = e.add(operands.firstToken, e.mul(product.warpToken, PromptTile::kWarpTokens));
    token = e.add(token, product.tokenOfLane);
    for (int64_t eightRows = 0; eightRows < rowsOfWarp / 8; ++eightRows) {
      Value n = e.add(row, 8 * eightRows);
      e.ifThen(e.less(n, e.i64(shape.rows())), [&] { storeRow(n, token, eightRows, sums); });
    }
  }

  /// Row n, which is the `eightRows`-th that the lane has.
  void storeRow(Value n, Value token, int64_t eightRows, const Emitter::Values &sums) {
    Value bias;
    if (shape.bias)
      bias = e.load(e.getF32Type(), e.at(more.front(), e.mul(n, 4)), 4);
    for (int64_t t = 0; t < 2 * PromptProduct::kEightTokens; ++t) {
      Value ofToken = e.add(token, t / 2 * 8 + t % 2);
      int64_t number = (eightRows / 2 * PromptProduct::kEightTokens + t / 2) * 4 + eightRows % 2 * 2 + t % 2;
      e.ifThen(e.less(ofToken, operands.tokens), [&] {
        Value place = e.mul(e.add(e.mul(ofToken, shape.rows()), n), 4), y = sums[number];
        if (tile.segments == 2)
          y = e.mulf(emitSilu(e, y), sums[number + PromptProduct::kSums / 2]);
        if (bias)
          y = e.addf(y, bias);
        if (shape.residual)
          y = e.addf(y, e.load(e.getF32Type(), e.at(more.drop_front(shape.bias).front(), place), 4));
        e.store(y, e.at(more.back(), place), 4);
      });
    }
  }

  Emitter &e;
  const PromptMatmul &shape;
  PromptTile tile;
  PromptMemory memory;
  ValueRange more; ///< bias, residual, y
  Value thread;
  PromptOperands operands;
  PromptStage stage;
  PromptProduct product;
};

} // namespace

std::string PromptMatmul::name() const {
  std::string name = segments.size() == 2 ? "prompt_swiglu" : "prompt";
  for (const Matvec::Segment &segment : segments)
    name += "_" + segment.format;
  return name + "_" + std::to_string(rows()) + "x" + std::to_string(width) + (bias ? "_bias" : "") +
         (residual ? "_residual" : "");
}

Status PromptMatmul::check() const {
  for (const Matvec::Segment &segment : segments)
    if (!CodeReader::reads(segment.layout))
      return fail("format " + segment.format + " with more than " + std::to_string(Matvec::kMostColumns) +
                  " rows of activations");
  return {};
}

int64_t PromptMatmul::sharedBytes(const GpuTarget &target) const {
  return PromptMemory::dynamicBytes(tileOf(*this, target));
}

gpu::GPUFuncOp codegen::emitPromptMatmul(gpu::GPUModuleOp module, const PromptMatmul &shape, const GpuTarget &target) {
  int64_t pointers = int64_t(shape.segments.size()) + 4 + shape.bias + shape.residual;
  auto body = [&](Emitter &e, ValueRange arguments) { PromptEmitter(e, target, shape, arguments).emit(); };
  return emitKernel(module, {shape.name(), pointers, /*blocks=*/0, PromptMatmul::kWarps, /*numbers=*/1}, body);
}

// A block brings a stage after the other to shared memory. While its warps multiply one, the next one comes there.
#include "PromptBlock.h"

#include "ByteProducts.h"
#include "PromptProduct.h"
#include "PromptStage.h"
#include "lib/Codegen/CPU/Kernels.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

/// Eight warps that share the k of a stage take 256 of it, which rows of activations may not be filled up to; and codes
/// as f16 take more registers, as does a swiglu whose warps share its sums.
static int64_t warpTokens(const PromptMatmul &shape, const GpuTarget &target, bool halves) {
  bool oneForAll = shape.block.rows == PromptTile::kWarpRows && shape.block.tokens == 64;
  bool fewer = (oneForAll && (halves || gpuRowWidth(shape.width) % 256)) || (shape.swiglu && shape.block.rows <= 128);
  return fewer ? 32 : target.promptWarpTokens;
}

PromptTile codegen::promptTile(const PromptMatmul &shape, const GpuTarget &target) {
  PromptTile tile{.rows = shape.block.rows,
                  .tokens = shape.block.tokens,
                  .warpTokens = 0,
                  .groups = 2,
                  .segments = int64_t(shape.segments.size()),
                  .halves = false,
                  .scalesOfGroup = 1,
                  .minimumsOfGroup = 1,
                  .minimums = false,
                  .tensorCores = hasByteProducts(target),
                  .factors = hasBfloatProducts(target),
                  .wideScales = false,
                  .rawPlanes = 0};
  bool bytes = false;
  for (const Matvec::Segment &segment : shape.segments) {
    const GpuLayout &layout = segment.layout;
    tile.scalesOfGroup = std::max<int64_t>(tile.scalesOfGroup, 32 / layout.group);
    tile.minimums |= ScaleReader::hasMinimum(layout);
    tile.wideScales |= layout.scales == GpuScales::Single || layout.scales == GpuScales::Power;
    bytes |= layout.signedCodes;
    if (!layout.signedCodes)
      tile.rawPlanes = std::max<int64_t>(tile.rawPlanes, int64_t(layout.planes.size()));
  }
  tile.minimumsOfGroup = tile.scalesOfGroup;
  tile.halves = tile.scalesOfGroup > 1 && !bytes && target.asyncCopies;
  if (tile.halves)
    tile.scalesOfGroup = 1;
  tile.warpTokens = warpTokens(shape, target, tile.halves);
  // Each warp has a group to multiply, and two where they share no k, so that there is time to fill the next stage;
  // each thread has one to fill.
  tile.groups = std::max({tile.groups, tile.split(), PromptTile::kThreads / tile.rows});
  return tile;
}

int64_t codegen::promptMemoryBytes(const PromptTile &tile) {
  int64_t handedOver = tile.split() > 1 ? tile.sums() / 2 * 4 * PromptTile::kThreads : 0;
  return std::max(PromptMemory::bytes(tile), handedOver);
}

namespace {

class PromptEmitter {
public:
  PromptEmitter(Emitter &e, const GpuTarget &target, const PromptMatmul &shape, const PromptArguments &arguments,
                Value block, Value memory)
      : e(e), shape(shape), arguments(arguments), tile(promptTile(shape, target)), start(memory),
        memory(e, tile, memory), thread(threadIndex(e)), operands{arguments.weights,
                                                                  arguments.activations[0],
                                                                  arguments.activations[1],
                                                                  arguments.activations[2],
                                                                  arguments.tokens,
                                                                  e.mul(block, shape.blockRows()),
                                                                  e.mul(blockIndex(e), shape.block.tokens),
                                                                  thread},
        stage(e, target, shape, tile, this->memory, operands), product(e, target, tile, this->memory, thread) {}

  void emit() {
    int64_t stages = (shape.width + tile.stage() - 1) / tile.stage();
    // What comes after the last stage is that again, for nothing.
    auto after = [&](Value now, int64_t count) { return e.min(e.add(now, count), e.i64(stages - 1)); };
    Value zero = e.i64(0);
    stage.beginPacked(zero);
    Emitter::Values loaded = stage.begin(zero, zero);
    stage.finish(zero, zero, loaded);
    stage.unpack(zero, zero, loaded);
    stage.beginPacked(after(zero, 1));
    stage.wait();
    blockBarrier(e);
    bool alone = tile.split() == 1;
    Emitter::Values sums = alone ? addends() : Emitter::Values(tile.sums(), e.real(e.getF32Type(), 0));
    sums = e.loop(zero, e.i64(stages), e.i64(1), sums, [&](Value now, ValueRange carried) {
      Value next = after(now, 1), buffer = e.rem(now, e.i64(2)), other = e.sub(e.i64(1), buffer);
      Emitter::Values added(carried), loaded = stage.begin(next, other);
      // A loop over groups takes more registers than minimums leave: there the first group is multiplied before
      // unpacking, and without looking ahead where there are two planes to unpack.
      bool halved = tile.minimums && !tile.halves && tile.groups > tile.split();
      int64_t groups = tile.groups / tile.split(), before = halved ? groups / 2 : groups;
      if (halved && tile.rawPlanes > 1 && tile.warpTokens == 64)
        NVVM::SyncWarpOp::create(e, e.number(e.getI32Type(), -1));
      multiply(buffer, 0, before, added);
      if (halved && tile.rawPlanes > 1 && tile.warpTokens == 64)
        NVVM::SyncWarpOp::create(e, e.number(e.getI32Type(), -1));
      stage.unpack(next, other, loaded);
      stage.beginPacked(after(now, 2));
      multiply(buffer, before, groups, added);
      stage.finish(next, other, loaded);
      blockBarrier(e);
      return added;
    });
    store(alone ? sums : addUp(sums));
  }

private:
  /// The groups of a stage that are the warp's. A loop, since registers do for one at a time.
  void multiply(Value buffer, int64_t from, int64_t to, Emitter::Values &sums) {
    Value first = e.mul(product.share, tile.groups / tile.split());
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

  /// Of a part of the tile what a warp finishes: rows in sixteens, and of more warps than these shares of the tokens.
  int64_t sharesOfRows() const { return std::min(tile.split(), tile.sixteenRows() / tile.segments); }
  int64_t sharesOfTokens() const { return tile.split() / sharesOfRows(); }
  int64_t rowsOfWarp() const { return PromptTile::kWarpRows / tile.segments / sharesOfRows(); }
  int64_t tokensOfLane() const { return tile.warpTokens / 4 / sharesOfTokens(); }
  Value firstRow() {
    Value share = e.mul(e.div(product.share, sharesOfTokens()), rowsOfWarp());
    Value row = e.add(e.mul(product.warpRow, PromptTile::kWarpRows / tile.segments), share);
    return e.add(e.add(operands.firstRow, row), product.rowOfLane);
  }
  Value tokenAt(int64_t t) {
    Value share = e.mul(e.rem(product.share, e.i64(sharesOfTokens())), tile.warpTokens / sharesOfTokens());
    Value first = e.add(operands.firstToken, e.add(e.mul(product.warpToken, tile.warpTokens), share));
    return e.add(e.add(first, product.tokenOfLane), t / 2 * 8 + t % 2);
  }
  /// The sum of a segment of the `eightRows`-th row that the lane finishes and its t-th token.
  int64_t sumNumber(int64_t eightRows, int64_t t, int64_t segment = 0) const {
    int64_t sixteenRows = eightRows / 2 * tile.segments + segment;
    return (sixteenRows * tile.eightTokens() + t / 2) * 4 + eightRows % 2 * 2 + t % 2;
  }
  Value place(Value token, Value row) { return e.mul(e.add(e.mul(token, shape.rows()), row), 4); }

  /// Bias and residual, which the sums of what the lane finishes start with. All loads are made before any is waited
  /// for, those past the end of the last rows and tokens.
  Emitter::Values addends() {
    Emitter::Values numbers(tile.sums() / tile.split(), e.real(e.getF32Type(), 0));
    for (int64_t eightRows = 0; (shape.bias || shape.residual) && eightRows < rowsOfWarp() / 8; ++eightRows) {
      Value row = e.min(e.add(firstRow(), 8 * eightRows), e.i64(shape.rows() - 1)), bias;
      if (shape.bias)
        bias = e.load(e.getF32Type(), e.at(arguments.bias, e.mul(row, 4)), 4);
      for (int64_t t = 0; t < tokensOfLane(); ++t) {
        Value &number = numbers[size_t(sumNumber(eightRows, t))];
        if (shape.residual) {
          Value token = e.min(tokenAt(t), e.sub(operands.tokens, e.i64(1)));
          number = e.load(e.getF32Type(), e.at(arguments.residual, place(token, row)), 4);
        }
        if (bias)
          number = shape.residual ? e.addf(number, bias) : bias;
      }
    }
    return numbers;
  }

  /// The sums of all warps that share a part, of which each finishes as many. Takes halves in turn: a warp gives one
  /// half to another that gives it the other half.
  Emitter::Values addUp(Emitter::Values sums) {
    Emitter::Values more = addends();
    for (int64_t distance = tile.split() / 2; distance; distance /= 2) {
      size_t half = sums.size() / 2;
      Value isUpper = e.less(e.i64(0), e.rem(e.div(product.share, distance), e.i64(2)));
      Value partner = arith::XOrIOp::create(e, thread, e.i64(distance * tile.parts() * 32));
      auto at = [&](Value thread, size_t i) {
        return e.at(start, e.add(e.mul(thread, 16), int64_t(i) * 4 * PromptTile::kThreads));
      };
      for (size_t i = 0; i < half; i += 4) {
        Emitter::Values given;
        for (size_t j = i; j < i + 4; ++j) {
          given.push_back(arith::SelectOp::create(e, isUpper, sums[j], sums[half + j]));
          sums[j] = arith::SelectOp::create(e, isUpper, sums[half + j], sums[j]);
        }
        e.store(vector::FromElementsOp::create(e, e.f32s(4), given), at(thread, i), 16);
      }
      blockBarrier(e);
      sums.truncate(half);
      for (size_t i = 0; i < half; i += 4) {
        Value taken = e.load(e.f32s(4), at(partner, i), 16);
        for (size_t j = 0; j < 4; ++j)
          sums[i + j] = e.addf(sums[i + j], vector::ExtractOp::create(e, taken, ArrayRef<int64_t>{int64_t(j)}));
      }
      if (distance > 1)
        blockBarrier(e);
    }
    for (auto [sum, addend] : llvm::zip_equal(sums, more))
      sum = e.addf(sum, addend);
    return sums;
  }

  void store(const Emitter::Values &sums) {
    for (int64_t eightRows = 0; eightRows < rowsOfWarp() / 8; ++eightRows) {
      Value row = e.add(firstRow(), 8 * eightRows);
      e.ifThen(e.less(row, e.i64(shape.rows())), [&] { storeRow(row, eightRows, sums); });
    }
  }

  void storeRow(Value row, int64_t eightRows, const Emitter::Values &sums) {
    for (int64_t t = 0; t < tokensOfLane(); ++t) {
      Value token = tokenAt(t);
      e.ifThen(e.less(token, operands.tokens), [&] {
        Value y = sums[size_t(sumNumber(eightRows, t))];
        if (shape.swiglu)
          y = e.mulf(emitSilu(e, y), sums[size_t(sumNumber(eightRows, t, 1))]);
        e.store(y, e.at(arguments.y, place(token, row)), 4);
      });
    }
  }

  Emitter &e;
  const PromptMatmul &shape;
  PromptArguments arguments;
  PromptTile tile;
  Value start; ///< of shared memory
  PromptMemory memory;
  Value thread;
  PromptOperands operands;
  PromptStage stage;
  PromptProduct product;
};

} // namespace

void codegen::emitPromptBlock(Emitter &e, const GpuTarget &target, const PromptMatmul &part,
                              const PromptArguments &arguments, Value block, Value memory) {
  PromptEmitter(e, target, part, arguments, block, memory).emit();
}

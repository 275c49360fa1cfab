// A block brings a stage after the other to shared memory. While its warps multiply one, the next one comes there.
#include "PromptBlock.h"

#include "ByteProducts.h"
#include "PromptProduct.h"
#include "PromptStage.h"
#include "lib/Codegen/CPU/Kernels.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

PromptTile codegen::promptTile(const PromptMatmul &shape, const GpuTarget &target) {
  PromptTile tile{.rows = shape.block.rows,
                  .tokens = shape.block.tokens,
                  .segments = int64_t(shape.segments.size()),
                  .scalesOfGroup = 1,
                  .minimums = false,
                  .tensorCores = hasByteProducts(target),
                  .factors = hasBfloatProducts(target),
                  .wideScales = false,
                  .rawPlanes = 0};
  for (const Matvec::Segment &segment : shape.segments) {
    const GpuLayout &layout = segment.layout;
    tile.scalesOfGroup = std::max<int64_t>(tile.scalesOfGroup, 32 / layout.group);
    tile.minimums |= ScaleReader::hasMinimum(layout);
    tile.wideScales |= layout.scales == GpuScales::Single || layout.scales == GpuScales::Power;
    if (!layout.signedCodes)
      tile.rawPlanes = std::max<int64_t>(tile.rawPlanes, int64_t(layout.planes.size()));
  }
  return tile;
}

int64_t codegen::promptMemoryBytes(const PromptTile &tile) {
  int64_t handedOver = tile.split() > 1 ? PromptProduct::kSums / 2 * 4 * PromptTile::kThreads : 0;
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
    stage.unpack(zero, zero);
    stage.beginPacked(after(zero, 1));
    stage.wait();
    blockBarrier(e);
    bool alone = tile.split() == 1;
    Emitter::Values sums = alone ? addends() : Emitter::Values(PromptProduct::kSums, e.real(e.getF32Type(), 0));
    sums = e.loop(zero, e.i64(stages), e.i64(1), sums, [&](Value now, ValueRange carried) {
      Value next = after(now, 1), buffer = e.rem(now, e.i64(2)), other = e.sub(e.i64(1), buffer);
      Emitter::Values added(carried), loaded = stage.begin(next, other);
      int64_t groups = tile.groups() / tile.split();
      auto multiply = [&](int64_t from, int64_t to) {
        for (int64_t group = from; group < to; ++group)
          product.addGroup(buffer, e.add(e.mul(product.share, groups), group), added);
      };
      // Between products, so that they go on while this waits.
      multiply(0, (groups + 1) / 2);
      stage.unpack(next, other);
      stage.beginPacked(after(now, 2));
      multiply((groups + 1) / 2, groups);
      stage.finish(next, other, loaded);
      blockBarrier(e);
      return added;
    });
    store(alone ? sums : addUp(sums));
  }

private:
  /// Of the rows of a part of the tile that a warp finishes.
  int64_t rowsOfWarp() const { return PromptTile::kWarpRows / tile.segments / tile.split(); }
  Value firstRow() {
    Value row =
        e.add(e.mul(product.warpRow, PromptTile::kWarpRows / tile.segments), e.mul(product.share, rowsOfWarp()));
    return e.add(e.add(operands.firstRow, row), product.rowOfLane);
  }
  Value tokenAt(int64_t t) {
    Value first = e.add(operands.firstToken, e.mul(product.warpToken, PromptTile::kWarpTokens));
    return e.add(e.add(first, product.tokenOfLane), t / 2 * 8 + t % 2);
  }
  /// The sum of the `eightRows`-th row that the lane finishes and its t-th token.
  static int64_t sumNumber(int64_t eightRows, int64_t t) {
    return (eightRows / 2 * PromptProduct::kEightTokens + t / 2) * 4 + eightRows % 2 * 2 + t % 2;
  }
  Value place(Value token, Value row) { return e.mul(e.add(e.mul(token, shape.rows()), row), 4); }

  /// Bias and residual, which the sums of what the lane finishes start with. All loads are made before any is waited
  /// for, those past the end of the last rows and tokens.
  Emitter::Values addends() {
    Emitter::Values numbers(PromptProduct::kSums / tile.split(), e.real(e.getF32Type(), 0));
    for (int64_t eightRows = 0; (shape.bias || shape.residual) && eightRows < rowsOfWarp() / 8; ++eightRows) {
      Value row = e.min(e.add(firstRow(), 8 * eightRows), e.i64(shape.rows() - 1)), bias;
      if (shape.bias)
        bias = e.load(e.getF32Type(), e.at(arguments.bias, e.mul(row, 4)), 4);
      for (int64_t t = 0; t < 2 * PromptProduct::kEightTokens; ++t) {
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
    for (int64_t t = 0; t < 2 * PromptProduct::kEightTokens; ++t) {
      Value token = tokenAt(t);
      e.ifThen(e.less(token, operands.tokens), [&] {
        Value y = sums[size_t(sumNumber(eightRows, t))];
        if (shape.swiglu)
          y = e.mulf(emitSilu(e, y), sums[size_t(sumNumber(eightRows, t)) + PromptProduct::kSums / 2]);
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

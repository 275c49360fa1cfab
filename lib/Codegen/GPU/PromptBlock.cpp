// The tile of a block, and what a block does before and after its stages.
#include "PromptBlock.h"

#include "ByteProducts.h"
#include "PromptStages.h"
#include "QuantizeGroup.h"
#include "SplitRows.h"
#include "lib/Codegen/CPU/Kernels.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

/// Of codes some kernels take more registers than others: where warps share the sums of a swiglu, with biases, with two
/// minimums in a group, or where all warps share the k of a stage.
static int64_t warpTokens(const PromptMatmul &shape, const GpuTarget &target, const PromptTile &tile) {
  if (tile.halves)
    return 64;
  bool small = shape.block.tokens == 64, oneForAll = small && shape.block.rows == PromptTile::kWarpRows;
  bool adds = small && (shape.bias || (tile.minimums && tile.scalesOfGroup > 1));
  return (shape.swiglu && shape.block.rows <= 128) || oneForAll || adds ? 32 : target.promptWarpTokens;
}

static PromptTile tileOf(const PromptMatmul &shape, const GpuTarget &target, int64_t mostWarpTokens) {
  PromptTile tile{.rows = shape.block.rows,
                  .tokens = shape.block.tokens,
                  .warpTokens = 0,
                  .groups = 1,
                  .segments = int64_t(shape.segments.size()),
                  .halves = shape.halves || shape.floats(),
                  .floats = shape.floats(),
                  .scalesOfGroup = 1,
                  .minimums = false,
                  .tensorCores = hasByteProducts(target),
                  .factors = hasBfloatProducts(target),
                  .wideScales = false,
                  .asyncCopies = target.asyncCopies,
                  .manyRegisters = false,
                  .rawPieces = 0,
                  .tokenParts = shape.splits() ? SplitRows::kParts : 1};
  for (const Matvec::Segment &segment : shape.segments) {
    const GpuLayout &layout = segment.layout;
    tile.scalesOfGroup = std::max<int64_t>(tile.scalesOfGroup, 32 / layout.group);
    tile.minimums |= ScaleReader::hasMinimum(layout);
    tile.wideScales |= hasWideScales(layout);
    tile.manyRegisters |= layout.planes.size() > 1 && shape.residual && shape.block.tokens == 128;
    if (tile.halves || !layout.signedCodes)
      tile.rawPieces = std::max(tile.rawPieces, CodeReader::pieces(layout));
  }
  tile.warpTokens = std::min(mostWarpTokens, warpTokens(shape, target, tile));
  // Each warp has a step to multiply, and two where they share no k, so that there is time to fill the next stage; each
  // thread has a group to fill. Split rows, which are twice as long, have the shortest stages, of which more fit.
  int64_t least = tile.halves ? std::max<int64_t>(1, tile.split() / 2) : std::max<int64_t>(2, tile.split());
  tile.groups = shape.splits() ? least : std::max(least, PromptTile::kThreads / tile.rows);
  const int64_t mostPlaces = target.asyncCopies ? 4 : 2;
  int64_t stageBytes = tile.weightCodeBytes() + tile.tokenParts * tile.tokenCodeBytes();
  if (tile.floats)
    tile.places = std::clamp<int64_t>(target.blockSharedBytes / stageBytes, 2, mostPlaces);
  return tile;
}

/// Where warps of few tokens do for the block, they share less of the k, so that a stage is shorter.
PromptTile codegen::promptTile(const PromptMatmul &shape, const GpuTarget &target) {
  PromptTile tile = tileOf(shape, target, 64);
  bool few = shape.block.rows * shape.block.tokens <= PromptTile::kWarpRows * 32 * PromptMatmul::kWarps;
  return promptMemoryBytes(tile) <= target.blockSharedBytes || !few ? tile : tileOf(shape, target, 32);
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
      : e(e), target(target), shape(shape), arguments(arguments), tile(promptTile(shape, target)), start(memory),
        memory(e, tile, memory), thread(threadIndex(e)), operands{arguments.weights,
                                                                  arguments.activations[0],
                                                                  ofCodes(1),
                                                                  ofCodes(2),
                                                                  arguments.tokens,
                                                                  e.mul(block, shape.blockRows()),
                                                                  e.mul(blockIndex(e), shape.block.tokens),
                                                                  thread},
        lanes(e, tile, this->memory, thread) {}

  void emit() {
    bool startsWithAddends = tile.split() == 1 && !shape.splits();
    Emitter::Values sums = startsWithAddends ? addends() : Emitter::Values(tile.sums(), zero());
    PromptBlock block{target, shape, tile, memory, operands, lanes};
    sums = tile.floats   ? emitFloatStages(e, block, sums)
           : tile.halves ? emitHalfStages(e, block, sums)
                         : emitByteStages(e, block, sums);
    if (shape.quantized)
      sums = byTokens(sums);
    sums = startsWithAddends ? sums : addUp(sums);
    shape.splits() ? storeScaled(sums) : store(sums);
  }

private:
  /// Scales and sums, which floats have not.
  Value ofCodes(size_t number) const { return shape.floats() ? Value() : arguments.activations[number]; }
  /// Of a part of the tile what a warp finishes: rows in sixteens, and of more warps than these shares of the tokens.
  /// To quantize it needs all rows.
  int64_t sharesOfRows() const {
    return shape.quantized ? 1 : std::min(tile.split(), tile.sixteenRows() / tile.segments);
  }
  int64_t sharesOfTokens() const { return tile.split() / sharesOfRows(); }
  int64_t rowsOfWarp() const { return PromptTile::kWarpRows / tile.segments / sharesOfRows(); }
  int64_t tokensOfLane() const { return tile.warpTokens / 4 / sharesOfTokens(); }
  Value firstRow() {
    Value share = e.mul(e.div(lanes.share, sharesOfTokens()), rowsOfWarp());
    Value row = e.add(e.mul(lanes.warpRow, PromptTile::kWarpRows / tile.segments), share);
    return e.add(e.add(operands.firstRow, row), lanes.rowOfLane);
  }
  Value tokenAt(int64_t t) {
    Value share = e.mul(e.rem(lanes.share, e.i64(sharesOfTokens())), tile.warpTokens / sharesOfTokens());
    Value first = e.add(operands.firstToken, e.add(e.mul(lanes.warpToken, tile.warpTokens), share));
    return e.add(e.add(first, lanes.tokenOfLane), t / 2 * 8 + t % 2);
  }
  /// The same, or the last that there is.
  Value storedToken(int64_t t) { return e.min(tokenAt(t), e.sub(operands.tokens, e.i64(1))); }
  Value zero() { return e.real(e.getF32Type(), 0); }
  /// The sum of a segment of the `eightRows`-th row that the lane finishes and its t-th token.
  int64_t sumNumber(int64_t eightRows, int64_t t, int64_t segment = 0) const {
    int64_t sixteenRows = eightRows / 2 * tile.segments + segment, inFour = eightRows % 2 * 2 + t % 2;
    if (shape.quantized)
      return (t / 2 * tile.sixteenRows() + sixteenRows) * 4 + inFour;
    return (sixteenRows * tile.eightTokens() + t / 2) * 4 + inFour;
  }
  Value place(Value token, Value row) { return e.mul(e.add(e.mul(token, shape.rows()), row), 4); }

  /// Bias and residual, which the sums of what the lane finishes start with. All loads are made before any is waited
  /// for, those past the end of the last rows and tokens.
  Emitter::Values addends() {
    Emitter::Values numbers(tile.sums() / tile.split(), zero());
    for (int64_t eightRows = 0; (shape.bias || shape.residual) && eightRows < rowsOfWarp() / 8; ++eightRows)
      for (auto [t, number] : llvm::enumerate(addendsOf(eightRows)))
        numbers[size_t(sumNumber(eightRows, int64_t(t)))] = number;
    return numbers;
  }

  /// Those of one of the rows and each of the lane's tokens.
  Emitter::Values addendsOf(int64_t eightRows) {
    Emitter::Values numbers(tokensOfLane(), zero());
    Value row = e.min(e.add(firstRow(), 8 * eightRows), e.i64(shape.rows() - 1)), bias;
    if (shape.bias)
      bias = e.load(e.getF32Type(), e.at(arguments.bias, e.mul(row, 4)), 4);
    for (auto [t, number] : llvm::enumerate(numbers)) {
      if (shape.residual)
        number = e.load(e.getF32Type(), e.at(arguments.residual, place(storedToken(int64_t(t)), row)), 4);
      if (bias)
        number = shape.residual ? e.addf(number, bias) : bias;
    }
    return numbers;
  }

  /// The sums of all warps that share a part, of which each finishes as many. Takes halves in turn: a warp gives one
  /// half to another that gives it the other half.
  Emitter::Values addUp(Emitter::Values sums) {
    Emitter::Values more = shape.splits() ? Emitter::Values() : addends();
    for (int64_t distance = tile.split() / 2; distance; distance /= 2) {
      size_t half = sums.size() / 2;
      Value isUpper = e.less(e.i64(0), e.rem(e.div(lanes.share, distance), e.i64(2)));
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
    if (!shape.splits())
      for (auto [sum, addend] : llvm::zip_equal(sums, more))
        sum = e.addf(sum, addend);
    return sums;
  }

  /// Sums of split rows, times the scales of the lane's tokens, plus bias and residual. Of these there may be as many
  /// as sums, and there are registers for those of one row, which is stored before the next one's are loaded.
  void storeScaled(Emitter::Values sums) {
    Emitter::Values scales;
    for (int64_t t = 0; t < tokensOfLane(); ++t)
      scales.push_back(e.load(e.getF32Type(), e.at(arguments.activations[1], e.mul(storedToken(t), 4)), 4));
    for (int64_t eightRows = 0; eightRows < rowsOfWarp() / 8; ++eightRows) {
      for (auto [t, addend] : llvm::enumerate(addendsOf(eightRows)))
        for (int64_t segment = 0; segment < tile.segments; ++segment) {
          Value &sum = sums[size_t(sumNumber(eightRows, int64_t(t), segment))];
          sum = e.fma(sum, scales[t], addend);
        }
      if (!shape.quantized)
        storeRow(eightRows, sums);
    }
    if (shape.quantized)
      storeQuantized(sums);
  }

  /// In an order in which tokens run slower than rows, so that halves of it are those of some tokens.
  Emitter::Values byTokens(const Emitter::Values &sums) const {
    Emitter::Values ordered;
    for (int64_t eight = 0; eight < tile.eightTokens(); ++eight)
      for (int64_t rows = 0; rows < tile.sixteenRows(); ++rows)
        llvm::append_range(ordered, ArrayRef(sums).slice(size_t((rows * tile.eightTokens() + eight) * 4), 4));
    return ordered;
  }

  void store(const Emitter::Values &sums) {
    if (shape.quantized)
      return storeQuantized(sums);
    for (int64_t eightRows = 0; eightRows < rowsOfWarp() / 8; ++eightRows)
      storeRow(eightRows, sums);
  }

  Value result(int64_t eightRows, int64_t t, const Emitter::Values &sums) {
    Value y = sums[size_t(sumNumber(eightRows, t))];
    return shape.swiglu ? e.mulf(emitSilu(e, y), sums[size_t(sumNumber(eightRows, t, 1))]) : y;
  }

  /// A warp has 32 rows of results, which are a group of each token.
  void storeQuantized(const Emitter::Values &sums) {
    Value group = e.div(firstRow(), 32);
    for (int64_t t = 0; t < tokensOfLane(); ++t) {
      Value token = tokenAt(t);
      Emitter::Values ys;
      for (int64_t eightRows = 0; eightRows < 4; ++eightRows)
        ys.push_back(result(eightRows, t, sums));
      storeQuantizedColumns(e, ys, lanes.lane, e.add(e.mul(token, shape.rows() / 32), group),
                            e.less(token, operands.tokens), {arguments.y[0], arguments.y[1], arguments.y[2]});
    }
  }

  void storeRow(int64_t eightRows, const Emitter::Values &sums) {
    Value row = e.add(firstRow(), 8 * eightRows);
    e.ifThen(e.less(row, e.i64(shape.rows())), [&] {
      for (int64_t t = 0; t < tokensOfLane(); ++t) {
        Value token = tokenAt(t);
        e.ifThen(e.less(token, operands.tokens),
                 [&] { e.store(result(eightRows, t, sums), e.at(arguments.y[0], place(token, row)), 4); });
      }
    });
  }

  Emitter &e;
  const GpuTarget &target;
  const PromptMatmul &shape;
  PromptArguments arguments;
  PromptTile tile;
  Value start; ///< of shared memory
  PromptMemory memory;
  Value thread;
  PromptOperands operands;
  PromptLanes lanes;
};

} // namespace

void codegen::emitPromptBlock(Emitter &e, const GpuTarget &target, const PromptMatmul &part,
                              const PromptArguments &arguments, Value block, Value memory) {
  PromptEmitter(e, target, part, arguments, block, memory).emit();
}

// Copies need no registers and are waited for at the end; scales pass through registers, since they are converted on
// the way. A thread unpacks what it copied itself, so that it need not wait for others.
#include "PromptStage.h"

#include "Factors.h"
#include "HalfProducts.h"
#include "PromptProduct.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

static std::vector<PromptSource> sourcesOf(const PromptMatmul &shape) {
  const auto &segments = shape.segments;
  if (segments.size() == 2 && segments[0].format != segments[1].format)
    return {{&segments[0].layout, 0, 1}, {&segments[1].layout, 1, 1}};
  return {{&segments[0].layout, 0, int64_t(segments.size())}};
}

PromptStage::PromptStage(Emitter &e, const GpuTarget &target, const PromptMatmul &shape, const PromptTile &tile,
                         const PromptMemory &memory, const PromptOperands &operands)
    : e(e), target(target), shape(shape), tile(tile), memory(memory), operands(operands), sources(sourcesOf(shape)),
      tileRow(e.div(operands.thread, tile.groups())), groupOfStage(e.rem(operands.thread, e.i64(tile.groups()))) {}

CodeReader PromptStage::codeReader(const PromptSource &source) const {
  return CodeReader(e, target, *source.layout, shape.rows(), shape.width);
}

ScaleReader PromptStage::scaleReader(const PromptSource &source) const {
  return ScaleReader(e, *source.layout, shape.rows(), shape.width);
}

void PromptStage::ofThread(Body body) {
  if (sources.size() == 1)
    return body(sources[0]);
  Value first = e.less(tileRow, e.i64(tile.segmentRows()));
  e.ifThenElse(
      first, [&] { body(sources[0]); }, [&] { body(sources[1]); });
}

Value PromptStage::row(Value tileRow) const {
  Value wanted = e.add(operands.firstRow, e.rem(tileRow, e.i64(tile.segmentRows())));
  return e.min(wanted, e.i64(shape.rows() - 1));
}

Value PromptStage::weight(const PromptSource &source, Value tileRow) const {
  if (source.segments == 1)
    return operands.weights[source.firstSegment];
  Value first = e.less(tileRow, e.i64(tile.segmentRows()));
  return arith::SelectOp::create(e, first, operands.weights[0], operands.weights[1]);
}

Value PromptStage::token(Value tileToken) const {
  return e.min(e.add(operands.firstToken, tileToken), e.sub(operands.tokens, e.i64(1)));
}

/// Where a stage reaches beyond the row it takes the last group again, whose activations are zeros there.
Value PromptStage::group(const PromptSource &source, Value stage) const {
  int64_t groups = source.layout->units(shape.width) * source.layout->unit() / 32;
  return e.min(e.add(e.mul(stage, tile.groups()), groupOfStage), e.i64(groups - 1));
}

Value PromptStage::rawPlace(int64_t plane) const {
  return e.at(memory.raw, e.add(e.mul(operands.thread, 16), plane * PromptTile::kThreads * 16));
}

Emitter::Values PromptStage::begin(Value stage, Value buffer) {
  copyTokens(stage, buffer);
  for (const PromptSource &source : sources)
    if (codeReader(source).areBytes())
      copyBytes(source, stage, buffer);
  return loadScales(stage);
}

void PromptStage::beginPacked(Value stage) {
  if (!tile.rawPlanes)
    return;
  ofThread([&](const PromptSource &source) {
    CodeReader reader = codeReader(source);
    if (reader.areBytes())
      return;
    auto places = reader.planesAt(weight(source, tileRow), row(tileRow), group(source, stage));
    for (auto [plane, place] : llvm::enumerate(places))
      copy(place, rawPlace(int64_t(plane)));
  });
}

void PromptStage::copy(Value from, Value to) {
  if (tile.tensorCores) // where there are none, pointers get their address space later
    from = LLVM::AddrSpaceCastOp::create(e, LLVM::LLVMPointerType::get(e.getContext(), 1), from);
  copyToShared(e, target, from, to);
}

void PromptStage::wait() {
  endCopies(e, target);
  waitForCopies(e, target, 0);
}

/// Neighbouring threads take the bytes of a token.
void PromptStage::copyTokens(Value stage, Value buffer) {
  Value sixteenth = e.rem(operands.thread, e.i64(tile.sixteens()));
  int64_t atOnce = PromptTile::kThreads / tile.sixteens();
  for (int64_t more = 0; more < tile.tokens; more += atOnce) {
    Value tileToken = e.add(e.div(operands.thread, tile.sixteens()), more);
    Value from = e.at(operands.codes, e.mul(token(tileToken), gpuRowWidth(shape.width)));
    from = e.at(from, e.add(e.mul(stage, tile.stage()), e.mul(sixteenth, 16)));
    Value place = tile.codePlace(e, tileToken, sixteenth);
    copy(from, e.at(memory.tokenCodes, e.add(e.mul(buffer, tile.tokenCodeBytes()), place)));
  }
}

void PromptStage::copyBytes(const PromptSource &source, Value stage, Value buffer) {
  CodeReader reader = codeReader(source);
  Value sixteenth = e.rem(operands.thread, e.i64(tile.sixteens()));
  Value ofRow = e.add(e.mul(stage, tile.sixteens()), sixteenth);
  int64_t atOnce = PromptTile::kThreads / tile.sixteens();
  int64_t first = source.firstSegment * tile.segmentRows(), rows = source.segments * tile.segmentRows();
  for (int64_t more = first; more < first + rows; more += atOnce) {
    Value ofTile = e.add(e.div(operands.thread, tile.sixteens()), more);
    Value from = reader.bytesAt(weight(source, ofTile), row(ofTile), ofRow);
    Value place = tile.codePlace(e, ofTile, sixteenth);
    copy(from, e.at(memory.weightCodes, e.add(e.mul(buffer, tile.weightCodeBytes()), place)));
  }
}

/// The words of the thread's row of weights, as many as the source with the most has, then the scale of its token, and
/// the sums of both halves of its codes where there are minimums.
Emitter::Values PromptStage::loadScales(Value stage) {
  auto load = [&](const PromptSource &source) {
    return scaleReader(source).load(weight(source, tileRow), row(tileRow), group(source, stage));
  };
  auto padded = [&](const PromptSource &source) {
    Emitter::Values words = load(source);
    words.resize(4, e.number(e.getI32Type(), 0));
    return words;
  };
  Emitter::Values loaded;
  if (sources.size() == 1)
    loaded = load(sources[0]);
  else
    loaded = e.ifElse(
        e.less(tileRow, e.i64(tile.segmentRows())), [&] { return padded(sources[0]); },
        [&] { return padded(sources[1]); });
  int64_t groups = gpuRowWidth(shape.width) / 32;
  Value number = e.add(e.mul(token(tileRow), groups), e.add(e.mul(stage, tile.groups()), groupOfStage));
  Value place = e.mul(number, 4); // also of two sums of i16
  loaded.push_back(e.load(e.getF32Type(), e.at(operands.scales, place), 4));
  if (tile.minimums)
    loaded.push_back(e.load(e.getI32Type(), e.at(operands.sums, place), 4));
  return loaded;
}

void PromptStage::finish(Value stage, Value buffer, ValueRange loaded) {
  int64_t words = int64_t(loaded.size()) - 1 - tile.minimums;
  ofThread([&](const PromptSource &source) { storeWeightScales(source, stage, buffer, loaded.take_front(words)); });
  auto storeTokens = [&] {
    storeTokenScales(buffer, loaded[words]);
    if (tile.minimums)
      storeTokenSums(buffer, loaded[words], loaded.back());
  };
  if (tile.tokens == tile.rows)
    storeTokens();
  else
    e.ifThen(e.less(tileRow, e.i64(tile.tokens)), storeTokens);
  wait();
}

void PromptStage::unpack(Value stage, Value buffer) {
  if (!tile.rawPlanes)
    return;
  ofThread([&](const PromptSource &source) {
    if (!codeReader(source).areBytes())
      unpackOf(source, stage, buffer);
  });
}

void PromptStage::unpackOf(const PromptSource &source, Value stage, Value buffer) {
  Emitter::Values planes;
  for (size_t plane = 0; plane < source.layout->planes.size(); ++plane)
    planes.push_back(e.load(e.i32s(4), rawPlace(int64_t(plane)), 16));
  Emitter::Values codes = codeReader(source).unpack(planes, group(source, stage));
  for (int64_t half = 0; half < 2; ++half) {
    Value four = vector::FromElementsOp::create(e, e.i32s(4), ValueRange(codes).slice(4 * half, 4));
    Value place = tile.codePlace(e, tileRow, e.add(e.mul(groupOfStage, 2), half));
    e.store(four, e.at(memory.weightCodes, e.add(e.mul(buffer, tile.weightCodeBytes()), place)), 16);
  }
}

void PromptStage::storeWeightScales(const PromptSource &source, Value stage, Value buffer, ValueRange words) {
  SmallVector<ScalePair> pairs = scaleReader(source).decode(words, group(source, stage));
  Value factor = e.real(e.getF32Type(), double(source.layout->factor) / double(1 << codeReader(source).shift()));
  Value first = e.mul(groupOfStage, tile.scalesOfGroup * tile.rows);
  Value number = e.add(first, tile.rowScaleIndex(e, tileRow));
  for (int64_t part = 0; part < tile.scalesOfGroup; ++part) {
    const ScalePair &pair = pairs.size() == 1 ? pairs.front() : pairs[part];
    Value index = e.add(number, part * tile.rows);
    Value scale = e.mulf(pair.scale, factor), offset = e.mulf(scale, e.real(e.getF32Type(), -PromptProduct::kOffset));
    Value both = vector::FromElementsOp::create(e, e.f32s(2), ValueRange{scale, offset});
    e.store(both, e.at(memory.weightScales, e.add(e.mul(index, 8), e.mul(buffer, tile.weightScaleBytes()))), 8);
    if (!tile.minimums)
      continue;
    Value minimum = pair.minimum ? pair.minimum : e.real(e.getF32Type(), 0);
    if (!source.layout->minimumAdded)
      minimum = e.negf(minimum);
    if (tile.factors)
      minimum = emitRowFactor(e, minimum);
    e.store(minimum, e.at(memory.weightMinimums, e.add(e.mul(index, 4), e.mul(buffer, tile.minimumBytes()))), 4);
  }
}

void PromptStage::storeTokenScales(Value buffer, Value scale) {
  Value number = e.add(e.mul(groupOfStage, tile.tokens), PromptTile::tokenScaleIndex(e, tileRow));
  e.store(scale, e.at(memory.tokenScales, e.add(e.mul(number, 4), e.mul(buffer, tile.tokenScaleBytes()))), 4);
}

/// Factors lie in the order of tokens.
void PromptStage::storeTokenSums(Value buffer, Value scale, Value sums) {
  SmallVector<Value> parts = {e.signedShiftRight(e.shiftLeft(sums, 16), 16), e.signedShiftRight(sums, 16)};
  if (tile.scalesOfGroup == 1)
    parts = {e.add(parts[0], parts[1])};
  Value first = e.mul(groupOfStage, tile.scalesOfGroup * tile.tokens), start = e.mul(buffer, tile.sumBytes());
  for (auto [part, sum] : llvm::enumerate(parts)) {
    Value number = e.add(first, int64_t(part) * tile.tokens), scaled = e.mulf(scale, e.toFloat(sum));
    if (!tile.factors) {
      Value index = e.add(number, PromptTile::tokenScaleIndex(e, tileRow));
      e.store(scaled, e.at(memory.tokenSums, e.add(e.mul(index, 4), start)), 4);
      continue;
    }
    Value both = vector::FromElementsOp::create(e, e.i32s(2), ValueRange(emitTokenFactor(e, scaled)));
    e.store(both, e.at(memory.tokenSums, e.add(e.mul(e.add(number, tileRow), 8), start)), 8);
  }
}

// Copies need no registers and are waited for at the end; scales pass through registers, since they are converted on
// the way. A thread unpacks what it copied itself, so that it need not wait for others.
#include "PromptStage.h"

#include "ByteOps.h"
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
      groupOfStage(e.rem(operands.thread, e.i64(tile.groups))) {}

CodeReader PromptStage::codeReader(const PromptSource &source) const {
  return CodeReader(e, target, *source.layout, shape.rows(), shape.width);
}

ScaleReader PromptStage::scaleReader(const PromptSource &source) const {
  return ScaleReader(e, *source.layout, shape.rows(), shape.width);
}

PromptStage::Row PromptStage::filledRow(int64_t fill) const {
  return {tile.filled(e, e.div(operands.thread, tile.groups)), fill * (PromptTile::kThreads / tile.groups)};
}

Value PromptStage::inTile(const Row &row) const { return e.add(row.first, row.more); }

void PromptStage::ofThread(Body body) {
  for (int64_t fill = 0; fill < tile.rowFills(); ++fill) {
    Row row = filledRow(fill);
    if (sources.size() == 1)
      body(sources[0], row, fill);
    else
      e.ifThenElse(
          isOfFirstSegment(row), [&] { body(sources[0], row, fill); }, [&] { body(sources[1], row, fill); });
  }
}

/// Rows of the weight are so far apart as they are in the tile, if a tile has none past their end.
bool PromptStage::isWhole() const { return shape.rows() % tile.segmentRows() == 0; }

Value PromptStage::weightRow(const Row &row) const {
  Value inSegment = e.rem(isWhole() ? row.first : inTile(row), e.i64(tile.segmentRows()));
  Value wanted = e.add(operands.firstRow, inSegment);
  return isWhole() ? wanted : e.min(wanted, e.i64(shape.rows() - 1));
}

int64_t PromptStage::moreRows(const Row &row) const { return isWhole() ? row.more % tile.segmentRows() : 0; }

Value PromptStage::isOfFirstSegment(const Row &row) const { return e.less(inTile(row), e.i64(tile.segmentRows())); }

Value PromptStage::weight(const PromptSource &source, const Row &row) const {
  if (source.segments == 1)
    return operands.weights[source.firstSegment];
  return arith::SelectOp::create(e, isOfFirstSegment(row), operands.weights[0], operands.weights[1]);
}

Value PromptStage::token(Value tileToken) const {
  return e.min(e.add(operands.firstToken, tileToken), e.sub(operands.tokens, e.i64(1)));
}

/// Where a stage reaches beyond the row it takes the last group again, whose activations are zeros there.
Value PromptStage::group(const PromptSource &source, Value stage) const {
  int64_t groups = source.layout->units(shape.width) * source.layout->unit() / 32;
  Value wanted = e.add(e.mul(stage, tile.groups), groupOfStage);
  return groups % tile.groups == 0 ? wanted : e.min(wanted, e.i64(groups - 1));
}

Value PromptStage::rawPlace(int64_t fill, int64_t plane) const {
  int64_t number = fill * tile.rawPlanes + plane;
  return e.at(memory.raw, e.add(e.mul(operands.thread, 16), number * PromptTile::kThreads * 16));
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
  ofThread([&](const PromptSource &source, const Row &row, int64_t fill) {
    CodeReader reader = codeReader(source);
    if (reader.areBytes())
      return;
    auto places = reader.planesAt(weight(source, row), weightRow(row), moreRows(row), group(source, stage));
    for (auto [plane, place] : llvm::enumerate(places))
      copy(place, rawPlace(fill, int64_t(plane)));
  });
}

void PromptStage::copy(Value from, Value to) {
  if (tile.tensorCores) // where there are none, pointers get their address space later
    from = LLVM::AddrSpaceCastOp::create(e, LLVM::LLVMPointerType::get(e.getContext(), 1), from);
  copyToShared(e, target, from, to);
}

/// The number of the thread's group among those of both buffers.
Value PromptStage::groupInBuffers(Value buffer) const { return e.add(e.mul(buffer, tile.groups), groupOfStage); }

void PromptStage::wait() {
  endCopies(e, target);
  waitForCopies(e, target, 0);
}

/// Neighbouring threads take the bytes of a token.
void PromptStage::copyTokens(Value stage, Value buffer) {
  Value sixteenth = e.rem(operands.thread, e.i64(tile.sixteens()));
  int64_t atOnce = PromptTile::kThreads / tile.sixteens();
  for (int64_t more = 0; more < tile.tokens; more += atOnce) {
    Value first = e.div(operands.thread, tile.sixteens());
    Value from = e.at(operands.codes, e.mul(token(e.add(first, more)), gpuRowWidth(shape.width)));
    from = e.at(from, e.add(e.mul(stage, tile.stage()), e.mul(sixteenth, 16)));
    Value place = e.add(tile.tokenPlace(e, first, sixteenth), more * tile.stage());
    copy(from, e.at(memory.tokenCodes, e.add(e.mul(buffer, tile.tokenCodeBytes()), place)));
  }
}

void PromptStage::copyBytes(const PromptSource &source, Value stage, Value buffer) {
  CodeReader reader = codeReader(source);
  Value sixteenth = e.rem(operands.thread, e.i64(tile.sixteens()));
  Value ofRow = e.add(e.mul(stage, tile.sixteens()), sixteenth);
  if (int64_t all = source.layout->units(shape.width); all % tile.sixteens())
    ofRow = e.min(ofRow, e.i64(all - 1));
  int64_t atOnce = PromptTile::kThreads / tile.sixteens();
  int64_t first = source.firstSegment * tile.segmentRows(), rows = source.segments * tile.segmentRows();
  for (int64_t more = first; more < first + rows; more += atOnce) {
    Row row = {e.div(operands.thread, tile.sixteens()), more};
    Value from = reader.bytesAt(weight(source, row), weightRow(row), moreRows(row), ofRow);
    Value place = e.add(tile.weightPlace(e, row.first, sixteenth), more * tile.weightRowBytes());
    copy(from, e.at(memory.weightCodes, e.add(e.mul(buffer, tile.weightCodeBytes()), place)));
  }
}

/// The words of a row of weights, as many as the source with the most has.
Emitter::Values PromptStage::loadWeightScales(const Row &row, Value stage) {
  auto load = [&](const PromptSource &source) {
    return scaleReader(source).load(weight(source, row), weightRow(row), moreRows(row), group(source, stage));
  };
  auto padded = [&](const PromptSource &source) {
    Emitter::Values words = load(source);
    words.resize(4, e.number(e.getI32Type(), 0));
    return words;
  };
  if (sources.size() == 1)
    return load(sources[0]);
  return e.ifElse(
      isOfFirstSegment(row), [&] { return padded(sources[0]); }, [&] { return padded(sources[1]); });
}

/// Of each row of weights that the thread fills; then of each token its scale, and the sums of both halves of its codes
/// where there are minimums.
Emitter::Values PromptStage::loadScales(Value stage) {
  Emitter::Values loaded;
  for (int64_t fill = 0; fill < tile.rowFills(); ++fill)
    loaded.append(loadWeightScales(filledRow(fill), stage));
  int64_t groups = gpuRowWidth(shape.width) / 32;
  for (int64_t fill = 0; fill < tile.tokenFills(); ++fill) {
    Value ofToken = e.mul(token(inTile(filledRow(fill))), groups);
    Value number = e.add(ofToken, e.add(e.mul(stage, tile.groups), groupOfStage));
    Value place = e.mul(number, 4); // also of two sums of i16
    loaded.push_back(e.load(e.getF32Type(), e.at(operands.scales, place), 4));
    if (tile.minimums)
      loaded.push_back(e.load(e.getI32Type(), e.at(operands.sums, place), 4));
  }
  return loaded;
}

/// Of `loaded` the words of the `fill`-th row of weights.
ValueRange PromptStage::wordsOf(ValueRange loaded, int64_t fill) const {
  ValueRange weights = loaded.drop_back(size_t(tile.tokenFills() * (1 + tile.minimums)));
  size_t words = weights.size() / size_t(tile.rowFills());
  return weights.slice(size_t(fill) * words, words);
}

void PromptStage::finish(Value stage, Value buffer, ValueRange loaded) {
  int64_t ofToken = 1 + tile.minimums;
  ValueRange tokens = loaded.take_back(size_t(tile.tokenFills() * ofToken));
  ofThread([&](const PromptSource &source, const Row &row, int64_t fill) {
    storeWeightScales(source, row, stage, buffer, wordsOf(loaded, fill));
  });
  auto storeTokens = [&] {
    for (int64_t fill = 0; fill < tile.tokenFills(); ++fill) {
      ValueRange own = tokens.slice(size_t(fill * ofToken), size_t(ofToken));
      storeTokenScales(inTile(filledRow(fill)), buffer, own[0]);
      if (tile.minimums)
        storeTokenSums(inTile(filledRow(fill)), buffer, own[0], own[1]);
    }
  };
  if (tile.tokens * tile.groups >= PromptTile::kThreads)
    storeTokens();
  else
    e.ifThen(e.less(filledRow(0).first, e.i64(tile.tokens)), storeTokens);
  wait();
}

void PromptStage::unpack(Value stage, Value buffer, ValueRange loaded) {
  if (!tile.rawPlanes)
    return;
  ofThread([&](const PromptSource &source, const Row &row, int64_t fill) {
    if (codeReader(source).areBytes())
      return;
    Emitter::Values planes;
    for (size_t plane = 0; plane < source.layout->planes.size(); ++plane)
      planes.push_back(e.load(e.i32s(4), rawPlace(fill, int64_t(plane)), 16));
    Emitter::Values codes = codeReader(source).unpack(planes, group(source, stage));
    if (tile.halves)
      codes = halvesOf(source, codes, wordsOf(loaded, fill));
    Value start = e.add(e.mul(buffer, tile.weightCodeBytes()), row.more * tile.weightRowBytes());
    int64_t pieces = int64_t(codes.size()) / 4;
    for (int64_t piece = 0; piece < pieces; ++piece) {
      Value four = vector::FromElementsOp::create(e, e.i32s(4), ValueRange(codes).slice(4 * size_t(piece), 4));
      Value place = tile.weightPlace(e, row.first, e.add(e.mul(groupOfStage, pieces), piece));
      e.store(four, e.at(memory.weightCodes, e.add(start, place)), 16);
    }
  });
}

/// Codes as f16, times the integers of their scales, which are exact up to 2048. Of each four k the first two lie in
/// the first half of 16 k, the others in the second, as products take them from tokens' words of four codes.
Emitter::Values PromptStage::halvesOf(const PromptSource &source, ValueRange codes, ValueRange words) const {
  bool hasFactors = source.layout->group == 16;
  SmallVector<Value> factors = hasFactors ? scaleReader(source).decodeFactors(words).second : SmallVector<Value>();
  Emitter::Values halves;
  for (size_t part = 0; part < 2; ++part) {
    Value factor;
    if (hasFactors) {
      Value scaled = e.mulf(e.toFloat(factors[part]), e.real(e.getF32Type(), 1.0 / (1 << codeReader(source).shift())));
      factor = arith::TruncFOp::create(e, e.getF16Type(), scaled);
    }
    Emitter::Values lower, upper;
    for (Value word : codes.slice(4 * part, 4)) {
      auto [low, high] = emitHalvesOfBytes(e, word, factor);
      lower.push_back(LLVM::BitcastOp::create(e, e.getI32Type(), low));
      upper.push_back(LLVM::BitcastOp::create(e, e.getI32Type(), high));
    }
    halves.append(lower);
    halves.append(upper);
  }
  return halves;
}

void PromptStage::storeWeightScales(const PromptSource &source, const Row &row, Value stage, Value buffer,
                                    ValueRange words) {
  SmallVector<ScalePair> pairs = scaleReader(source).decode(words, group(source, stage));
  bool inCodes = tile.halves && source.layout->group == 16; // what scales are times, and the codes' shift
  double shifted = inCodes ? 1 : double(1 << codeReader(source).shift());
  Value factor = e.real(e.getF32Type(), double(source.layout->factor) / shifted);
  Value number = tile.rowScaleIndex(e, inTile(row)), inBuffers = groupInBuffers(buffer);
  for (int64_t part = 0; part < tile.scalesOfGroup; ++part) {
    Value index = e.add(number, part * tile.rows);
    Value given = inCodes ? scaleReader(source).decodeFactors(words).first : pairs[pairs.size() == 1 ? 0 : part].scale;
    Value scale = e.mulf(given, factor), start = e.mul(inBuffers, tile.weightScaleBytes());
    if (!tile.halves) {
      Value offset = e.mulf(scale, e.real(e.getF32Type(), -PromptProduct::kOffset));
      scale = vector::FromElementsOp::create(e, e.f32s(2), ValueRange{scale, offset});
    }
    int64_t bytes = tile.rowScaleBytes();
    e.store(scale, e.at(memory.weightScales, e.add(e.mul(index, bytes), start)), unsigned(bytes));
  }
  for (int64_t part = 0; tile.minimums && part < tile.minimumsOfGroup; ++part) {
    const ScalePair &pair = pairs[pairs.size() == 1 ? 0 : part];
    Value index = e.add(number, part * tile.rows);
    Value minimum = pair.minimum ? pair.minimum : e.real(e.getF32Type(), 0);
    if (!source.layout->minimumAdded)
      minimum = e.negf(minimum);
    if (tile.factors)
      minimum = emitRowFactor(e, minimum);
    e.store(minimum, e.at(memory.weightMinimums, e.add(e.mul(index, 4), e.mul(inBuffers, tile.minimumBytes()))), 4);
  }
}

void PromptStage::storeTokenScales(Value tileToken, Value buffer, Value scale) {
  Value start = e.mul(groupInBuffers(buffer), tile.tokenScaleBytes());
  e.store(scale, e.at(memory.tokenScales, e.add(e.mul(tile.tokenScaleIndex(e, tileToken), 4), start)), 4);
}

/// Factors lie in the order of tokens.
void PromptStage::storeTokenSums(Value tileToken, Value buffer, Value scale, Value sums) {
  SmallVector<Value> parts = {e.signedShiftRight(e.shiftLeft(sums, 16), 16), e.signedShiftRight(sums, 16)};
  if (tile.minimumsOfGroup == 1)
    parts = {e.add(parts[0], parts[1])};
  Value inGroups = e.mul(groupInBuffers(buffer), tile.sumBytes());
  for (auto [part, sum] : llvm::enumerate(parts)) {
    Value start = e.add(inGroups, int64_t(part) * tile.tokens * tile.tokenSumBytes());
    Value scaled = e.mulf(scale, e.toFloat(sum));
    Value index = tile.factors ? tileToken : tile.tokenScaleIndex(e, tileToken);
    Value place = e.at(memory.tokenSums, e.add(e.mul(index, tile.tokenSumBytes()), start));
    if (tile.factors)
      e.store(emitTokenFactor(e, scaled), place, 16);
    else
      e.store(scaled, place, 4);
  }
}

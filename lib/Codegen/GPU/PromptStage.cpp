// Copies need no registers and are waited for at the end. A thread unpacks what it copied itself, so that it need not
// wait for others.
#include "PromptStage.h"

#include "HalfProducts.h"

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

/// What is not unpacked is copied to where it is multiplied.
bool PromptStage::isUnpacked(const PromptSource &source) const { return tile.halves || !codeReader(source).areBytes(); }

PromptStage::Row PromptStage::filledRow(int64_t fill) const {
  return {tile.filled(e, e.div(operands.thread, tile.groups)), fill * (PromptTile::kThreads / tile.groups)};
}

Value PromptStage::inTile(const Row &row) const { return e.add(row.first, row.more); }

void PromptStage::ofThread(Body body) {
  for (int64_t fill = 0; fill < tile.rowFills(); ++fill)
    ofRow(fill, body);
}

void PromptStage::ofRow(int64_t fill, Body body) {
  Row row = filledRow(fill);
  if (sources.size() == 1)
    return body(sources[0], row, fill);
  e.ifThenElse(
      isOfFirstSegment(row), [&] { body(sources[0], row, fill); }, [&] { body(sources[1], row, fill); });
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

Value PromptStage::rawPlace(Value raw, int64_t fill, int64_t piece) const {
  int64_t number = fill * tile.rawPieces + piece;
  Value place = e.add(e.mul(operands.thread, 16), number * PromptTile::kThreads * 16);
  return e.at(memory.raw, e.add(place, e.mul(raw, tile.rawBytes())));
}

Emitter::Values PromptStage::rawAt(const PromptSource &source, const Row &row, Value stage) const {
  return codeReader(source).piecesAt(weight(source, row), weightRow(row), moreRows(row), group(source, stage));
}

void PromptStage::beginRaw(Value stage, Value raw) {
  if (!tile.rawPieces)
    return;
  ofThread([&](const PromptSource &source, const Row &row, int64_t fill) {
    if (!isUnpacked(source))
      return;
    for (auto [piece, place] : llvm::enumerate(rawAt(source, row, stage)))
      copy(place, rawPlace(raw, fill, int64_t(piece)));
  });
}

void PromptStage::copy(Value from, Value to, Value bytes) {
  if (tile.tensorCores) // where there are none, pointers get their address space later
    from = LLVM::AddrSpaceCastOp::create(e, LLVM::LLVMPointerType::get(e.getContext(), 1), from);
  copyToShared(e, target, from, to, bytes);
}

void PromptStage::wait() {
  endCopies(e, target);
  waitForCopies(e, target, 0);
}

Emitter::Values PromptStage::loadRaw(const PromptSource &source, Value raw, int64_t fill) {
  Emitter::Values pieces;
  for (int64_t piece = 0; piece < CodeReader::pieces(*source.layout); ++piece)
    pieces.push_back(e.load(e.i32s(4), rawPlace(raw, fill, piece), 16));
  return pieces;
}

Emitter::Values PromptStage::ofSource(const Row &row, size_t count, Value zero, Load load) {
  if (sources.size() == 1)
    return load(sources[0]);
  auto padded = [&](const PromptSource &source) {
    Emitter::Values values = load(source);
    values.resize(count, zero);
    return values;
  };
  return e.ifElse(
      isOfFirstSegment(row), [&] { return padded(sources[0]); }, [&] { return padded(sources[1]); });
}

Emitter::Values PromptStage::loadRow(const Row &row, Value stage) {
  Value zero = e.splat(e.number(e.getI32Type(), 0), e.i32s(4));
  return ofSource(row, size_t(tile.rawPieces), zero, [&](const PromptSource &source) {
    Emitter::Values pieces;
    for (Value place : rawAt(source, row, stage))
      pieces.push_back(e.load(e.i32s(4), place, 16));
    return pieces;
  });
}

/// Words, of which no source has more than four.
Emitter::Values PromptStage::loadWeightScales(const Row &row, Value stage) {
  return ofSource(row, 4, e.number(e.getI32Type(), 0), [&](const PromptSource &source) {
    return scaleReader(source).load(weight(source, row), weightRow(row), moreRows(row), group(source, stage));
  });
}

Emitter::Values PromptStage::loadScales(Value stage) {
  Emitter::Values loaded;
  for (int64_t fill = 0; fill < tile.rowFills(); ++fill)
    loaded.append(loadWeightScales(filledRow(fill), stage));
  return loaded;
}

ValueRange PromptStage::wordsOf(ValueRange scales, int64_t fill) const {
  size_t words = scales.size() / size_t(tile.rowFills());
  return scales.slice(size_t(fill) * words, words);
}

void PromptStage::storeCodes(const Row &row, Value buffer, ValueRange words) {
  Value start = e.add(e.mul(buffer, tile.weightCodeBytes()), row.more * tile.weightRowBytes());
  int64_t pieces = int64_t(words.size()) / 4;
  for (int64_t piece = 0; piece < pieces; ++piece) {
    Value four = vector::FromElementsOp::create(e, e.i32s(4), words.slice(4 * size_t(piece), 4));
    Value place = tile.weightPlace(e, row.first, e.add(e.mul(groupOfStage, pieces), piece));
    e.store(four, e.at(memory.weightCodes, e.add(start, place)), 16);
  }
}

// Codes that are whole bytes are copied to where they are multiplied, others are unpacked; scales pass through
// registers, since they are converted on the way.
#include "PromptByteStage.h"

#include "Factors.h"
#include "PromptByteProduct.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

Emitter::Values ByteStage::begin(Value stage, Value buffer) {
  copyTokens(stage, buffer);
  for (const PromptSource &source : sources)
    if (!isUnpacked(source))
      copyBytes(source, stage, buffer);
  Emitter::Values loaded = loadScales(stage);
  loaded.append(loadTokenScales(stage));
  return loaded;
}

/// The number of the thread's group among those of both buffers.
Value ByteStage::groupInBuffers(Value buffer) const { return e.add(e.mul(buffer, tile.groups), groupOfStage); }

/// Neighbouring threads take the bytes of a token.
void ByteStage::copyTokens(Value stage, Value buffer) {
  Value sixteenth = e.rem(operands.thread, e.i64(tile.sixteens()));
  int64_t atOnce = PromptTile::kThreads / tile.sixteens();
  for (int64_t more = 0; more < tile.tokens; more += atOnce) {
    Value first = e.div(operands.thread, tile.sixteens());
    Value from = e.at(operands.codes, e.mul(token(e.add(first, more)), gpuRowWidth(shape.width)));
    from = e.at(from, e.add(e.mul(stage, tile.stage()), e.mul(sixteenth, 16)));
    Value place = e.add(tile.tokenPlace(e, first, sixteenth), more * tile.tokenRowBytes());
    copy(from, e.at(memory.tokenCodes, e.add(e.mul(buffer, tile.tokenCodeBytes()), place)));
  }
}

void ByteStage::copyBytes(const PromptSource &source, Value stage, Value buffer) {
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

Emitter::Values ByteStage::loadTokenScales(Value stage) {
  Emitter::Values loaded;
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

void ByteStage::unpack(Value stage, Value buffer) {
  if (!tile.rawPieces)
    return;
  ofThread([&](const PromptSource &source, const Row &row, int64_t fill) {
    if (isUnpacked(source))
      storeCodes(row, buffer, codeReader(source).unpack(loadRaw(source, e.i64(0), fill), group(source, stage)));
  });
}

void ByteStage::finish(Value stage, Value buffer, ValueRange loaded) {
  size_t ofTokens = size_t(tile.tokenFills() * ofToken());
  ValueRange tokens = loaded.take_back(ofTokens), scales = loaded.drop_back(ofTokens);
  ofThread([&](const PromptSource &source, const Row &row, int64_t fill) {
    auto pairs = scaleReader(source).decode(wordsOf(scales, fill), group(source, stage));
    storeScales(source, row, buffer, pairs);
    if (tile.minimums)
      storeMinimums(source, row, buffer, pairs);
  });
  if (tile.tokens * tile.groups >= PromptTile::kThreads)
    storeTokens(buffer, tokens);
  else
    e.ifThen(e.less(filledRow(0).first, e.i64(tile.tokens)), [&] { storeTokens(buffer, tokens); });
  wait();
}

void ByteStage::storeTokens(Value buffer, ValueRange loaded) {
  for (int64_t fill = 0; fill < tile.tokenFills(); ++fill) {
    ValueRange own = loaded.slice(size_t(fill * ofToken()), size_t(ofToken()));
    storeTokenScales(inTile(filledRow(fill)), buffer, own[0]);
    if (tile.minimums)
      storeTokenSums(inTile(filledRow(fill)), buffer, own[0], own[1]);
  }
}

/// Each with what its product with the integers' offset is.
void ByteStage::storeScales(const PromptSource &source, const Row &row, Value buffer, ArrayRef<ScalePair> pairs) {
  Value factor = e.real(e.getF32Type(), double(source.layout->factor) / double(1 << codeReader(source).shift()));
  Value number = tile.rowScaleIndex(e, inTile(row)), start = e.mul(groupInBuffers(buffer), tile.weightScaleBytes());
  for (int64_t part = 0; part < tile.scalesOfGroup; ++part) {
    Value scale = e.mulf(pairs[pairs.size() == 1 ? 0 : size_t(part)].scale, factor);
    Value offset = e.mulf(scale, e.real(e.getF32Type(), -ByteProduct::kOffset));
    Value both = vector::FromElementsOp::create(e, e.f32s(2), ValueRange{scale, offset});
    Value place = e.add(e.mul(e.add(number, part * tile.rows), PromptTile::kRowScaleBytes), start);
    e.store(both, e.at(memory.weightScales, place), PromptTile::kRowScaleBytes);
  }
}

void ByteStage::storeMinimums(const PromptSource &source, const Row &row, Value buffer, ArrayRef<ScalePair> pairs) {
  Value number = tile.rowScaleIndex(e, inTile(row)), start = e.mul(groupInBuffers(buffer), tile.minimumBytes());
  for (int64_t part = 0; part < tile.scalesOfGroup; ++part) {
    const ScalePair &pair = pairs[pairs.size() == 1 ? 0 : size_t(part)];
    Value minimum = pair.minimum ? pair.minimum : e.real(e.getF32Type(), 0);
    if (!source.layout->minimumAdded)
      minimum = e.negf(minimum);
    if (tile.factors)
      minimum = emitRowFactor(e, minimum);
    e.store(minimum, e.at(memory.weightMinimums, e.add(e.mul(e.add(number, part * tile.rows), 4), start)), 4);
  }
}

void ByteStage::storeTokenScales(Value tileToken, Value buffer, Value scale) {
  Value start = e.mul(groupInBuffers(buffer), tile.tokenScaleBytes());
  e.store(scale, e.at(memory.tokenScales, e.add(e.mul(tile.tokenScaleIndex(e, tileToken), 4), start)), 4);
}

/// Factors lie in the order of tokens.
void ByteStage::storeTokenSums(Value tileToken, Value buffer, Value scale, Value sums) {
  SmallVector<Value> parts = {e.signedShiftRight(e.shiftLeft(sums, 16), 16), e.signedShiftRight(sums, 16)};
  if (tile.scalesOfGroup == 1)
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

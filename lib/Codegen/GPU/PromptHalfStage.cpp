// Numbers in f16 are codes times scales, less minimums. Weights come times kHalvesFactor and activations divided by it,
// so that activations up to 2^20, which a few models have, are finite, and products are what they should be.
#include "PromptHalfStage.h"

#include "ByteOps.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

static_assert(kGpuMostWeight * PromptTile::kHalvesFactor <= 65504, "the greatest f16");

/// Scales of weights; their codes, where registers hold them; then of each piece of tokens its codes and its scale.
Emitter::Values HalfStage::begin(Value stage, Value raw) {
  Emitter::Values loaded = loadScales(stage);
  if (!tile.rawInRegisters())
    beginRaw(stage, raw);
  for (int64_t fill = 0; tile.rawInRegisters() && fill < tile.rowFills(); ++fill)
    loaded.append(loadRow(filledRow(fill), stage));
  int64_t width = gpuRowWidth(shape.width);
  Value inRow = e.add(e.mul(stage, tile.sixteens()), sixteenth());
  for (int64_t piece = 0; piece < tokenPieces(); ++piece) {
    Value row = token(e.add(firstToken(), piece * atOnce()));
    Value codes = e.at(operands.codes, e.add(e.mul(row, width), e.mul(inRow, 16)));
    loaded.push_back(e.load(e.i32s(4), codes, 16));
    Value scale = e.add(e.mul(row, width / 32), e.div(inRow, 2));
    loaded.push_back(e.load(e.getF32Type(), e.at(operands.scales, e.mul(scale, 4)), 4));
  }
  return loaded;
}

void HalfStage::makePiece(int64_t piece, Value stage, Value buffer, ValueRange loaded) {
  size_t ofTokens = size_t(2 * tokenPieces());
  if (piece < tokenPieces()) {
    ValueRange own = loaded.take_back(ofTokens).slice(size_t(2 * piece), 2);
    return makeTokens(piece, buffer, own[0], own[1]);
  }
  size_t ofRows = tile.rawInRegisters() ? size_t(tile.rawPieces * tile.rowFills()) : 0;
  ValueRange scales = loaded.drop_back(ofTokens + ofRows), held = loaded.drop_back(ofTokens).take_back(ofRows);
  ofRow(piece - tokenPieces(), [&](const PromptSource &source, const Row &row, int64_t fill) {
    auto pairs = scaleReader(source).decode(wordsOf(scales, fill), group(source, stage));
    Emitter::Values raw = tile.rawInRegisters()
                              ? Emitter::Values(held.slice(size_t(fill * tile.rawPieces), size_t(tile.rawPieces)))
                              : loadRaw(source, buffer, fill);
    CodeReader reader = codeReader(source);
    storeCodes(row, buffer,
               numbersOf(source, reader.halves(raw, group(source, stage)), reader.halvesFactor(), pairs));
  });
}

/// In f16, for both numbers of a word.
Value HalfStage::rounded(Value number, double factor) const {
  Value half = arith::TruncFOp::create(e, e.getF16Type(), e.mulf(number, e.real(e.getF32Type(), factor)));
  return e.splat(half, e.vec(2, e.getF16Type()));
}

/// Sixteen words of two numbers each, of codes that come times `codeFactor`.
Emitter::Values HalfStage::numbersOf(const PromptSource &source, ValueRange codes, double codeFactor,
                                     ArrayRef<ScalePair> pairs) const {
  constexpr double factor = PromptTile::kHalvesFactor;
  Emitter::Values numbers;
  for (size_t half = 0; half < 2; ++half) {
    const ScalePair &pair = pairs[pairs.size() == 1 ? 0 : half];
    Value scale = rounded(pair.scale, factor * double(source.layout->factor) / codeFactor), minimum;
    if (pair.minimum)
      minimum = rounded(pair.minimum, source.layout->minimumAdded ? factor : -factor);
    for (Value two : codes.slice(8 * half, 8)) {
      Value scaled = minimum ? LLVM::FMAOp::create(e, two, scale, minimum).getResult() : e.mulf(two, scale);
      numbers.push_back(LLVM::BitcastOp::create(e, e.getI32Type(), scaled));
    }
  }
  return numbers;
}

void HalfStage::makeTokens(int64_t piece, Value buffer, Value codes, Value scale) {
  // Codes go up to 127: divided by 128, so that the factor is as far from the least f16 as what comes out.
  constexpr double kCodeFactor = 0x1p-7;
  Value factor = rounded(scale, 1 / kCodeFactor / PromptTile::kHalvesFactor);
  Value start = e.add(e.mul(buffer, tile.tokenCodeBytes()), piece * atOnce() * tile.tokenRowBytes());
  for (int64_t eight = 0; eight < 2; ++eight) {
    Emitter::Values words;
    for (int64_t i = 2 * eight; i < 2 * eight + 2; ++i) {
      for (Value two : emitHalvesOfBytes(e, vector::ExtractOp::create(e, codes, ArrayRef<int64_t>{i}), kCodeFactor))
        words.push_back(LLVM::BitcastOp::create(e, e.getI32Type(), e.mulf(two, factor)));
    }
    Value place = tile.tokenPlace(e, firstToken(), e.add(e.mul(sixteenth(), 2), eight));
    Value four = vector::FromElementsOp::create(e, e.i32s(4), ValueRange(words));
    e.store(four, e.at(memory.tokenCodes, e.add(start, place)), 16);
  }
}

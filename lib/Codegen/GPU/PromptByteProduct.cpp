// Integer dot products start at the bits of the f32 1.5 * 2^23, whose last bit counts ones: what comes out are the bits
// of that number plus the product, as long as it stays within 2^22, which those of 32 bytes do (2^5 * 2^7 * 127). So no
// integer is converted to f32, which the A100 does for 16 numbers a cycle; one fma takes the constant away and scales
// by the weight's scale, with one rounding, since the constant has two bits and times any scale is exact; another
// scales by the token's scale and adds up.
#include "PromptByteProduct.h"

#include "ByteOps.h"
#include "ByteProducts.h"
#include "HalfProducts.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

constexpr int32_t kOffsetBits = 0x4b400000;

ByteProduct::ByteProduct(Emitter &e, const GpuTarget &target, const PromptTile &tile, const PromptMemory &memory,
                         const PromptLanes &lanes)
    : e(e), target(target), tile(tile), memory(memory), lanes(lanes), fragments(e, lanes.lane) {}

/// Four matrices of 8 rows of 16 bytes: word c of row r of each for lane 4 r + c.
static Emitter::Values loadWordMatrices(Emitter &e, Value address) {
  Emitter::Values words = loadMatrices(e, address, /*transposed=*/false);
  for (Value &word : words)
    word = LLVM::BitcastOp::create(e, e.getI32Type(), word);
  return words;
}

void ByteProduct::addGroup(Value buffer, Value group, MutableArrayRef<Value> sums) {
  TokenGroup tokens = loadTokens(buffer, group);
  for (int64_t i = 0; i < tile.sixteenRows(); ++i)
    addRows(lanes.sumsOf(sums, i), buffer, group, i, tokens);
  // After all else, since registers do not do for both.
  for (int64_t part = 0; tile.minimums && part < tile.scalesOfGroup; ++part)
    addMinimums(groupInBuffers(buffer, group), part, sums);
}

static Emitter::Values loadVector(Emitter &e, Type element, Value pointer, int64_t count) {
  Emitter::Values numbers;
  int64_t atOnce = std::min<int64_t>(count, 4);
  for (int64_t from = 0; from < count; from += atOnce) {
    Value some = e.load(e.vec(atOnce, element), e.at(pointer, from * 4), unsigned(4 * atOnce));
    for (int64_t i = 0; i < atOnce; ++i)
      numbers.push_back(vector::ExtractOp::create(e, some, ArrayRef<int64_t>{i}));
  }
  return numbers;
}

static Emitter::Values loadFloats(Emitter &e, Value pointer, int64_t count) {
  return loadVector(e, e.getF32Type(), pointer, count);
}

static Emitter::Values loadWords(Emitter &e, Value pointer, int64_t count) {
  return loadVector(e, e.getI32Type(), pointer, count);
}

/// Of what begins at byte `start` of `memory` for a group: two pairs of each 16 tokens.
Emitter::Values ByteProduct::loadTokenScales(Value memory, Value start) {
  Emitter::Values scales;
  Value place = e.add(e.mul(lanes.warpToken, tile.warpTokens * 4), e.add(e.mul(lanes.tokenOfLane, 8), start));
  for (int64_t from = 0; from < tile.warpTokens; from += 16)
    scales.append(loadFloats(e, e.at(memory, e.add(place, from * 4)), 4));
  return scales;
}

/// A word for each eight tokens.
Emitter::Values ByteProduct::loadTokenFactors(Value start) {
  Value place = e.add(e.mul(e.add(e.mul(lanes.warpToken, tile.warpTokens), lanes.lane), tile.tokenSumBytes()), start);
  Emitter::Values factors;
  for (int64_t from = 0; from < tile.warpTokens; from += 32)
    factors.append(loadWordMatrices(e, e.at(memory.tokenSums, e.add(place, from * tile.tokenSumBytes()))));
  return factors;
}

/// The eight words that a row of codes has of a group.
Emitter::Values ByteProduct::loadCodes(Value codes, Value row, Value group) {
  Emitter::Values words;
  for (int64_t half = 0; half < 2; ++half) {
    Value place = tile.tokenPlace(e, row, e.add(e.mul(group, 2), half)); // rows of weights lie alike
    words.append(loadWords(e, e.at(codes, place), 4));
  }
  return words;
}

Value ByteProduct::groupInBuffers(Value buffer, Value group) { return e.add(e.mul(buffer, tile.groups), group); }

Emitter::Values ByteProduct::loadTokenCodes(Value buffer, Value group) {
  Emitter::Values words;
  if (tile.tensorCores) {
    for (int64_t from = 0; from < tile.warpTokens; from += 16)
      words.append(loadWordMatrices(e, lanes.placeOfTokens(buffer, e.mul(group, 2), from)));
    return words;
  }
  Value first = e.mul(lanes.warpToken, tile.warpTokens), start = e.mul(buffer, tile.tokenCodeBytes());
  for (int64_t i = 0; i < 2 * tile.eightTokens(); ++i) {
    Value token = e.add(e.add(first, lanes.tokenOfLane), i / 2 * 8 + i % 2);
    words.append(loadCodes(e.at(memory.tokenCodes, start), token, group));
  }
  return words;
}

ByteProduct::TokenGroup ByteProduct::loadTokens(Value buffer, Value group) {
  TokenGroup tokens;
  tokens.codes = loadTokenCodes(buffer, group);
  tokens.scales = loadTokenScales(memory.tokenScales, e.mul(groupInBuffers(buffer, group), tile.tokenScaleBytes()));
  return tokens;
}

/// The fragment of 16 rows by 32 k, or the codes of the lane's two rows.
Emitter::Values ByteProduct::loadRows(Value buffer, Value group, int64_t sixteenRows) {
  if (tile.tensorCores)
    return loadWordMatrices(e, lanes.placeOfRows(buffer, e.mul(group, 2), sixteenRows));
  Value codes = e.at(memory.weightCodes, e.mul(buffer, tile.weightCodeBytes()));
  Value row = e.add(tile.warpRow(e, lanes.warpRow, sixteenRows), lanes.rowOfLane);
  Emitter::Values words = loadCodes(codes, row, group);
  words.append(loadCodes(codes, e.add(row, 8), group));
  return words;
}

/// The number, among all of a part of the scales, of the first of the lane's two rows of the 16.
Value ByteProduct::rowScale(int64_t part, int64_t sixteenRows) {
  Value index = e.add(e.mul(lanes.warpRow, PromptTile::kWarpRows), e.mul(lanes.rowOfLane, 2));
  return e.add(index, part * tile.rows + 16 * sixteenRows);
}

/// Of the lane's two rows of the 16: a scale each, with its offset.
Emitter::Values ByteProduct::loadRowScales(Value inBuffers, int64_t part, int64_t sixteenRows) {
  constexpr int64_t kBytes = PromptTile::kRowScaleBytes;
  Value place = e.add(e.mul(rowScale(part, sixteenRows), kBytes), e.mul(inBuffers, tile.weightScaleBytes()));
  return loadFloats(e, e.at(memory.weightScales, place), kBytes / 2);
}

/// The same for minimums; factors where they are multiplied so.
Emitter::Values ByteProduct::loadRowMinimums(Value inBuffers, int64_t part, int64_t sixteenRows) {
  Value place = e.add(e.mul(rowScale(part, sixteenRows), 4), e.mul(inBuffers, tile.minimumBytes()));
  if (!tile.factors)
    return loadFloats(e, e.at(memory.weightMinimums, place), 2);
  Emitter::Values factors;
  for (Value parts : loadWords(e, e.at(memory.weightMinimums, place), 2))
    factors.push_back(fragments.ofRow(parts));
  return factors;
}

/// The products, plus the offset, of the k that part `part` of the scales is for.
Emitter::Values ByteProduct::multiply(ValueRange rows, ValueRange tokens, int64_t part) {
  int64_t parts = tile.scalesOfGroup;
  Emitter::Values products(4, e.number(e.getI32Type(), kOffsetBits));
  if (tile.tensorCores) {
    size_t words = size_t(2 / parts), first = words * size_t(part);
    return emitByteProduct(e, target, rows.slice(2 * first, 2 * words), tokens.slice(first, words), products);
  }
  for (int64_t i = 0; i < 4; ++i)
    for (int64_t word = 8 / parts * part; word < 8 / parts * (part + 1); ++word)
      products[i] = emitByteDot(e, rows[i / 2 * 8 + word], /*codesSigned=*/true, tokens[i % 2 * 8 + word], products[i]);
  return products;
}

/// `sums`: those of these rows and all tokens of the warp.
void ByteProduct::addRows(MutableArrayRef<Value> sums, Value buffer, Value group, int64_t sixteenRows,
                          const TokenGroup &tokens) {
  Emitter::Values codes = loadRows(buffer, group, sixteenRows);
  size_t words = tokens.codes.size() / tile.eightTokens();
  for (int64_t part = 0; part < tile.scalesOfGroup; ++part) {
    Emitter::Values scales = loadRowScales(groupInBuffers(buffer, group), part, sixteenRows);
    for (int64_t i = 0; i < tile.eightTokens(); ++i) {
      ValueRange ofTokens = ValueRange(tokens.codes).slice(i * words, words);
      Emitter::Values products = multiply(codes, ofTokens, part);
      addScaled(sums.slice(4 * i, 4), products, scales, ValueRange(tokens.scales).slice(2 * i, 2));
    }
  }
}

/// Of two rows, for two tokens each.
void ByteProduct::addScaled(MutableArrayRef<Value> sums, ValueRange products, ValueRange rowScales,
                            ValueRange tokenScales) {
  for (auto [i, sum] : llvm::enumerate(sums)) {
    Value product = arith::BitcastOp::create(e, e.getF32Type(), products[i]);
    Value scale = rowScales[i / 2 * 2], scaled;
    if (tile.wideScales)
      scaled = e.mulf(e.subf(product, e.real(e.getF32Type(), kOffset)), scale);
    else
      scaled = e.fma(product, scale, rowScales[i / 2 * 2 + 1]);
    sum = e.fma(scaled, tokenScales[i % 2], sum);
  }
}

/// Of all rows and tokens.
void ByteProduct::addMinimums(Value inBuffers, int64_t part, MutableArrayRef<Value> sums) {
  Value start = e.add(e.mul(inBuffers, tile.sumBytes()), part * tile.tokens * tile.tokenSumBytes());
  Emitter::Values tokenSums = tile.factors ? loadTokenFactors(start) : loadTokenScales(memory.tokenSums, start);
  for (int64_t row = 0; row < tile.sixteenRows(); ++row) {
    Emitter::Values minimums = loadRowMinimums(inBuffers, part, row);
    for (int64_t i = 0; i < tile.eightTokens(); ++i) {
      MutableArrayRef<Value> own = lanes.sumsOf(sums, row).slice(size_t(4 * i), 4);
      if (tile.factors)
        llvm::copy(emitBfloatProduct(e, minimums, tokenSums[i], ValueRange(Emitter::Values(own))), own.begin());
      else
        for (auto [j, sum] : llvm::enumerate(own))
          sum = e.fma(minimums[j / 2], tokenSums[2 * i + j % 2], sum);
    }
  }
}

// Integer dot products start at the bits of the f32 1.5 * 2^23, whose last bit counts ones: what comes out are the bits
// of that number plus the product, as long as it stays within 2^22, which those of 32 bytes do (2^5 * 2^7 * 127). So no
// integer is converted to f32, which the A100 does for 16 numbers a cycle; one fma takes the constant away and scales
// by the weight's scale, with one rounding, since the constant has two bits and times any scale is exact; another
// scales by the token's scale and adds up.
#include "PromptProduct.h"

#include "ByteOps.h"
#include "ByteProducts.h"
#include "HalfProducts.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

constexpr int32_t kOffsetBits = 0x4b400000;

struct PromptProduct::TokenGroup {
  Emitter::Values codes;   ///< of each eight tokens the fragment's two words, or all eight of the lane's two tokens
  Emitter::Values scales;  ///< of two tokens of each eight
  Emitter::Values sums[2]; ///< scaled, for each scale of the weights: of two tokens of each eight, or a factor of each
};

PromptProduct::PromptProduct(Emitter &e, const GpuTarget &target, const PromptTile &tile, const PromptMemory &memory,
                             Value thread)
    : e(e), target(target), tile(tile), memory(memory), lane(e.rem(thread, e.i64(32))), fragments(e, lane) {
  Value warp = e.div(thread, 32), part = e.rem(warp, e.i64(tile.parts()));
  share = tile.split() == 1 ? e.i64(0) : e.div(warp, tile.parts());
  warpRow = e.div(part, tile.warpsOfTokens());
  warpToken = e.rem(part, e.i64(tile.warpsOfTokens()));
  rowOfLane = e.div(lane, 4);
  tokenOfLane = e.mul(e.rem(lane, e.i64(4)), 2);
}

/// Four matrices of 8 rows of 16 bytes: word c of row r of each for lane 4 r + c.
static Emitter::Values loadWordMatrices(Emitter &e, Value address) {
  Emitter::Values words = loadMatrices(e, address, /*transposed=*/false);
  for (Value &word : words)
    word = LLVM::BitcastOp::create(e, e.getI32Type(), word);
  return words;
}

void PromptProduct::addGroup(Value buffer, Value group, MutableArrayRef<Value> sums) {
  TokenGroup tokens = loadTokens(buffer, group);
  for (int64_t i = 0; i < kSixteenRows; ++i)
    addRows(sums.slice(i * kEightTokens * 4, kEightTokens * 4), buffer, group, i, tokens);
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

Emitter::Values PromptProduct::loadFloats(Value pointer, int64_t count) {
  return loadVector(e, e.getF32Type(), pointer, count);
}

Emitter::Values PromptProduct::loadWords(Value pointer, int64_t count) {
  return loadVector(e, e.getI32Type(), pointer, count);
}

/// `number`: of the scales that a token has in the stage that starts at byte `start`.
Emitter::Values PromptProduct::loadTokenScales(Value memory, Value start, Value number) {
  Value place = e.add(e.mul(warpToken, PromptTile::kWarpTokens * 4), e.mul(tokenOfLane, PromptTile::kWarpTokens / 2));
  place = e.add(e.add(place, start), e.mul(number, tile.tokens * 4));
  return loadFloats(e.at(memory, place), 2 * kEightTokens);
}

/// A word for each eight tokens.
Emitter::Values PromptProduct::loadTokenFactors(Value start, Value number) {
  Value token = e.add(e.mul(warpToken, PromptTile::kWarpTokens), rowOfLane);
  Value place = e.add(e.add(e.mul(token, 8), start), e.mul(number, tile.tokens * 8));
  Emitter::Values factors;
  for (int64_t eight = 0; eight < kEightTokens; ++eight) {
    Emitter::Values parts = loadWords(e.at(memory.tokenSums, e.add(place, eight * 8 * 8)), 2);
    factors.push_back(fragments.ofToken(parts[0], parts[1]));
  }
  return factors;
}

/// The eight words that a row of codes has of a group.
Emitter::Values PromptProduct::loadCodes(Value codes, Value row, Value group) {
  Emitter::Values words;
  for (int64_t half = 0; half < 2; ++half) {
    Value place = tile.codePlace(e, row, e.add(e.mul(group, 2), half));
    words.append(loadWords(e.at(codes, place), 4));
  }
  return words;
}

Emitter::Values PromptProduct::loadTokenCodes(Value buffer, Value group) {
  Emitter::Values words;
  Value first = e.mul(warpToken, PromptTile::kWarpTokens), start = e.mul(buffer, tile.tokenCodeBytes());
  if (!tile.tensorCores) {
    for (int64_t i = 0; i < 2 * kEightTokens; ++i) {
      Value token = e.add(e.add(first, tokenOfLane), i / 2 * 8 + i % 2);
      words.append(loadCodes(e.at(memory.tokenCodes, start), token, group));
    }
    return words;
  }
  // Of 16 tokens both halves of the first eight, then those of the others.
  Value ofSixteen = e.add(e.mul(e.div(lane, 16), 8), e.rem(lane, e.i64(8))), half = e.rem(e.div(lane, 8), e.i64(2));
  for (int64_t from = 0; from < PromptTile::kWarpTokens; from += 16) {
    Value place = tile.codePlace(e, e.add(e.add(first, from), ofSixteen), e.add(half, e.mul(group, 2)));
    words.append(loadWordMatrices(e, e.at(memory.tokenCodes, e.add(start, place))));
  }
  return words;
}

PromptProduct::TokenGroup PromptProduct::loadTokens(Value buffer, Value group) {
  TokenGroup tokens;
  tokens.codes = loadTokenCodes(buffer, group);
  tokens.scales = loadTokenScales(memory.tokenScales, e.mul(buffer, tile.tokenScaleBytes()), group);
  for (int64_t part = 0; tile.minimums && part < tile.scalesOfGroup; ++part) {
    Value startOfSums = e.mul(buffer, tile.sumBytes());
    Value number = e.add(e.mul(group, tile.scalesOfGroup), part);
    tokens.sums[part] =
        tile.factors ? loadTokenFactors(startOfSums, number) : loadTokenScales(memory.tokenSums, startOfSums, number);
  }
  return tokens;
}

/// The fragment of 16 rows by 32 k, or the codes of the lane's two rows.
Emitter::Values PromptProduct::loadRows(Value buffer, Value group, int64_t sixteenRows) {
  Value codes = e.at(memory.weightCodes, e.mul(buffer, tile.weightCodeBytes()));
  if (!tile.tensorCores) {
    Value row = e.add(tile.warpRow(e, warpRow, sixteenRows), rowOfLane);
    Emitter::Values words = loadCodes(codes, row, group);
    words.append(loadCodes(codes, e.add(row, 8), group));
    return words;
  }
  Value row = e.add(tile.warpRow(e, warpRow, sixteenRows), e.rem(lane, e.i64(16)));
  Value place = tile.codePlace(e, row, e.add(e.div(lane, 16), e.mul(group, 2)));
  return loadWordMatrices(e, e.at(codes, place));
}

/// Of the lane's two rows of the 16: scale and offset each, and minimums; factors where they are multiplied so.
PromptProduct::RowScales PromptProduct::loadRowScales(Value buffer, Value number, int64_t sixteenRows) {
  Value index = e.add(e.mul(warpRow, PromptTile::kWarpRows), e.mul(rowOfLane, PromptTile::kWarpRows / 8));
  index = e.add(e.add(index, e.mul(number, tile.rows)), 2 * sixteenRows);
  Value place = e.add(e.mul(index, 8), e.mul(buffer, tile.weightScaleBytes()));
  RowScales rows{loadFloats(e.at(memory.weightScales, place), 4), {}};
  if (!tile.minimums)
    return rows;
  Value minimums = e.at(memory.weightMinimums, e.add(e.mul(index, 4), e.mul(buffer, tile.minimumBytes())));
  if (!tile.factors)
    rows.minimums = loadFloats(minimums, 2);
  else
    for (Value parts : loadWords(minimums, 2))
      rows.minimums.push_back(fragments.ofRow(parts));
  return rows;
}

/// The products, plus the offset, of part `part` of `parts` of the k.
Emitter::Values PromptProduct::multiply(ValueRange rows, ValueRange tokens, int64_t part, int64_t parts) {
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
void PromptProduct::addRows(MutableArrayRef<Value> sums, Value buffer, Value group, int64_t sixteenRows,
                            const TokenGroup &tokens) {
  Emitter::Values codes = loadRows(buffer, group, sixteenRows);
  size_t words = tokens.codes.size() / kEightTokens;
  for (int64_t part = 0; part < tile.scalesOfGroup; ++part) {
    RowScales rows = loadRowScales(buffer, e.add(e.mul(group, tile.scalesOfGroup), part), sixteenRows);
    for (int64_t i = 0; i < kEightTokens; ++i) {
      Emitter::Values products =
          multiply(codes, ValueRange(tokens.codes).slice(i * words, words), part, tile.scalesOfGroup);
      addScaled(sums.slice(4 * i, 4), products, rows, ValueRange(tokens.scales).slice(2 * i, 2));
      if (tile.minimums)
        addMinimums(sums.slice(4 * i, 4), rows, tokens.sums[part], i);
    }
  }
}

/// Of two rows, for two tokens each.
void PromptProduct::addScaled(MutableArrayRef<Value> sums, ValueRange products, const RowScales &rows,
                              ValueRange tokenScales) {
  for (auto [i, sum] : llvm::enumerate(sums)) {
    Value product = arith::BitcastOp::create(e, e.getF32Type(), products[i]);
    Value scale = rows.scales[i / 2 * 2], scaled;
    if (tile.wideScales)
      scaled = e.mulf(e.subf(product, e.real(e.getF32Type(), kOffset)), scale);
    else
      scaled = e.fma(product, scale, rows.scales[i / 2 * 2 + 1]);
    sum = e.fma(scaled, tokenScales[i % 2], sum);
  }
}

void PromptProduct::addMinimums(MutableArrayRef<Value> sums, const RowScales &rows, ValueRange tokenSums,
                                int64_t eightTokens) {
  if (tile.factors) {
    llvm::copy(emitBfloatProduct(e, rows.minimums, tokenSums[eightTokens], ValueRange(Emitter::Values(sums))),
               sums.begin());
    return;
  }
  for (auto [i, sum] : llvm::enumerate(sums))
    sum = e.fma(rows.minimums[i / 2], tokenSums[2 * eightTokens + i % 2], sum);
}

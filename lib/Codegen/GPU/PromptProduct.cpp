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
  Emitter::Values codes;  ///< of each eight tokens the fragment's two words, or all eight of the lane's two tokens
  Emitter::Values scales; ///< of two tokens of each eight
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
  if (tile.halves) {
    addHalves(buffer, group, sums);
  } else {
    TokenGroup tokens = loadTokens(buffer, group);
    for (int64_t i = 0; i < tile.sixteenRows(); ++i)
      addRows(sumsOf(sums, i), buffer, group, i, tokens);
  }
  // After all else, since registers do not do for both.
  for (int64_t part = 0; tile.minimums && part < tile.minimumsOfGroup; ++part)
    addMinimums(groupInBuffers(buffer, group), part, sums);
}

/// Those of the warp's `sixteenRows`-th 16 rows.
MutableArrayRef<Value> PromptProduct::sumsOf(MutableArrayRef<Value> sums, int64_t sixteenRows) {
  return sums.slice(size_t(sixteenRows * tile.eightTokens() * 4), size_t(tile.eightTokens() * 4));
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

/// Of what begins at byte `start` of `memory` for a group: two pairs of each 16 tokens.
Emitter::Values PromptProduct::loadTokenScales(Value memory, Value start) {
  Emitter::Values scales;
  for (int64_t from = 0; from < tile.warpTokens; from += 16)
    scales.append(loadSixteenScales(memory, start, from));
  return scales;
}

Emitter::Values PromptProduct::loadSixteenScales(Value memory, Value start, int64_t from) {
  Value place = e.add(e.mul(warpToken, tile.warpTokens * 4), e.add(e.mul(tokenOfLane, 8), start));
  return loadFloats(e.at(memory, e.add(place, from * 4)), 4);
}

/// A word for each eight tokens.
Emitter::Values PromptProduct::loadTokenFactors(Value start) {
  Value place = e.add(e.mul(e.add(e.mul(warpToken, tile.warpTokens), lane), tile.tokenSumBytes()), start);
  Emitter::Values factors;
  for (int64_t from = 0; from < tile.warpTokens; from += 32)
    factors.append(loadWordMatrices(e, e.at(memory.tokenSums, e.add(place, from * tile.tokenSumBytes()))));
  return factors;
}

/// The eight words that a row of codes has of a group.
Emitter::Values PromptProduct::loadCodes(Value codes, Value row, Value group) {
  Emitter::Values words;
  for (int64_t half = 0; half < 2; ++half) {
    Value place = tile.tokenPlace(e, row, e.add(e.mul(group, 2), half)); // rows of weights lie alike
    words.append(loadWords(e.at(codes, place), 4));
  }
  return words;
}

Value PromptProduct::groupInBuffers(Value buffer, Value group) { return e.add(e.mul(buffer, tile.groups), group); }

Emitter::Values PromptProduct::loadTokenCodes(Value buffer, Value group) {
  Emitter::Values words;
  Value first = e.mul(warpToken, tile.warpTokens), start = e.mul(buffer, tile.tokenCodeBytes());
  if (!tile.tensorCores) {
    for (int64_t i = 0; i < 2 * tile.eightTokens(); ++i) {
      Value token = e.add(e.add(first, tokenOfLane), i / 2 * 8 + i % 2);
      words.append(loadCodes(e.at(memory.tokenCodes, start), token, group));
    }
    return words;
  }
  for (int64_t from = 0; from < tile.warpTokens; from += 16)
    words.append(loadSixteenTokens(buffer, group, from));
  return words;
}

/// Fragments of 16 tokens: both halves of the first eight, then those of the others.
Emitter::Values PromptProduct::loadSixteenTokens(Value buffer, Value group, int64_t from) {
  Value ofSixteen = e.add(e.mul(e.div(lane, 16), 8), e.rem(lane, e.i64(8))), half = e.rem(e.div(lane, 8), e.i64(2));
  Value token = e.add(e.mul(warpToken, tile.warpTokens), e.add(ofSixteen, from));
  Value place = tile.tokenPlace(e, token, e.add(half, e.mul(group, 2)));
  return loadWordMatrices(e, e.at(memory.tokenCodes, e.add(e.mul(buffer, tile.tokenCodeBytes()), place)));
}

Emitter::Values PromptProduct::halvesOf(ValueRange words) {
  Emitter::Values halves;
  for (Value word : words) {
    auto [low, high] = emitHalvesOfBytes(e, word);
    halves.append({low, high});
  }
  return halves;
}

PromptProduct::TokenGroup PromptProduct::loadTokens(Value buffer, Value group) {
  TokenGroup tokens;
  tokens.codes = loadTokenCodes(buffer, group);
  tokens.scales = loadTokenScales(memory.tokenScales, e.mul(groupInBuffers(buffer, group), tile.tokenScaleBytes()));
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
  int64_t pieces = tile.halves ? 4 : 2; // of 16 bytes of a group, each lane the address of every other
  Emitter::Values words;
  for (int64_t from = 0; from < pieces; from += 2) {
    Value place = e.at(codes, tile.weightPlace(e, row, e.add(e.add(e.div(lane, 16), from), e.mul(group, pieces))));
    words.append(tile.halves ? loadMatrices(e, place, /*transposed=*/false) : loadWordMatrices(e, place));
  }
  return words;
}

/// The number, among all of a part of the scales, of the first of the lane's two rows of the 16.
Value PromptProduct::rowScale(int64_t part, int64_t sixteenRows) {
  Value index = e.add(e.mul(warpRow, PromptTile::kWarpRows), e.mul(rowOfLane, 2));
  return e.add(index, part * tile.rows + 16 * sixteenRows);
}

/// Of the lane's two rows of the 16: a scale each, of integers with an offset.
Emitter::Values PromptProduct::loadRowScales(Value inBuffers, int64_t part, int64_t sixteenRows) {
  int64_t bytes = tile.rowScaleBytes();
  Value place = e.add(e.mul(rowScale(part, sixteenRows), bytes), e.mul(inBuffers, tile.weightScaleBytes()));
  return loadFloats(e.at(memory.weightScales, place), bytes / 2);
}

/// The same for minimums; factors where they are multiplied so.
Emitter::Values PromptProduct::loadRowMinimums(Value inBuffers, int64_t part, int64_t sixteenRows) {
  Value place = e.add(e.mul(rowScale(part, sixteenRows), 4), e.mul(inBuffers, tile.minimumBytes()));
  if (!tile.factors)
    return loadFloats(e.at(memory.weightMinimums, place), 2);
  Emitter::Values factors;
  for (Value parts : loadWords(e.at(memory.weightMinimums, place), 2))
    factors.push_back(fragments.ofRow(parts));
  return factors;
}

/// The products of all k, as f32.
Emitter::Values PromptProduct::multiplyHalves(ValueRange rows, ValueRange tokens) {
  Emitter::Values products(4, e.real(e.getF32Type(), 0));
  for (size_t sixteen = 0; sixteen < 2; ++sixteen)
    products = emitHalfProduct(e, target, rows.slice(4 * sixteen, 4), tokens.slice(2 * sixteen, 2), products);
  return products;
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
  size_t words = tokens.codes.size() / tile.eightTokens();
  for (int64_t part = 0; part < tile.scalesOfGroup; ++part) {
    Emitter::Values scales = loadRowScales(groupInBuffers(buffer, group), part, sixteenRows);
    for (int64_t i = 0; i < tile.eightTokens(); ++i) {
      ValueRange ofTokens = ValueRange(tokens.codes).slice(i * words, words);
      Emitter::Values products = multiply(codes, ofTokens, part, tile.scalesOfGroup);
      addScaled(sums.slice(4 * i, 4), products, scales, ValueRange(tokens.scales).slice(2 * i, 2));
    }
  }
}

/// Tokens become f16 once, for all rows. A loop over groups leaves registers for 16 of them at a time.
void PromptProduct::addHalves(Value buffer, Value group, MutableArrayRef<Value> sums) {
  Value inBuffers = groupInBuffers(buffer, group), start = e.mul(inBuffers, tile.tokenScaleBytes());
  std::vector<Emitter::Values> codes, scales;
  for (int64_t i = 0; i < tile.sixteenRows(); ++i) {
    codes.push_back(loadRows(buffer, group, i));
    scales.push_back(loadRowScales(inBuffers, /*part=*/0, i));
  }
  int64_t atOnce = tile.groups > tile.split() ? 16 : tile.warpTokens;
  for (int64_t first = 0; first < tile.warpTokens; first += atOnce) {
    Emitter::Values tokens, tokenScales;
    for (int64_t from = first; from < first + atOnce; from += 16) {
      tokens.append(halvesOf(loadSixteenTokens(buffer, group, from)));
      tokenScales.append(loadSixteenScales(memory.tokenScales, start, from));
    }
    for (size_t i = 0; i < codes.size(); ++i)
      for (size_t eight = 0; eight < size_t(atOnce) / 8; ++eight) {
        Emitter::Values products = multiplyHalves(codes[i], ValueRange(tokens).slice(4 * eight, 4));
        addScaled(sumsOf(sums, int64_t(i)).slice(4 * (size_t(first) / 8 + eight), 4), products, scales[i],
                  ValueRange(tokenScales).slice(2 * eight, 2));
      }
  }
}

/// Of two rows, for two tokens each.
void PromptProduct::addScaled(MutableArrayRef<Value> sums, ValueRange products, ValueRange rowScales,
                              ValueRange tokenScales) {
  for (auto [i, sum] : llvm::enumerate(sums)) {
    Value product = arith::BitcastOp::create(e, e.getF32Type(), products[i]);
    Value scale = rowScales[tile.halves ? i / 2 : i / 2 * 2], scaled;
    if (tile.halves)
      scaled = e.mulf(product, scale);
    else if (tile.wideScales)
      scaled = e.mulf(e.subf(product, e.real(e.getF32Type(), kOffset)), scale);
    else
      scaled = e.fma(product, scale, rowScales[i / 2 * 2 + 1]);
    sum = e.fma(scaled, tokenScales[i % 2], sum);
  }
}

/// Of all rows and tokens.
void PromptProduct::addMinimums(Value inBuffers, int64_t part, MutableArrayRef<Value> sums) {
  Value start = e.add(e.mul(inBuffers, tile.sumBytes()), part * tile.tokens * tile.tokenSumBytes());
  Emitter::Values tokenSums = tile.factors ? loadTokenFactors(start) : loadTokenScales(memory.tokenSums, start);
  for (int64_t row = 0; row < tile.sixteenRows(); ++row) {
    Emitter::Values minimums = loadRowMinimums(inBuffers, part, row);
    for (int64_t i = 0; i < tile.eightTokens(); ++i) {
      MutableArrayRef<Value> own = sumsOf(sums, row).slice(size_t(4 * i), 4);
      if (tile.factors)
        llvm::copy(emitBfloatProduct(e, minimums, tokenSums[i], ValueRange(Emitter::Values(own))), own.begin());
      else
        for (auto [j, sum] : llvm::enumerate(own))
          sum = e.fma(minimums[j / 2], tokenSums[2 * i + j % 2], sum);
    }
  }
}

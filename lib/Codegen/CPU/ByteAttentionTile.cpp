// Tiles of a q8_0 cache (see CacheLayout.h): products of bytes in both halves of attention.
//
// A query becomes whole numbers q of up to 127 * 128 in groups of 32 with a scale, and q = 128 * high + low, each digit
// a signed byte. A weight times the scale of its value becomes a whole number of up to 128 * 128 - 1 for each tile and
// group of values, in two digits below 128. So all products are exact sums of products of bytes.
#include "AttentionTile.h"
#include "dialects/DQ/DQ.h"

using namespace mlir;
using namespace quern::codegen;

static constexpr int64_t kDigits = kByteAttentionDigits, kDigitBits = 7;
static constexpr double kQueryLimit = 127 * 128, kWeightLimit = 128 * 128 - 1;

static int64_t wholeLines(int64_t bytes) { return (bytes + 63) / 64 * 64; }

// Shares of the scales, the groups' units, and the codes of the weights.
int64_t ByteGroup::workBytes(const CacheLayout &layout, int64_t count) {
  return layout.groups() * kKeyTile * 4 + wholeLines(layout.groups() * 4) +
         layout.groups() * count * kDigits * kKeyTile;
}

int64_t ByteGroup::headQueryBytes(const CacheLayout &layout) {
  return wholeLines(layout.groups() * (kDigits * kCacheGroup + 2 * 4));
}

Value ByteGroup::queryScale(Value queries, int64_t head, Value group) {
  return e.at(e.at(queries, head * headQueryBytes(layout) + kDigits * digitBytes()), e.mul(group, 4));
}

Value ByteGroup::queryCorrection(Value queries, int64_t head, Value group) {
  return e.at(queryScale(queries, head, group), layout.groups() * 4);
}

Value ByteGroup::codes(int64_t group, int64_t head, int64_t digit) {
  return e.at(units(), wholeLines(layout.groups() * 4) + ((group * count + head) * kDigits + digit) * kKeyTile);
}

void ByteGroup::prepare(Value queries, Value prepared) {
  e.loop(e.i64(0), e.i64(count), e.i64(1), [&](Value head) {
    Value from = e.at(queries, e.mul(head, shape.headDim * 4));
    Value to = e.at(prepared, e.mul(head, headQueryBytes(layout)));
    for (int64_t group = 0; group < layout.groups(); ++group) {
      Values x;
      for (int64_t d = group * kCacheGroup; d < std::min((group + 1) * kCacheGroup, shape.headDim); d += 16)
        x.push_back(e.load(e.f32s(), e.at(from, d * 4), 4));
      QuantizedGroup quantized = emitQuantizeGroup(e, x, kQueryLimit);
      Value sum = e.number(e.i32s(), 0);
      for (auto [part, code] : llvm::enumerate(quantized.codes)) {
        Value half = e.number(code.getType(), 1 << (kDigitBits - 1));
        Value high = e.signedShiftRight(e.add(code, half), kDigitBits);
        Value low = e.sub(code, e.shiftLeft(high, kDigitBits));
        Value place = e.at(to, group * kCacheGroup + int64_t(part) * 16);
        e.store(arith::TruncIOp::create(e, e.i8s(16), high), place, 16);
        e.store(arith::TruncIOp::create(e, e.i8s(16), low), e.at(place, digitBytes()), 16);
        sum = e.add(sum, code);
      }
      Value index = e.i64(group);
      e.store(quantized.scale, queryScale(to, 0, index), 4);
      // What the 128 that unsigned keys have too much add to a dot product.
      e.store(e.mul(e.treeSum(sum), e.number(e.getI32Type(), -128)), queryCorrection(to, 0, index), 4);
    }
  });
}

/// Adds a group's part to the scores of 16 keys; `lines` of four elements.
Emitter::Values ByteGroup::scoreGroup(Value queries, Value tile, Value at, Value group, int64_t lines,
                                      ValueRange scores) {
  Values high(count, e.number(e.i32s(), 0)), low;
  for (int64_t r = 0; r < count; ++r)
    low.push_back(signedCodes ? e.number(e.i32s(), 0)
                              : e.splat(e.load(e.getI32Type(), queryCorrection(queries, r, group), 4), e.i32s()));
  Value block = e.at(e.at(tile, e.mul(at, shape.headDim)), e.mul(group, kCacheGroup * kKeyBlock));
  Value query = e.at(queries, e.mul(group, kCacheGroup));
  for (int64_t line = 0; line < lines; ++line) {
    Value address = e.at(block, line * 64);
    e.prefetchFar(e.at(address, layout.tileBytes())); // the same keys of the next tile
    Value keys = e.load(e.i8s(), address, 64);
    for (int64_t r = 0; r < count; ++r)
      for (int64_t digit = 0; digit < kDigits; ++digit) {
        Value four =
            e.load(e.getI32Type(), e.at(query, r * headQueryBytes(layout) + digit * digitBytes() + line * 4), 4);
        Value digits = e.bitcast(e.splat(four, e.i32s()), e.i8s());
        Value &sum = digit == 0 ? high[r] : low[r];
        sum = dq::DotOp::create(e, sum.getType(), sum, keys, digits, signedCodes, signedCodes ? 128 : 255);
      }
  }
  Value scalesAt = e.at(e.at(tile, e.mul(at, 2)), e.add(e.mul(group, layout.scaleGroupBytes()), layout.scalesAt()));
  e.prefetchFar(e.at(scalesAt, layout.tileBytes()));
  Value scales = e.widen(e.load(e.vec(kKeyBlock, e.getF16Type()), scalesAt, 32));
  Values next;
  for (int64_t r = 0; r < count; ++r) {
    Value scale = e.mulf(scales, e.splat(e.load(e.getF32Type(), queryScale(queries, r, group), 4), e.f32s()));
    Value dot = e.toFloat(e.add(e.shiftLeft(high[r], kDigitBits), low[r]));
    next.push_back(e.fma(scale, dot, scores[r]));
  }
  return next;
}

Emitter::Values ByteGroup::scoreBlocks(Value queries, Value tile, Value at) {
  Values zeros(count, e.real(e.f32s(), 0));
  int64_t whole = shape.headDim / kCacheGroup;
  Values scores = e.loop(e.i64(0), e.i64(whole), e.i64(1), zeros, [&](Value group, ValueRange carried) {
    return scoreGroup(queries, tile, at, group, kCacheGroup / 4, carried);
  });
  if (shape.headDim % kCacheGroup != 0)
    scores = scoreGroup(queries, tile, at, e.i64(whole), shape.headDim % kCacheGroup / 4, scores);
  for (Value &score : scores)
    score = e.mulf(score, e.real(e.f32s(), shape.scale));
  return scores;
}

/// For each group: the unit of the weights' codes, which the greatest scale needs, and each scale over it.
void ByteGroup::shareScales(Value tile, Value tileKeys) {
  Value none = e.real(e.f32s(), 0);
  for (int64_t group = 0; group < layout.groups(); ++group) {
    Value scales = e.at(tile, layout.scalesAt() + group * layout.scaleGroupBytes());
    Value greatest = e.loop(e.i64(0), tileKeys, e.i64(kKeyBlock), none, [&](Value at, ValueRange carried) {
      Value address = e.at(scales, e.mul(at, 2));
      e.prefetchFar(e.at(address, layout.tileBytes()));
      Value stored = e.widen(e.load(e.vec(kKeyBlock, e.getF16Type()), address, 32));
      Value scale = arith::SelectOp::create(e, validLanes(e.sub(tileKeys, at)), stored, none);
      e.store(scale, e.at(shares(group), e.mul(at, 4)), 64);
      return Values{e.maxf(carried[0], scale)};
    })[0];
    Value most = e.treeFold(greatest, [&](Value a, Value b) { return e.maxf(a, b); });
    Value zero = e.real(e.getF32Type(), 0), limit = e.real(e.getF32Type(), kWeightLimit);
    Value isZero = arith::CmpFOp::create(e, arith::CmpFPredicate::OEQ, most, zero);
    Value inverse = arith::DivFOp::create(e, limit, most);
    Value factor = e.splat(arith::SelectOp::create(e, isZero, zero, inverse), e.f32s());
    e.store(arith::DivFOp::create(e, most, limit), e.at(units(), group * 4), 4);
    e.loop(e.i64(0), tileKeys, e.i64(kKeyBlock), [&](Value at) {
      Value address = e.at(shares(group), e.mul(at, 4));
      e.store(e.mulf(e.load(e.f32s(), address, 64), factor), address, 64);
    });
  }
}

void ByteGroup::quantizeWeights(Value tileKeys) {
  e.loop(e.i64(0), tileKeys, e.i64(kKeyBlock), [&](Value at) {
    for (int64_t r = 0; r < count; ++r) {
      Value weight = e.load(e.f32s(), e.at(weights(r), e.mul(at, 4)), 4);
      for (int64_t group = 0; group < layout.groups(); ++group) {
        Value share = e.load(e.f32s(), e.at(shares(group), e.mul(at, 4)), 64);
        Value rounded = math::RoundEvenOp::create(e, e.mulf(weight, share));
        Value code = arith::FPToSIOp::create(e, e.i32s(), rounded);
        Value high = e.shiftRight(code, kDigitBits), low = e.bitAnd(code, (1 << kDigitBits) - 1);
        e.store(arith::TruncIOp::create(e, e.i8s(16), high), e.at(codes(group, r, 0), at), 16);
        e.store(arith::TruncIOp::create(e, e.i8s(16), low), e.at(codes(group, r, 1), at), 16);
      }
    }
  });
}

/// One group's elements, 16 at a time. Keys of the last block that are past the end have the weight zero.
void ByteGroup::sumGroup(Value state, Value tile, Value tileKeys, int64_t group) {
  Values zeros(count * kDigits, e.number(e.i32s(), 0));
  Value unit = e.splat(e.load(e.getF32Type(), e.at(units(), group * 4), 4), e.f32s());
  for (int64_t d = group * kCacheGroup; d < std::min((group + 1) * kCacheGroup, shape.headDim); d += 16) {
    Values sums = e.loop(e.i64(0), tileKeys, e.i64(kKeyBlock), zeros, [&](Value at, ValueRange carried) {
      Values next(carried);
      for (int64_t four = 0; four < kKeyBlock; four += 4) {
        Value address = e.at(e.at(tile, e.mul(at, shape.headDim)), four * shape.headDim + d * 4);
        e.prefetchFar(e.at(address, layout.tileBytes())); // the same values of the next tile
        Value values = e.load(e.i8s(), address, 64);
        for (int64_t i = 0; i < count * kDigits; ++i) {
          Value word = e.load(e.getI32Type(), e.at(e.at(codes(group, i / kDigits, i % kDigits), at), four), 4);
          Value digits = e.bitcast(e.splat(word, e.i32s()), e.i8s());
          next[i] = dq::DotOp::create(e, next[i].getType(), next[i], digits, values, /*codes_signed=*/false,
                                      (1 << kDigitBits) - 1);
        }
      }
      return next;
    });
    for (int64_t r = 0; r < count; ++r) {
      Value sum = e.add(e.shiftLeft(sums[kDigits * r], kDigitBits), sums[kDigits * r + 1]);
      mergeSums(state, r, e.i64(d * 4), e.mulf(e.toFloat(sum), unit));
    }
  }
}

void ByteGroup::weighValues(Value state, Value tile, Value tileKeys) {
  shareScales(tile, tileKeys);
  quantizeWeights(tileKeys);
  for (int64_t group = 0; group < layout.groups(); ++group)
    sumGroup(state, tile, tileKeys, group);
}

#include "FlashTile.h"

#include "EmitKernel.h"

#include <limits>

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

FlashTile::FlashTile(Emitter &e, const GpuTarget &target, int64_t headDim, int64_t keys)
    : e(e), target(target), headDim(headDim), keyCount(keys), shared(e, headDim) {
  lane = e.rem(threadIndex(e), e.i64(32));
  rows[0] = e.div(lane, 4);
  rows[1] = e.add(rows[0], 8);
  column = e.mul(e.rem(lane, e.i64(4)), 2);
}

void FlashTile::loadQueries(Value first, Value second, double factor) {
  Value scale = e.real(e.f32s(2), factor);
  for (int64_t k = 0; k < headDim; k += 16) {
    high.emplace_back(), low.emplace_back();
    for (int64_t half = 0; half < 2; ++half)
      for (Value row : {first, second}) {
        Value from = e.at(row, e.mul(e.add(column, k + 8 * half), 4));
        Value pair = e.mulf(e.load(e.f32s(2), from, 8), scale);
        Value rounded = arith::TruncFOp::create(e, e.vec(2, e.getF16Type()), pair);
        high.back().push_back(rounded);
        low.back().push_back(
            arith::TruncFOp::create(e, e.vec(2, e.getF16Type()), e.subf(pair, e.widen(rounded))).getResult());
      }
  }
}

Emitter::Values FlashTile::begin() {
  Emitter::Values state(2, e.real(e.getF32Type(), -std::numeric_limits<double>::infinity()));
  state.append(2 + headDim / 8 * 4, e.real(e.getF32Type(), 0));
  return state;
}

/// Fragments of C, one for each eight keys: query times key.
std::vector<Emitter::Values> FlashTile::scores(Value keys) {
  std::vector<Emitter::Values> sums(keyCount / 8, Emitter::Values(4, e.real(e.getF32Type(), 0)));
  // Matrices: eight keys and eight elements; the same keys and the next eight; the next keys likewise.
  Value row = e.add(e.rem(lane, e.i64(8)), e.mul(e.div(lane, 16), 8)), part = e.rem(e.div(lane, 8), e.i64(2));
  for (size_t k = 0; k < high.size(); ++k)
    for (int64_t tile = 0; tile < keyCount / 8; tile += 2) {
      Value address = shared.address(keys, e.add(row, tile * 8), e.add(part, int64_t(2 * k)));
      Emitter::Values b = loadMatrices(e, address, /*transposed=*/false);
      for (int64_t i = 0; i < 2; ++i)
        for (auto *a : {&high, &low})
          sums[tile + i] = emitHalfProduct(e, target, (*a)[k], ArrayRef<Value>(b).slice(2 * i, 2), sums[tile + i]);
    }
  return sums;
}

void FlashTile::mask(std::vector<Emitter::Values> &scores, Value firstKey, ArrayRef<Value> ends) {
  Value none = e.real(e.getF32Type(), -std::numeric_limits<double>::infinity()), first = e.add(firstKey, column);
  for (auto [tile, four] : llvm::enumerate(scores))
    for (int64_t i = 0; i < 4; ++i) {
      Value seen = e.less(e.add(first, int64_t(tile) * 8 + i % 2), ends[i / 2]);
      four[i] = arith::SelectOp::create(e, seen, four[i], none);
    }
}

/// Turns scores into weights, and scales what there was of each row.
Emitter::Values FlashTile::softmax(std::vector<Emitter::Values> &scores, Emitter::Values &state) {
  Value none = e.real(e.getF32Type(), -std::numeric_limits<double>::infinity()), zero = e.real(e.getF32Type(), 0);
  Emitter::Values factors;
  for (int64_t row = 0; row < 2; ++row) {
    Value greatest = none;
    for (const Emitter::Values &four : scores)
      for (int64_t i = 0; i < 2; ++i)
        greatest = arith::MaxNumFOp::create(e, greatest, four[2 * row + i]);
    greatest = reduceLanes(e, greatest, gpu::AllReduceOperation::MAXNUMF, 4);
    greatest = arith::MaxNumFOp::create(e, state[row], greatest);
    // A row that has seen no key yet: its weights are 0, and so is what it is scaled by.
    Value isNone = arith::CmpFOp::create(e, arith::CmpFPredicate::OEQ, greatest, none);
    Value base = arith::SelectOp::create(e, isNone, zero, greatest);
    factors.push_back(math::Exp2Op::create(e, e.subf(state[row], base)));
    Value sum = e.mulf(state[2 + row], factors[row]);
    for (Emitter::Values &four : scores)
      for (int64_t i = 0; i < 2; ++i) {
        Value &score = four[2 * row + i];
        score = math::Exp2Op::create(e, e.subf(score, base));
        sum = e.addf(sum, score);
      }
    state[row] = greatest, state[2 + row] = sum;
  }
  return factors;
}

/// Two f32 as halves, and what these leave of them as halves.
std::pair<Value, Value> FlashTile::splitHalves(Value a, Value b) {
  Value rounded = packHalves(e, a, b), wide = e.widen(rounded);
  Value pair = vector::FromElementsOp::create(e, e.f32s(2), ValueRange{a, b});
  Value rest = e.subf(pair, wide);
  return {rounded, arith::TruncFOp::create(e, e.vec(2, e.getF16Type()), rest)};
}

Emitter::Values FlashTile::fold(ValueRange so, Value keys, Value values, Value firstKey, ArrayRef<Value> ends) {
  Emitter::Values state(so);
  std::vector<Emitter::Values> weights = scores(keys);
  mask(weights, firstKey, ends);
  Emitter::Values factors = softmax(weights, state);
  for (size_t i = 4; i < state.size(); ++i)
    state[i] = e.mulf(state[i], factors[i % 4 / 2]);
  // Matrices, transposed: eight keys and eight elements; the next keys; then the next elements likewise.
  Value row = e.rem(lane, e.i64(16)), part = e.div(lane, 16);
  for (int64_t k = 0; k < keyCount; k += 16) {
    // Weights, like queries, as the sum of two halves: one alone would round them to 11 bits.
    Emitter::Values high, low;
    for (int64_t tile = k / 8; tile < k / 8 + 2; ++tile)
      for (int64_t i = 0; i < 4; i += 2) {
        auto [first, rest] = splitHalves(weights[tile][i], weights[tile][i + 1]);
        high.push_back(first), low.push_back(rest);
      }
    for (int64_t n = 0; n < headDim / 8; n += 2) {
      Emitter::Values b = loadMatrices(e, shared.address(values, e.add(row, k), e.add(part, n)), /*transposed=*/true);
      for (int64_t i = 0; i < 2; ++i) {
        auto c = MutableArrayRef<Value>(state).slice(4 + 4 * (n + i), 4);
        for (auto *a : {&high, &low})
          llvm::copy(emitHalfProduct(e, target, *a, ArrayRef<Value>(b).slice(2 * i, 2), ArrayRef<Value>(c)), c.begin());
      }
    }
  }
  return state;
}

void FlashTile::store(ValueRange state, ArrayRef<Value> to, ArrayRef<Value> stores) {
  for (size_t row = 0; row < 2; ++row) {
    Value sum = reduceLanes(e, state[2 + row], gpu::AllReduceOperation::ADD, 4);
    e.ifThen(stores[row], [&] {
      Value factor = arith::DivFOp::create(e, e.real(e.getF32Type(), 1), sum);
      for (int64_t n = 0; n < headDim / 8; ++n) {
        size_t at = 4 + 4 * size_t(n) + 2 * row;
        Value a = e.mulf(state[at], factor), b = e.mulf(state[at + 1], factor);
        Value pair = vector::FromElementsOp::create(e, e.f32s(2), ValueRange{a, b});
        e.store(pair, e.at(to[row], e.mul(e.add(column, 8 * n), 4)), 8);
      }
    });
  }
}

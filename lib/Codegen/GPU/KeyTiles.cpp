// In a step a warp loads as many keys as it has room for, and each lane multiplies its eight elements with all queries.
// The lanes' sums of a key are not added up key by key: over as many steps as a key has lanes, lanes hand each other
// halves of what they have, until each has the whole sum of one key. That takes one exchange for each step and head.
#include "KeyTiles.h"

#include "EmitKernel.h"

#include <cmath>
#include <limits>

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

std::vector<KeyTiles::State> KeyTiles::unpack(ValueRange carried) {
  std::vector<State> states;
  for (int64_t head = 0; head < heads; ++head, carried = carried.drop_front(10))
    states.push_back({carried[0], carried[1], Emitter::Values(carried.slice(2, 8))});
  return states;
}

Emitter::Values KeyTiles::pack(ArrayRef<State> states) {
  Emitter::Values all;
  for (const State &state : states) {
    all.append({state.maximum, state.sum});
    all.append(state.values);
  }
  return all;
}

std::vector<KeyTiles::State> KeyTiles::fold(ArrayRef<Emitter::Values> queries, Value first, Value end, int64_t stride) {
  Value zero = e.real(e.getF32Type(), 0);
  State empty{e.real(e.getF32Type(), -std::numeric_limits<double>::infinity()), zero, Emitter::Values(8, zero)};
  std::vector<State> states(heads, empty);
  return unpack(e.loop(first, end, e.i64(stride), pack(states),
                       [&](Value at, ValueRange carried) { return tile(queries, at, end, carried); }));
}

/// The key or value of this lane's group in a step; behind the end the last one again.
Value KeyTiles::rowAt(Value base, Value first, Value end, int64_t step) {
  Value key = e.add(e.add(first, lanes.group), step * lanes.keys());
  return e.at(base, e.mul(e.min(key, e.add(end, -1)), headDim * 2));
}

/// For each head the sums of 2^level steps from `step` on, of which lane i of a key has that of step i mod 2^level.
Emitter::Values KeyTiles::scores(ArrayRef<Emitter::Values> queries, int64_t level, int64_t step, Value first,
                                 Value end) {
  int64_t top = int64_t(llvm::Log2_64(uint64_t(lanes.lanes())));
  if (level == std::min(kLoadLevel, top)) {
    keys.clear();
    for (int64_t i = 0; i < int64_t(1) << level; ++i)
      keys.push_back(lanes.loadHalves(rowAt(cache.keys, first, end, step + i)));
  }
  Emitter::Values sums;
  if (level == 0) {
    Emitter::Values key = lanes.widen(keys[step % keys.size()]);
    for (const Emitter::Values &query : queries) {
      Value sum = e.mulf(query[0], key[0]);
      for (int64_t i = 1; i < 8; ++i)
        sum = e.fma(query[i], key[i], sum);
      sums.push_back(sum);
    }
    return sums;
  }
  int64_t mask = int64_t(1) << (level - 1);
  Emitter::Values even = scores(queries, level - 1, step, first, end);
  Emitter::Values odd = scores(queries, level - 1, step + mask, first, end);
  Value isOdd = arith::CmpIOp::create(e, arith::CmpIPredicate::ne, e.bitAnd(lanes.inKey, mask), e.i64(0));
  for (int64_t head = 0; head < heads; ++head) {
    Value given = arith::SelectOp::create(e, isOdd, even[head], odd[head]);
    Value kept = arith::SelectOp::create(e, isOdd, odd[head], even[head]);
    sums.push_back(e.addf(kept, fromNeighbour(e, given, int32_t(mask))));
  }
  return sums;
}

Emitter::Values KeyTiles::tile(ArrayRef<Emitter::Values> queries, Value first, Value end, ValueRange carried) {
  std::vector<State> states = unpack(carried);
  Emitter::Values weights, sums = scores(queries, llvm::Log2_64(uint64_t(lanes.lanes())), 0, first, end);

  Value own = e.add(e.add(first, lanes.group), e.mul(lanes.inKey, lanes.keys())), isKey = e.less(own, end);
  Value none = e.real(e.getF32Type(), -std::numeric_limits<double>::infinity());
  for (int64_t head = 0; head < heads; ++head) {
    State &state = states[head];
    Value score = arith::SelectOp::create(e, isKey, sums[head], none);
    Value greatest = reduceLanes(e, score, gpu::AllReduceOperation::MAXNUMF);
    greatest = arith::MaxNumFOp::create(e, state.maximum, greatest);
    Value factor = math::Exp2Op::create(e, e.subf(state.maximum, greatest));
    weights.push_back(math::Exp2Op::create(e, e.subf(score, greatest)));
    state.sum = e.fma(state.sum, factor, weights.back());
    for (Value &value : state.values)
      value = e.mulf(value, factor);
    state.maximum = greatest;
  }

  Value base = arith::TruncIOp::create(e, e.getI32Type(), e.mul(lanes.group, lanes.lanes()));
  for (int64_t step = 0; step < lanes.lanes(); ++step) {
    Emitter::Values value = lanes.widen(lanes.loadHalves(rowAt(cache.values, first, end, step)));
    Value lane = e.add(base, e.number(e.getI32Type(), step));
    for (int64_t head = 0; head < heads; ++head) {
      Value weight = fromLane(e, weights[head], lane);
      for (int64_t i = 0; i < 8; ++i)
        states[head].values[i] = e.fma(weight, value[i], states[head].values[i]);
    }
  }
  return pack(states);
}

void KeyTiles::addUp(std::vector<State> &states) {
  for (State &state : states) {
    state.sum = reduceLanes(e, state.sum, gpu::AllReduceOperation::ADD);
    for (Value &value : state.values)
      for (int64_t mask = lanes.lanes(); mask < 32; mask *= 2)
        value = e.addf(value, fromNeighbour(e, value, int32_t(mask)));
  }
}

// In a step a warp loads as many keys as it has room for, and each lane multiplies its eight elements with all queries.
// The lanes' sums of a key are not added up key by key: over as many steps as a key has lanes, lanes hand each other
// halves of what they have, until each has the whole sum of one key. That takes one exchange for each step and head.
// All keys and values of a tile are asked for at once, while whatever else there is to do before they are needed is
// done.
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

void KeyTiles::begin(Value first) {
  if (!isAhead())
    return;
  keys = load(cache.keys, first, 0, lanes.lanes());
  values = load(cache.values, first, 0, lanes.lanes());
}

std::vector<KeyTiles::State> KeyTiles::fold(ArrayRef<Emitter::Values> queries, Value first,
                                            std::optional<Fresh> lastEntry) {
  fresh = lastEntry;
  Value zero = e.real(e.getF32Type(), 0);
  State empty{e.real(e.getF32Type(), -std::numeric_limits<double>::infinity()), zero, Emitter::Values(8, zero)};
  Emitter::Values carried = pack(std::vector<State>(heads, empty));
  size_t ofStates = carried.size();
  auto loaded = [&] {
    Emitter::Values all(keys);
    all.append(values);
    return all;
  };
  if (isAhead())
    carried.append(loaded());
  auto found = e.loop(first, end, e.i64(kTile), carried, [&](Value at, ValueRange carried) {
    std::vector<State> states = unpack(carried.take_front(ofStates));
    if (isAhead()) {
      keys = Emitter::Values(carried.drop_front(ofStates).drop_back(size_t(lanes.lanes())));
      values = Emitter::Values(carried.take_back(size_t(lanes.lanes())));
    }
    Emitter::Values before = loaded();
    tile(queries, at, states);
    Emitter::Values next = pack(states);
    if (!isAhead())
      return next;
    Value following = e.add(at, kTile);
    auto beginNext = [&] {
      begin(following);
      return loaded();
    };
    next.append(e.ifElse(e.less(following, end), beginNext, [&] { return before; }));
    return next;
  });
  std::vector<State> states = unpack(ValueRange(found).take_front(ofStates));
  addUp(states);
  return states;
}

/// The key that this lane's group takes in a step.
Value KeyTiles::numberOf(Value first, int64_t step) { return e.add(e.add(first, lanes.group), step * lanes.keys()); }

/// Keys or values of this lane's group in `count` steps from `step` on; behind the end the last one again.
Emitter::Values KeyTiles::load(Value base, Value first, int64_t step, int64_t count) {
  Emitter::Values loaded;
  for (int64_t i = step; i < step + count; ++i)
    loaded.push_back(lanes.loadHalves(e.at(base, e.mul(e.min(numberOf(first, i), last()), headDim * 2))));
  return loaded;
}

/// What was loaded, with the fresh key or value in its place. Steps behind the end may have it too.
Emitter::Values KeyTiles::refreshed(Emitter::Values loaded, bool areKeys, Value first, int64_t step) {
  if (!fresh)
    return loaded;
  auto replace = [&] {
    Emitter::Values replaced;
    for (auto [i, halves] : llvm::enumerate(loaded)) {
      Value isBefore = e.less(numberOf(first, step + int64_t(i)), last());
      replaced.push_back(arith::SelectOp::create(e, isBefore, halves, areKeys ? fresh->key : fresh->value));
    }
    return replaced;
  };
  Value reachesEnd = e.less(last(), e.add(first, kTile));
  return e.ifElse(arith::AndIOp::create(e, fresh->isLast, reachesEnd), replace, [&] { return loaded; });
}

/// For each head the sums of 2^level steps from `step` on, of which lane i of a key has that of step i mod 2^level.
Emitter::Values KeyTiles::scores(ArrayRef<Emitter::Values> queries, int64_t level, int64_t step, Value first) {
  if (!isAhead() && level == kLoadLevel)
    keys = refreshed(load(cache.keys, first, step, 1 << level), true, first, step);
  Emitter::Values sums;
  if (level == 0) {
    Emitter::Values key = lanes.widen(keys[size_t(step) % keys.size()]);
    for (const Emitter::Values &query : queries) {
      Value sum = e.mulf(query[0], key[0]);
      for (int64_t i = 1; i < 8; ++i)
        sum = e.fma(query[i], key[i], sum);
      sums.push_back(sum);
    }
    return sums;
  }
  int64_t mask = int64_t(1) << (level - 1);
  Emitter::Values even = scores(queries, level - 1, step, first);
  Emitter::Values odd = scores(queries, level - 1, step + mask, first);
  Value isOdd = arith::CmpIOp::create(e, arith::CmpIPredicate::ne, e.bitAnd(lanes.inKey, mask), e.i64(0));
  for (int64_t head = 0; head < heads; ++head) {
    Value given = arith::SelectOp::create(e, isOdd, even[head], odd[head]);
    Value kept = arith::SelectOp::create(e, isOdd, odd[head], even[head]);
    sums.push_back(e.addf(kept, fromNeighbour(e, given, int32_t(mask))));
  }
  return sums;
}

/// The weight of the lane's own key for each head, to whose maximum the states come.
Emitter::Values KeyTiles::weigh(ArrayRef<Value> sums, Value first, std::vector<State> &states) {
  Value own = e.add(e.add(first, lanes.group), e.mul(lanes.inKey, lanes.keys())), isKey = e.less(own, end);
  Value none = e.real(e.getF32Type(), -std::numeric_limits<double>::infinity());
  Emitter::Values weights;
  for (auto [sum, state] : llvm::zip(sums, states)) {
    Value score = arith::SelectOp::create(e, isKey, sum, none);
    Value greatest = reduceLanes(e, score, gpu::AllReduceOperation::MAXNUMF);
    greatest = arith::MaxNumFOp::create(e, state.maximum, greatest);
    Value factor = math::Exp2Op::create(e, e.subf(state.maximum, greatest));
    weights.push_back(math::Exp2Op::create(e, e.subf(score, greatest)));
    state.sum = e.fma(state.sum, factor, weights.back());
    for (Value &value : state.values)
      value = e.mulf(value, factor);
    state.maximum = greatest;
  }
  return weights;
}

void KeyTiles::tile(ArrayRef<Emitter::Values> queries, Value first, std::vector<State> &states) {
  int64_t batch = isAhead() ? lanes.lanes() : int64_t(1) << kLoadLevel;
  if (isAhead())
    keys = refreshed(keys, true, first, 0);
  Emitter::Values weights = weigh(scores(queries, llvm::Log2_64(uint64_t(lanes.lanes())), 0, first), first, states);
  Value base = arith::TruncIOp::create(e, e.getI32Type(), e.mul(lanes.group, lanes.lanes()));
  for (int64_t step = 0; step < lanes.lanes(); ++step) {
    if (step % batch == 0)
      values = refreshed(isAhead() ? values : load(cache.values, first, step, batch), false, first, step);
    Emitter::Values value = lanes.widen(values[size_t(step % batch)]);
    Value lane = e.add(base, e.number(e.getI32Type(), step));
    for (int64_t head = 0; head < heads; ++head) {
      Value weight = fromLane(e, weights[head], lane);
      for (int64_t i = 0; i < 8; ++i)
        states[head].values[i] = e.fma(weight, value[i], states[head].values[i]);
    }
  }
}

/// Adds up what the lanes have.
void KeyTiles::addUp(std::vector<State> &states) {
  for (State &state : states) {
    state.sum = reduceLanes(e, state.sum, gpu::AllReduceOperation::ADD);
    for (Value &value : state.values)
      for (int64_t mask = lanes.lanes(); mask < 32; mask *= 2)
        value = e.addf(value, fromNeighbour(e, value, int32_t(mask)));
  }
}

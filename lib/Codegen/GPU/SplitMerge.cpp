#include "SplitMerge.h"

#include "EmitKernel.h"
#include "quern/Codegen/GpuLayout.h"

#include <limits>

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

static Value select(Emitter &e, Value condition, Value yes, Value no) {
  return e.createOrFold<arith::SelectOp>(condition, yes, no);
}

static Value equal(Emitter &e, Value a, Value b) { return arith::CmpIOp::create(e, arith::CmpIPredicate::eq, a, b); }

/// The greatest number of all lanes, by way of integers that are in the same order, which targets reduce at once.
static Value greatestOfLanes(Emitter &e, Value number) {
  Value bits = arith::BitcastOp::create(e, e.getI32Type(), number);
  auto turnNegative = [&](Value value) -> Value {
    return arith::XOrIOp::create(e, value, e.bitAnd(e.signedShiftRight(value, 31), 0x7fffffff));
  };
  Value greatest = reduceLanes(e, turnNegative(bits), gpu::AllReduceOperation::MAXSI);
  return arith::BitcastOp::create(e, e.getF32Type(), turnNegative(greatest));
}

SplitMerge::SplitMerge(Emitter &e, const DecodeAttention &attention, const Places &places, const Warp &warp)
    : e(e), attention(attention), places(places), warp(warp) {
  int64_t numbers = attention.headsOfWarp() * attention.headDim;
  for (int64_t i = 0; 128 * i < numbers; ++i)
    quads.push_back(quadOf(i));
}

SplitMerge::Quad SplitMerge::quadOf(int64_t i) {
  int64_t dim = attention.headDim, numbers = attention.headsOfWarp() * dim;
  Value number = e.add(e.mul(warp.lane, 4), 128 * i);
  Quad quad{};
  if (128 * (i + 1) > numbers) {
    quad.isInside = e.less(number, e.i64(numbers));
    number = e.min(number, e.i64(numbers - 4));
  }
  Value head = warp.heads.front(), inHead = number;
  quad.allSecond = 128 * i >= dim;
  if (quad.allSecond) {
    head = warp.heads[1];
    inHead = e.add(number, -dim);
  } else if (128 * (i + 1) > dim && numbers > dim) {
    quad.isSecond = e.less(e.i64(dim - 1), number);
    head = select(e, quad.isSecond, warp.heads[1], head);
    inHead = select(e, quad.isSecond, e.add(number, -dim), number);
  }
  // The group's last head may be the warp's second one again.
  if (attention.headsOfWarp() == 2 && attention.group() % 2 == 1 && (quad.allSecond || quad.isSecond)) {
    Value isOwn = e.less(e.add(warp.firstInGroup, 1), e.i64(attention.group()));
    if (quad.isSecond)
      isOwn = e.bitOr(isOwn, equal(e, quad.isSecond, e.number(e.getI1Type(), 0)));
    quad.isInside = quad.isInside ? arith::AndIOp::create(e, quad.isInside, isOwn) : isOwn;
  }
  Value headOfRow = e.add(e.mul(warp.row, attention.heads), head);
  quad.base = e.at(places.values, e.mul(e.add(e.mul(headOfRow, attention.splits() * dim), inHead), 4));
  return quad;
}

Value SplitMerge::ofHead(const Quad &quad, ValueRange ofHeads) {
  if (quad.isSecond)
    return select(e, quad.isSecond, ofHeads[1], ofHeads[0]);
  return ofHeads[quad.allSecond ? 1 : 0];
}

Value SplitMerge::slot(int64_t head, Value split) {
  Value headOfRow = e.add(e.mul(warp.row, attention.heads), warp.heads[size_t(head)]);
  return e.at(places.states, e.mul(e.add(e.mul(headOfRow, attention.splits()), split), 8));
}

Value SplitMerge::isLast(Value which, Value count) {
  Value mine = e.add(e.mul(warp.row, attention.countersOfRow()), e.mul(warp.number, attention.countersOfWarp()));
  Value counter = e.at(places.counters, e.mul(e.add(mine, which), 4));
  return isLastWarp(e, counter, warp.lane, count);
}

void SplitMerge::emit() {
  static_assert(DecodeAttention::kMostAtOnce == 32 && DecodeAttention::kBunch == 16);
  Value count = warp.count, isOnly = e.less(count, e.i64(33)), shift = select(e, isOnly, e.i64(5), e.i64(4));
  auto shifted = [&](Value number) -> Value { return arith::ShLIOp::create(e, number, shift); };
  Value which = arith::ShRUIOp::create(e, warp.split, shift), first = shifted(which);
  Value bunch = shifted(e.i64(1)), members = e.min(bunch, e.sub(count, first));
  e.ifThen(isLast(e.add(which, 1), members), [&] {
    State mine = gather(first, e.i64(0), members);
    auto flat = [](Value isDone, const State &state) {
      Emitter::Values all{isDone};
      llvm::append_range(all, state.inverses);
      llvm::append_range(all, state.values);
      return all;
    };
    auto ofBunches = [&] {
      handOn(mine, first);
      Value bunches = arith::ShRUIOp::create(e, e.add(count, e.add(bunch, -1)), shift);
      Value done = isLast(e.i64(0), bunches);
      auto merge = [&] { return flat(done, gather(e.i64(0), shift, bunches)); };
      return e.ifElse(done, merge, [&] { return flat(done, mine); });
    };
    auto found = e.ifElse(
        isOnly, [&] { return flat(isOnly, mine); }, ofBunches);
    ArrayRef<Value> parts = ArrayRef<Value>(found).drop_front();
    size_t heads = mine.inverses.size();
    e.ifThen(found.front(), [&] { finish(parts.take_front(heads), parts.drop_front(heads)); });
  });
}

SplitMerge::State SplitMerge::gather(Value first, Value shift, Value count) {
  // Of a row's splits there are few, so that 32 bits do.
  auto narrow = [&](Value number) -> Value { return arith::TruncIOp::create(e, e.getI32Type(), number); };
  Value last = narrow(e.add(count, -1)), shift32 = narrow(shift), first32 = narrow(first);
  auto nth = [&](Value n, int64_t bytes) -> Value {
    Value split = e.add(first32, arith::ShLIOp::create(e, e.min(n, last), shift32));
    return arith::ExtUIOp::create(e, e.getI64Type(), e.mul(split, e.number(e.getI32Type(), bytes)));
  };
  int64_t together = std::min(kLoads / int64_t(quads.size()), DecodeAttention::kBunch);
  auto load = [&](Value at) {
    Emitter::Values loaded;
    for (int64_t i = 0; i < together; ++i) {
      Value place = nth(e.add(at, e.number(e.getI32Type(), i)), attention.headDim * 4);
      for (const Quad &quad : quads)
        loaded.push_back(e.load(e.f32s(4), e.at(quad.base, place), 16));
    }
    return loaded;
  };
  Value start = e.number(e.getI32Type(), 0), step = e.number(e.getI32Type(), together);
  Emitter::Values ahead = load(start); // before anything that waits
  Value none = e.real(e.getF32Type(), -std::numeric_limits<double>::infinity()), zero = e.real(e.getF32Type(), 0);
  Value isOne = e.less(warp.lane, count);
  State found;
  Emitter::Values weights;
  // A lane for each split: the maximum and the sum of weights over all of them.
  for (int64_t head = 0; head < attention.headsOfWarp(); ++head) {
    Value state = e.load(e.f32s(2), e.at(slot(head, e.i64(0)), nth(narrow(warp.lane), 8)), 8);
    auto part = [&](int64_t i, Value other) {
      return select(e, isOne, vector::ExtractOp::create(e, state, ArrayRef<int64_t>{i}), other);
    };
    Value maximum = part(0, none), greatest = greatestOfLanes(e, maximum);
    Value weight = math::Exp2Op::create(e, e.subf(maximum, greatest));
    found.maxima.push_back(greatest);
    found.sums.push_back(reduceLanes(e, e.mulf(weight, part(1, zero)), gpu::AllReduceOperation::ADD));
    found.inverses.push_back(arith::DivFOp::create(e, e.real(e.getF32Type(), 1), found.sums.back()));
    weights.push_back(arith::BitcastOp::create(e, e.getI32Type(), weight));
  }
  auto add = [&](Value at, ValueRange carried, ArrayRef<Value> loaded) {
    Emitter::Values sums(carried.begin(), carried.end());
    for (int64_t i = 0; i < together; ++i) {
      Emitter::Values ofHeads;
      Value from = e.add(at, e.number(e.getI32Type(), i));
      for (Value weight : weights)
        ofHeads.push_back(arith::BitcastOp::create(e, e.getF32Type(), fromLane(e, weight, from)));
      for (auto [q, quad] : llvm::enumerate(quads))
        for (size_t j = 0; j < 4; ++j) {
          Value number =
              vector::ExtractOp::create(e, loaded[size_t(i) * quads.size() + q], ArrayRef<int64_t>{int64_t(j)});
          sums[4 * q + j] = e.fma(ofHead(quad, ofHeads), number, sums[4 * q + j]);
        }
    }
    return sums;
  };
  found.values = add(start, Emitter::Values(4 * quads.size(), zero), ahead);
  if (together < DecodeAttention::kMostAtOnce)
    found.values = e.loop(step, narrow(count), step, found.values,
                          [&](Value at, ValueRange carried) { return add(at, carried, load(at)); });
  return found;
}

void SplitMerge::whereInside(const Quad &quad, llvm::function_ref<void()> then) {
  quad.isInside ? e.ifThen(quad.isInside, then) : then();
}

void SplitMerge::handOn(const State &state, Value split) {
  for (auto [q, quad] : llvm::enumerate(quads)) {
    whereInside(quad, [&, q = q, &quad = quad] {
      Value four = vector::FromElementsOp::create(e, e.f32s(4), ArrayRef<Value>(state.values).slice(4 * q, 4));
      e.store(four, e.at(quad.base, e.mul(split, attention.headDim * 4)), 16);
    });
  }
  e.ifThen(equal(e, warp.lane, e.i64(0)), [&] {
    for (int64_t head = 0; head < attention.headsOfWarp(); ++head) {
      Value pair = vector::FromElementsOp::create(e, e.f32s(2),
                                                  ValueRange{state.maxima[size_t(head)], state.sums[size_t(head)]});
      e.store(pair, slot(head, split), 8);
    }
  });
}

void SplitMerge::finish(ValueRange inverses, ValueRange values) {
  int64_t width = attention.heads * attention.headDim, padded = gpuRowWidth(width);
  Value row = e.mul(warp.row, (attention.quantized ? padded : width) / 4);
  Value first = e.add(e.add(row, e.mul(warp.heads.front(), attention.headDim / 4)), warp.lane);
  std::vector<Emitter::Values> numbers;
  SmallVector<QuantizedQuad> made; // all of them before the first is stored, so that they do not wait for each other
  for (auto [q, quad] : llvm::enumerate(quads)) {
    numbers.emplace_back();
    for (size_t j = 0; j < 4; ++j)
      numbers.back().push_back(e.mulf(values[4 * q + j], ofHead(quad, inverses)));
    if (attention.quantized)
      made.push_back(quantizeQuad(e, numbers.back()));
  }
  for (auto [q, quad] : llvm::enumerate(quads)) {
    Value four = e.add(first, 32 * int64_t(q)); // heads of a warp are neighbours
    whereInside(quad, [&, q = q] {
      if (attention.quantized)
        return storeQuad(e, made[q], warp.lane, four, results());
      e.store(vector::FromElementsOp::create(e, e.f32s(4), numbers[q]), e.at(places.results[0], e.mul(four, 16)), 16);
    });
  }
  if (attention.quantized && padded > width)
    fillUp();
}

/// Zeros behind the row, by the warp that has its last head.
void SplitMerge::fillUp() {
  int64_t width = attention.heads * attention.headDim, padded = gpuRowWidth(width);
  Value isMine = equal(e, warp.heads.back(), e.i64(attention.heads - 1));
  Value isBehind = arith::AndIOp::create(e, isMine, e.less(warp.lane, e.i64((padded - width) / 4)));
  Value quad = e.add(e.add(e.mul(warp.row, padded / 4), width / 4), warp.lane), zero = e.number(e.getI32Type(), 0);
  QuantizedQuad zeros{zero, zero, e.real(e.getF32Type(), 0)};
  e.ifThen(isBehind, [&] { storeQuad(e, zeros, warp.lane, quad, results()); });
}

// A warp takes a head of a row, a lane every 32nd of its pairs.
#include "Rotary.h"

#include "EmitKernel.h"
#include "RmsNorm.h"

#include <cmath>

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

std::vector<float> codegen::makeRotaryTable(double theta, std::span<const float> factors, int64_t headDim,
                                            int64_t positions) {
  int64_t half = headDim / 2, coarse = (positions + kFinePositions - 1) / kFinePositions;
  std::vector<double> frequencies(half);
  for (int64_t i = 0; i < half; ++i)
    frequencies[i] = std::pow(theta, -2.0 * double(i) / double(headDim)) / (factors.empty() ? 1.0 : double(factors[i]));
  std::vector<float> table;
  table.reserve((kFinePositions + coarse) * half * 2);
  for (int64_t row = 0; row < kFinePositions + coarse; ++row)
    for (double frequency : frequencies) {
      double angle = double(row < kFinePositions ? row : (row - kFinePositions) * kFinePositions) * frequency;
      table.push_back(float(std::cos(angle)));
      table.push_back(float(std::sin(angle)));
    }
  return table;
}

/// `count` pairs of the table's row, from pair i on; as scalars.
static Emitter::Values loadPairs(Emitter &e, Value table, Value row, Value i, int64_t count, int64_t headDim) {
  Value from = e.at(table, e.mul(e.add(e.mul(row, headDim / 2), i), 8));
  int64_t lanes = count % 2 == 0 && headDim % 4 == 0 ? 4 : 2; // rows of an odd number of pairs are aligned to 8 bytes
  Emitter::Values numbers;
  for (int64_t at = 0; at < 2 * count; at += lanes) {
    Value part = e.load(e.f32s(lanes), e.at(from, at * 4), unsigned(4 * lanes));
    for (int64_t lane = 0; lane < lanes; ++lane)
      numbers.push_back(vector::ExtractOp::create(e, part, ArrayRef<int64_t>{lane}));
  }
  return numbers;
}

std::vector<Angle> codegen::loadAngles(Emitter &e, Value table, Value position, Value i, int64_t count,
                                       int64_t headDim) {
  Value coarseRow = e.add(e.div(position, kFinePositions), kFinePositions);
  auto fine = loadPairs(e, table, e.rem(position, e.i64(kFinePositions)), i, count, headDim);
  auto coarse = loadPairs(e, table, coarseRow, i, count, headDim);
  std::vector<Angle> angles;
  for (int64_t pair = 0; pair < count; ++pair) {
    auto [cos, sin] = rotate(e, coarse[2 * pair], coarse[2 * pair + 1], {fine[2 * pair], fine[2 * pair + 1]});
    angles.push_back({cos, sin});
  }
  return angles;
}

std::pair<Value, Value> codegen::rotate(Emitter &e, Value a, Value b, Angle angle) {
  return {e.subf(e.mulf(a, angle.cos), e.mulf(b, angle.sin)), e.addf(e.mulf(b, angle.cos), e.mulf(a, angle.sin))};
}

namespace {

class RotaryEmitter {
public:
  RotaryEmitter(Emitter &e, const RotaryCache &rotary, ValueRange arguments)
      : e(e), rotary(rotary), inputs(arguments.take_front(3)), row(blockIndex(e, gpu::Dimension::y)),
        lane(e.rem(threadIndex(e), e.i64(32))),
        head(e.add(e.mul(blockIndex(e), RotaryCache::kWarps), e.div(threadIndex(e), 32))) {
    arguments = arguments.drop_front(3);
    if (rotary.headEps) {
      gains = arguments.take_front(2);
      arguments = arguments.drop_front(2);
    }
    table = arguments[0];
    position = loadIndex(e, arguments[1], row);
    caches = {arguments[2], arguments[3], rotary.kvHeads, rotary.headDim};
    rotated = arguments[4];
    layer = arguments[5];
  }

  void emit() {
    Value key = e.sub(head, e.i64(rotary.heads)), value = e.sub(key, e.i64(rotary.kvHeads));
    e.ifThenElse(
        e.less(head, e.i64(rotary.heads)), [&] { emitQuery(); },
        [&] {
          e.ifThenElse(
              e.less(key, e.i64(rotary.kvHeads)), [&] { emitKey(key); },
              [&] { e.ifThen(e.less(value, e.i64(rotary.kvHeads)), [&] { emitValue(value); }); });
        });
  }

private:
  int64_t half() const { return rotary.headDim / 2; }
  int64_t steps() const { return (half() + 31) / 32; }

  Value headOf(Value base, int64_t heads, Value which) {
    return e.at(base, e.mul(e.add(e.mul(row, heads), which), rotary.headDim * 4));
  }

  /// Where the two elements of a pair lie in a head.
  std::pair<Value, Value> places(Value pair) {
    if (rotary.interleaved)
      return {e.mul(pair, 2), e.add(e.mul(pair, 2), 1)};
    return {pair, e.add(pair, half())};
  }

  Value loadNumber(Value from, Value place) { return e.load(e.getF32Type(), e.at(from, e.mul(place, 4)), 4); }

  /// Calls `body(pair)` for each pair that is this lane's.
  void forPairs(llvm::function_ref<void(Value)> body) {
    for (int64_t step = 0; step < steps(); ++step) {
      Value pair = e.add(lane, 32 * step);
      auto emitBody = [&] { body(pair); };
      32 * (step + 1) <= half() ? emitBody() : e.ifThen(e.less(pair, e.i64(half())), emitBody);
    }
  }

  /// What the head's elements are multiplied by before their gain; null without a norm.
  Value normFactor(Value from) {
    if (!rotary.headEps)
      return {};
    Value squares = e.real(e.getF32Type(), 0);
    for (int64_t at = 0; at < rotary.headDim; at += 32) {
      Value place = e.add(lane, at);
      Value number = e.ifElse(
          e.less(place, e.i64(rotary.headDim)), [&] { return Emitter::Values{loadNumber(from, place)}; },
          [&] { return Emitter::Values{e.real(e.getF32Type(), 0)}; })[0];
      squares = e.fma(number, number, squares);
    }
    return emitNormFactor(e, reduceLanes(e, squares, gpu::AllReduceOperation::ADD), rotary.headDim, *rotary.headEps);
  }

  /// Rotates the head at `from`; `store(place, number)` puts an element where it belongs.
  void rotateHead(Value from, size_t gain, llvm::function_ref<void(Value, Value)> store) {
    Value factor = normFactor(from);
    auto number = [&](Value place) {
      Value x = loadNumber(from, place);
      return factor ? e.mulf(e.mulf(x, factor), loadNumber(gains[gain], place)) : x;
    };
    forPairs([&](Value pair) {
      auto [first, second] = places(pair);
      Angle angle = loadAngles(e, table, position, pair, 1, rotary.headDim).front();
      auto [a, b] = rotate(e, number(first), number(second), angle);
      store(first, a);
      store(second, b);
    });
  }

  void emitQuery() {
    Value to = headOf(rotated, rotary.heads, head);
    rotateHead(headOf(inputs[0], rotary.heads, head), 0,
               [&](Value place, Value number) { e.store(number, e.at(to, e.mul(place, 4)), 4); });
  }

  Value entry(Value cache) { return e.at(cache, e.mul(position, rotary.headDim * 2)); }
  void storeHalf(Value number, Value entry, Value place) {
    e.store(arith::TruncFOp::create(e, e.getF16Type(), number), e.at(entry, e.mul(place, 2)), 2);
  }

  void emitKey(Value which) {
    Value to = entry(headCache(e, caches, row, layer, which).keys);
    rotateHead(headOf(inputs[1], rotary.kvHeads, which), 1,
               [&](Value place, Value number) { storeHalf(number, to, place); });
  }

  void emitValue(Value which) {
    Value to = entry(headCache(e, caches, row, layer, which).values);
    Value from = headOf(inputs[2], rotary.kvHeads, which);
    e.loop(lane, e.i64(rotary.headDim), e.i64(32), [&](Value place) { storeHalf(loadNumber(from, place), to, place); });
  }

  Emitter &e;
  const RotaryCache &rotary;
  ValueRange inputs, gains;
  Value row, lane, head, table, position, rotated, layer;
  DeviceCaches caches;
};

} // namespace

std::string RotaryCache::name() const {
  return "rotary_cache_" + std::to_string(heads) + "_" + std::to_string(kvHeads) + "x" + std::to_string(headDim) +
         (interleaved ? "_interleaved" : "") + (headEps ? "_eps" + floatName(*headEps) : "");
}

gpu::GPUFuncOp codegen::emitRotaryCache(gpu::GPUModuleOp module, const RotaryCache &rotary, const GpuTarget &) {
  KernelFrame frame{rotary.name(), rotary.headEps ? 10 : 8, 0, RotaryCache::kWarps, 1};
  return emitKernel(module, frame,
                    [&](Emitter &e, ValueRange arguments) { RotaryEmitter(e, rotary, arguments).emit(); });
}

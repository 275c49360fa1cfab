// Rotary embedding: the angles of each row once a step, in double precision, and the rotation of the heads.
#include "KernelBody.h"
#include "Kernels.h"

#include <cmath>
#include <numeric>

using namespace mlir;
using namespace quern::codegen;

/// Sine and cosine of f64 angles below 2^20 or so, rounded to f32. The angle less the nearest multiple of pi/2 is
/// taken in two steps (pi/2 split into a part of 33 bits, whose multiples are exact, and the rest); the remainder, at
/// most pi/4, goes into the Taylor series, whose first term left out is below 2e-13.
static std::pair<Value, Value> emitSinCos(Emitter &e, Value angle) {
  Type type = angle.getType();
  auto constant = [&](double value) { return e.real(type, value); };
  Value turns = math::RoundEvenOp::create(e, e.mulf(angle, constant(2 / M_PI)));
  Value rest = e.subf(angle, e.mulf(turns, constant(0x1.921fb544p+0)));
  rest = e.subf(rest, e.mulf(turns, constant(0x1.0b4611a626331p-34)));
  Value square = e.mulf(rest, rest);
  auto series = [&](ArrayRef<double> terms) {
    Value sum = constant(terms.back());
    for (double term : llvm::reverse(terms.drop_back()))
      sum = e.addf(e.mulf(sum, square), constant(term));
    return sum;
  };
  Value sine = e.mulf(rest, series({1, -1. / 6, 1. / 120, -1. / 5040, 1. / 362880, -1. / 39916800, 1. / 6227020800}));
  Value cosine =
      series({1, -1. / 2, 1. / 24, -1. / 720, 1. / 40320, -1. / 3628800, 1. / 479001600, -1. / 87178291200});

  // Quadrant q of the turn: (sin, cos) is (s, c), (c, -s), (-s, -c), (-c, s).
  auto lanes = cast<VectorType>(type);
  Value quadrant = arith::FPToSIOp::create(e, lanes.clone(e.getI32Type()), turns);
  auto bit = [&](Value word, int64_t index) {
    Value masked = e.bitAnd(word, 1 << index);
    return arith::CmpIOp::create(e, arith::CmpIPredicate::ne, masked, e.number(masked.getType(), 0));
  };
  auto pick = [&](Value condition, Value yes, Value no) -> Value {
    return arith::SelectOp::create(e, condition, yes, no);
  };
  Value odd = bit(quadrant, 0), upper = bit(quadrant, 1);
  Value next = bit(e.add(quadrant, e.number(quadrant.getType(), 1)), 1);
  Value sin = pick(odd, cosine, sine), cos = pick(odd, sine, cosine);
  sin = pick(upper, e.negf(sin), sin);
  cos = pick(next, e.negf(cos), cos);
  VectorType single = lanes.clone(e.getF32Type());
  return {arith::TruncFOp::create(e, single, sin), arith::TruncFOp::create(e, single, cos)};
}

func::FuncOp quern::codegen::emitRotaryAngles(ModuleOp module, StringRef name, double theta, int64_t headDim,
                                              bool scaled) {
  KernelBody k(module, name, "ppppii"); // call, positions, factors, y, yStride, T
  Emitter &e = k.e;
  int64_t half = headDim / 2, lanes = std::gcd(half, int64_t(8));
  VectorType doubles = e.vec(lanes, e.getF64Type());
  k.forRows(k.args[5], [&](Value t) {
    Value position =
        arith::SIToFPOp::create(e, e.getF64Type(), e.load(e.getI32Type(), e.at(k.args[1], e.mul(t, 4)), 4));
    Value out = k.row(k.args[3], t, k.args[4]);
    for (int64_t first = 0; first < half; first += lanes) {
      llvm::SmallVector<double> frequencies;
      for (int64_t i = first; i < first + lanes; ++i)
        frequencies.push_back(std::pow(theta, -2.0 * double(i) / double(headDim)));
      Value frequency = arith::ConstantOp::create(e, DenseElementsAttr::get(doubles, ArrayRef<double>(frequencies)));
      if (scaled) {
        Value factor = e.load(e.f32s(lanes), e.at(k.args[2], first * 4), 4);
        frequency = arith::DivFOp::create(e, frequency, arith::ExtFOp::create(e, doubles, factor));
      }
      auto [sin, cos] = emitSinCos(e, e.mulf(e.splat(position, doubles), frequency));
      e.store(cos, e.at(out, first * 4), 4);
      e.store(sin, e.at(out, (half + first) * 4), 4);
    }
  });
  return k.finish();
}

func::FuncOp quern::codegen::emitRotary(ModuleOp module, StringRef name, int64_t headDim, bool interleaved) {
  KernelBody k(module, name, "ppipipiii"); // call, x, xStride, angles, aStride, y, yStride, T, heads
  Emitter &e = k.e;
  int64_t half = headDim / 2, lanes = std::gcd(half, int64_t(16));
  VectorType type = e.f32s(lanes), pairs = e.f32s(2 * lanes);
  auto rotate = [&](Value a, Value b, Value cos, Value sin) {
    return std::pair(e.subf(e.mulf(a, cos), e.mulf(b, sin)), e.addf(e.mulf(b, cos), e.mulf(a, sin)));
  };
  k.forRows(k.args[7], [&](Value t) {
    Value x = k.row(k.args[1], t, k.args[2]), angles = k.row(k.args[3], t, k.args[4]);
    Value y = k.row(k.args[5], t, k.args[6]);
    e.loop(e.i64(0), e.mul(k.args[8], headDim * 4), e.i64(headDim * 4), [&](Value head) {
      Value from = e.at(x, head), to = e.at(y, head);
      for (int64_t i = 0; i < half; i += lanes) {
        Value cos = e.load(type, e.at(angles, i * 4), 4), sin = e.load(type, e.at(angles, (half + i) * 4), 4);
        if (!interleaved) {
          auto [a, b] =
              rotate(e.load(type, e.at(from, i * 4), 4), e.load(type, e.at(from, (half + i) * 4), 4), cos, sin);
          e.store(a, e.at(to, i * 4), 4);
          e.store(b, e.at(to, (half + i) * 4), 4);
          continue;
        }
        auto split = vector::DeinterleaveOp::create(e, e.load(pairs, e.at(from, i * 8), 4));
        auto [a, b] = rotate(split.getRes1(), split.getRes2(), cos, sin);
        e.store(vector::InterleaveOp::create(e, a, b), e.at(to, i * 8), 4);
      }
    });
  });
  return k.finish();
}

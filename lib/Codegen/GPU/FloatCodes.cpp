#include "FloatCodes.h"

#include <cmath>

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

// Of f16. The code 1 stands for its least number with as few bits of mantissa: 2^(-14 - mantissa).
constexpr unsigned kMantissa = 10;
constexpr int kLeastExponent = -14, kMostExponent = 15;

/// The number that a code of `mantissa` bits and an exponent stands for, where 1 stands for 1.
static int64_t number(unsigned code, unsigned mantissa) {
  unsigned exponent = code >> mantissa, rest = code & ((1u << mantissa) - 1);
  return exponent ? int64_t((1u << mantissa) | rest) << (exponent - 1) : rest;
}

std::optional<FloatCodes> FloatCodes::of(const GpuLayout &layout) {
  FloatCodes codes{layout.bits(), 1};
  size_t half = layout.table.size() / 2;
  auto is = [&](size_t code) {
    int64_t wanted = number(unsigned(code % half), codes.mantissa);
    return layout.entry(code) == (code < half ? wanted : -wanted);
  };
  for (; half && codes.mantissa + 2 <= codes.bits; ++codes.mantissa)
    if (llvm::all_of(llvm::seq(layout.table.size()), is))
      return codes;
  return std::nullopt;
}

double FloatCodes::factor() const {
  return std::ldexp(1.0, std::min(0, kMostExponent + kLeastExponent - int(mantissa)));
}

/// The exponent is brought to where f16 has one, which is right but for a power of two, for subnormals too.
Emitter::Values FloatCodes::halves(Emitter &e, Value word) const {
  VectorType two = e.vec(2, e.getF16Type());
  uint32_t magnitudes = ((1u << (bits - 1)) - 1) << (kMantissa - mantissa);
  double factor = std::ldexp(this->factor(), int(mantissa) - kLeastExponent);
  auto shifted = [&](unsigned from, unsigned to) {
    return from > to ? e.shiftRight(word, from - to) : e.shiftLeft(word, to - from);
  };
  Emitter::Values numbers;
  for (unsigned byte : {0u, 8u}) {
    Value magnitude = e.bitAnd(shifted(byte, kMantissa - mantissa), int32_t(magnitudes * 0x10001u));
    Value sign = e.bitAnd(shifted(byte + bits - 1, 15), int32_t(0x80008000));
    Value number = LLVM::BitcastOp::create(e, two, e.bitOr(magnitude, sign));
    numbers.push_back(e.mulf(number, e.real(two, factor)));
  }
  return numbers;
}

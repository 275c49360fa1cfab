// add, sub, mul, mad, fma, div, rem, min, max, abs and neg of integers and floats.
#include "test/ptx/Handlers.h"

#include <limits>

namespace quern::ptx {
namespace {

/// Wraps around: 1u keeps products of 16 bits from being signed ints.
template <typename T, typename Compute> T wrapped(Compute compute, auto... operands) {
  return T(compute((1u * std::make_unsigned_t<T>(operands))...));
}

#define QUERN_PTX_FUNCTOR(Name, expression)                                                                            \
  struct Name {                                                                                                        \
    template <typename T> T operator()(T a, T b) const {                                                               \
      auto compute = [](auto x, auto y) { return expression; };                                                        \
      if constexpr (isFloat<T>)                                                                                        \
        return rounded<T>(compute, a, b);                                                                              \
      else                                                                                                             \
        return wrapped<T>(compute, a, b);                                                                              \
    }                                                                                                                  \
  }
QUERN_PTX_FUNCTOR(Add, x + y);
QUERN_PTX_FUNCTOR(Subtract, x - y);
QUERN_PTX_FUNCTOR(Multiply, x *y);
#undef QUERN_PTX_FUNCTOR

struct MultiplyAdd {
  template <typename T> T operator()(T a, T b, T c) const {
    if constexpr (isFloat<T>)
      return rounded<T>([](auto x, auto y, auto z) { return std::fma(x, y, z); }, a, b, c);
    else
      return wrapped<T>([](auto x, auto y, auto z) { return x * y + z; }, a, b, c);
  }
};

// Division by zero has no defined result in PTX; the hardware gives all ones.
struct Divide {
  template <typename T> T operator()(T a, T b) const {
    if constexpr (isFloat<T>)
      return rounded<T>([](auto x, auto y) { return x / y; }, a, b);
    else if constexpr (std::is_signed_v<T>)
      return b == 0 ? T(-1) : b == -1 ? wrapped<T>([](auto x) { return 0u - x; }, a) : T(a / b);
    else
      return b == 0 ? T(~T(0)) : T(a / b);
  }
};

struct Remainder {
  template <typename T> T operator()(T a, T b) const {
    if (b == 0)
      return a;
    if constexpr (std::is_signed_v<T>)
      return b == -1 ? T(0) : T(a % b);
    else
      return T(a % b);
  }
};

/// The other operand where one is NaN, and +0 greater than -0; with Greatest, a NaN wins under `.NaN`.
template <bool Greatest, bool KeepsNan> struct Extreme {
  template <typename T> T operator()(T a, T b) const {
    if constexpr (isFloat<T>) {
      double x = widen(a), y = widen(b);
      if (std::isnan(x) || std::isnan(y))
        return std::isnan(x) == KeepsNan ? a : b;
      if (x == y)
        return std::signbit(x) == Greatest ? b : a;
      return (x > y) == Greatest ? a : b;
    } else {
      return (a > b) == Greatest ? a : b;
    }
  }
};

struct Absolute {
  template <typename T> T operator()(T a) const {
    if constexpr (isFloat<T>)
      return narrow<T>(std::abs(widen(a)));
    else
      return a < 0 ? wrapped<T>([](auto x) { return 0u - x; }, a) : a;
  }
};

struct Negate {
  template <typename T> T operator()(T a) const {
    if constexpr (isFloat<T>)
      return narrow<T>(-widen(a));
    else
      return wrapped<T>([](auto x) { return 0 - x; }, a);
  }
};

/// Integers of twice the width.
template <typename T> struct WiderOf {
  static constexpr bool isSigned = std::is_signed_v<T>;
  using type = std::conditional_t<sizeof(T) == 2, std::conditional_t<isSigned, int32_t, uint32_t>,
                                  std::conditional_t<sizeof(T) == 4, std::conditional_t<isSigned, int64_t, uint64_t>,
                                                     std::conditional_t<isSigned, __int128, unsigned __int128>>>;
};
template <typename T> using Wider = typename WiderOf<T>::type;

struct MultiplyHigh {
  template <typename T> T operator()(T a, T b) const { return T((Wider<T>(a) * Wider<T>(b)) >> (8 * sizeof(T))); }
};

/// mul.wide and mad.wide: the result, and what is added, have twice the width.
template <int Added> struct MultiplyWide {
  template <typename T> struct Body {
    static Step run(Thread &t, const Instruction &i) {
      Wider<T> result = Wider<T>(t.get<T>(i.slots[1])) * Wider<T>(t.get<T>(i.slots[2]));
      if constexpr (Added)
        result = Wider<T>(std::make_unsigned_t<Wider<T>>(result) +
                          std::make_unsigned_t<Wider<T>>(t.get<Wider<T>>(i.slots[3])));
      t.set(i.slots[0], result);
      return Step::next;
    }
  };
};

/// Takes `.rn`, `.ftz` and `.sat`. Other roundings are refused: nothing of ours rounds so.
void floatModifiers(Decoder &d) {
  if (d.takeOneOf({"rz", "rm", "rp"}) >= 0)
    d.refuse("rounds in a direction that the executor does not know");
  d.ignore({"rn"});
  if (d.take("ftz"))
    d.out.flags |= kFlush;
  if (d.take("sat"))
    d.out.flags |= kSaturate;
}

/// Only f32 flushes and saturates here.
void checkFlags(Decoder &d, Type type) {
  if (d.out.flags && type != Type::f32)
    d.refuse("flushes or saturates with a type other than f32");
}

/// From which capability on floats of 16 bits are added, and compared for the greater one (PTX ISA, target notes).
template <typename Functor> constexpr int kBfloatsNeed = 80;
template <typename Functor> constexpr int kHalvesNeed = 53;
template <> constexpr int kBfloatsNeed<Add> = 90;
template <> constexpr int kBfloatsNeed<Subtract> = 90;
template <> constexpr int kBfloatsNeed<Multiply> = 90;
template <bool Greatest, bool KeepsNan> constexpr int kHalvesNeed<Extreme<Greatest, KeepsNan>> = 80;

template <int N, typename Functor> void either(Decoder &d) {
  floatModifiers(d);
  Type type = d.takeType();
  checkFlags(d, type);
  if (type == Type::bf16 || type == Type::bf16x2)
    d.needs(kBfloatsNeed<Functor>);
  if (type == Type::f16 || type == Type::f16x2)
    d.needs(kHalvesNeed<Functor>);
  d.run(isFloatType(type) ? Operation<N, Functor>::floats(type) : Operation<N, Functor>::integers(type));
  d.destination();
  d.slots(N);
}

template <int N, typename Low, int Added> void product(Decoder &d) {
  int part = d.takeOneOf({"lo", "hi", "wide"});
  if (part < 0)
    return either<N, Low>(d);
  Type type = d.takeType();
  if (part == 0)
    d.run(Operation<N, Low>::integers(type));
  else if (part == 2)
    d.run(select<MultiplyWide<Added>::template Body, uint16_t, uint32_t, int16_t, int32_t>(type));
  else if constexpr (Added)
    d.refuse("is not known to the executor");
  else
    d.run(Operation<2, MultiplyHigh>::integers(type));
  d.destination();
  d.slots(N);
}

/// `div.approx` and `div.full` are exact here; a kernel has to stand their error of 2 ulp.
void divide(Decoder &d) {
  d.ignore({"approx", "full"});
  either<2, Divide>(d);
}

void remainder(Decoder &d) {
  d.run(Operation<2, Remainder>::integers(d.takeType()));
  d.destination();
  d.slots(2);
}

template <bool Greatest> void extreme(Decoder &d) {
  floatModifiers(d);
  if (d.take("NaN")) {
    d.needs(80);
    return either<2, Extreme<Greatest, true>>(d);
  }
  either<2, Extreme<Greatest, false>>(d);
}

} // namespace

const OpcodeTable &arithmeticOpcodes() {
  static const OpcodeTable table = {
      {"add", either<2, Add>},
      {"sub", either<2, Subtract>},
      {"mul", product<2, Multiply, 0>},
      {"mad", product<3, MultiplyAdd, 1>},
      {"fma", either<3, MultiplyAdd>},
      {"div", divide},
      {"rem", remainder},
      {"min", extreme<false>},
      {"max", extreme<true>},
      {"abs", either<1, Absolute>},
      {"neg", either<1, Negate>},
  };
  return table;
}

} // namespace quern::ptx

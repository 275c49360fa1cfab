// mov, cvt and cvta.
#include "test/ptx/Handlers.h"

#include <limits>

namespace quern::ptx {
namespace {

/// Roundings: to nearest even, to zero, down, up; as integers where `toIntegral` (`.rni`).
enum Rounding : uint8_t { nearest, toZero, down, up };
constexpr uint8_t kRoundingMask = 3, kToIntegral = 4, kSaturates = 8, kFlushes = 16;

double integral(double value, int rounding) {
  switch (rounding) {
  case nearest:
    return std::nearbyint(value);
  case toZero:
    return std::trunc(value);
  case down:
    return std::floor(value);
  default:
    return std::ceil(value);
  }
}

/// Out of range becomes the nearest number, NaN 0 (as the hardware has it for integers up to 32 bits).
template <typename To> To toInteger(double value) {
  if (std::isnan(value))
    return 0;
  if (value <= double(std::numeric_limits<To>::min()))
    return std::numeric_limits<To>::min();
  if (value >= double(std::numeric_limits<To>::max()))
    return std::numeric_limits<To>::max();
  return To(value);
}

template <typename To, typename From> To convertFloat(From from, uint8_t flags) {
  double value = widen(prepared(from, flags & kFlushes ? kFlush : 0));
  if constexpr (!isFloat<To>) {
    return toInteger<To>(integral(value, flags & kRoundingMask));
  } else {
    if (flags & kToIntegral)
      value = integral(value, flags & kRoundingMask);
    if (flags & kSaturates)
      value = value > 0 ? std::min(value, 1.0) : 0.0;
    return prepared(narrow<To>(value), flags & kFlushes ? kFlush : 0);
  }
}

template <typename To, typename From> To convertInteger(From from, uint8_t flags) {
  if constexpr (std::is_same_v<To, float> || std::is_same_v<To, double>)
    return To(from); // one rounding, to nearest
  else if constexpr (isFloat<To>)
    return narrow<To>(double(from)); // exact in double up to 53 bits, far beyond f16's and bf16's own
  else if (flags & kSaturates)
    return std::in_range<To>(from) ? To(from)
           : from < 0              ? std::numeric_limits<To>::min()
                                   : std::numeric_limits<To>::max();
  else
    return To(from);
}

template <typename To> struct ConvertTo {
  template <typename From> struct Body {
    static Step run(Thread &t, const Instruction &i) {
      if constexpr (isFloat<From>)
        t.set(i.slots[0], convertFloat<To>(t.get<From>(i.slots[1]), i.flags));
      else
        t.set(i.slots[0], convertInteger<To>(t.get<From>(i.slots[1]), i.flags));
      return Step::next;
    }
  };
};

template <typename... Tos> Alone selectConversion(Type to, Type from) {
  Alone found = nullptr;
  ((to == typeCode<Tos>() ? void(found = select<ConvertTo<Tos>::template Body, uint8_t, uint16_t, uint32_t, uint64_t,
                                                int8_t, int16_t, int32_t, int64_t, Half, Bfloat, float, double>(from))
                          : void()),
   ...);
  return found;
}

/// cvt.rn.f16x2.f32 d, a, b: a in the upper half.
template <typename T> Step convertPair(Thread &t, const Instruction &i) {
  uint64_t upper = toBits(narrow<T>(t.get<float>(i.slots[1]))), lower = toBits(narrow<T>(t.get<float>(i.slots[2])));
  t.slots[i.slots[0]] = upper << 16 | lower;
  return Step::next;
}

void convert(Decoder &d) {
  int rounding = d.takeOneOf({"rn", "rz", "rm", "rp", "rni", "rzi", "rmi", "rpi"});
  d.out.flags = uint8_t(rounding < 0 ? 0 : rounding < 4 ? rounding : (rounding - 4) | kToIntegral);
  d.out.flags |= d.take("ftz") ? kFlushes : 0;
  d.out.flags |= d.take("sat") ? kSaturates : 0;
  Type to = d.takeType(), from = d.takeType();
  bool pair = to == Type::f16x2 || to == Type::bf16x2;
  if (rounding > 0 && rounding < 4)
    d.refuse("rounds in a direction that the executor does not know");
  if (isFloatType(from) && !isFloatType(to) && rounding < 4)
    d.refuse("lacks the rounding to an integer");
  if (pair)
    d.needs(80);
  if (pair && (from != Type::f32 || d.out.flags))
    d.refuse("is known from f32 and to nearest only");
  if (pair)
    d.run(to == Type::f16x2 ? convertPair<Half> : convertPair<Bfloat>);
  else
    d.run(selectConversion<uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t, Half, Bfloat,
                           float, double>(to, from));
  d.destination();
  d.slots(pair ? 2 : 1);
}

/// Between a vector of registers and one register that holds them all, the first in the lowest bits.
Step unpack(Thread &t, const Instruction &i) {
  uint64_t value = t.slots[i.slots[i.flags]];
  for (int k = 0; k < i.flags; ++k)
    t.slots[i.slots[k]] = value >> (i.width * k) & ((uint64_t(1) << i.width) - 1);
  return Step::next;
}

Step pack(Thread &t, const Instruction &i) {
  uint64_t value = 0;
  for (int k = 0; k < i.flags; ++k)
    value |= (t.slots[i.slots[1 + k]] & ((uint64_t(1) << i.width) - 1)) << (i.width * k);
  t.slots[i.slots[0]] = value;
  return Step::next;
}

/// Copies the bits of the type's width, so that a register never holds more.
template <typename T> struct Copy {
  static Step run(Thread &t, const Instruction &i) {
    t.set(i.slots[0], t.get<T>(i.slots[1]));
    return Step::next;
  }
};

void move(Decoder &d) {
  Type type = d.takeType();
  auto split = [&](size_t parts) {
    d.out.flags = uint8_t(parts);
    d.out.width = uint8_t(8 * byteSize(type) / parts);
  };
  const SyntaxOperand *first = d.peek();
  if (first && first->kind == SyntaxOperand::vector) {
    split(first->parts.size());
    d.vector(int(first->parts.size()));
    d.slot();
    return d.run(unpack);
  }
  d.destination();
  const SyntaxOperand *second = d.peek();
  if (second && second->kind == SyntaxOperand::vector) {
    split(second->parts.size());
    d.vector(int(second->parts.size()));
    return d.run(pack);
  }
  d.slot();
  d.run(select<Copy, bool, uint16_t, uint32_t, uint64_t, int16_t, int32_t, int64_t, Half, Bfloat, float, double>(type));
}

/// Generic addresses of shared, local and parameter space lie in windows of their own; those of global memory are
/// equal.
void convertAddress(Decoder &d) {
  bool fromGeneric = d.take("to");
  int space = d.takeOneOf({"global", "shared", "local", "param"});
  if (space < 0)
    d.refuse("names no state space that the executor knows");
  if (d.takeType() != Type::u64)
    d.refuse("is known with u64 only");
  d.destination();
  d.slot();
  constexpr std::array<uint64_t, 4> windows = {0, kSharedWindow, kLocalWindow, kParameterWindow};
  d.constantSlot(space > 0 ? windows[size_t(space)] : 0);
  if (fromGeneric)
    d.run([](Thread &t, const Instruction &i) {
      t.slots[i.slots[0]] = t.slots[i.slots[1]] - t.slots[i.slots[2]];
      return Step::next;
    });
  else
    d.run([](Thread &t, const Instruction &i) {
      t.slots[i.slots[0]] = t.slots[i.slots[1]] + t.slots[i.slots[2]];
      return Step::next;
    });
}

} // namespace

const OpcodeTable &conversionOpcodes() {
  static const OpcodeTable table = {{"mov", move}, {"cvt", convert}, {"cvta", convertAddress}};
  return table;
}

} // namespace quern::ptx

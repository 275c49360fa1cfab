// setp and selp.
#include "test/ptx/Handlers.h"

namespace quern::ptx {
namespace {

// The comparisons in the order of their names below; those from `equ` on are true where an operand is NaN.
constexpr std::initializer_list<std::string_view> kComparisons = {
    "eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"};

template <typename T> bool compare(int comparison, T first, T second) {
  auto plain = [](int which, auto a, auto b) {
    switch (which) {
    case 0:
      return a == b;
    case 1:
      return a != b;
    case 2:
      return a < b;
    case 3:
      return a <= b;
    case 4:
      return a > b;
    default:
      return a >= b;
    }
  };
  if constexpr (isFloat<T>) {
    double a = widen(first), b = widen(second);
    bool unordered = std::isnan(a) || std::isnan(b);
    if (comparison >= 16)
      return unordered == (comparison == 17);
    return unordered ? comparison >= 10 : plain(comparison % 10, a, b);
  } else {
    // lo, ls, hi and hs are lt, le, gt and ge of unsigned integers.
    return plain(comparison >= 6 ? comparison - 4 : comparison, first, second);
  }
}

template <typename T> struct SetPredicate {
  static Step run(Thread &t, const Instruction &i) {
    T a = prepared(t.get<T>(i.slots[2]), i.flags), b = prepared(t.get<T>(i.slots[3]), i.flags);
    bool result = compare(i.width & 31, a, b), with = t.get<bool>(i.slots[4]);
    auto combine = [&](bool value) {
      switch (i.width >> 5) {
      case 1:
        return value && with;
      case 2:
        return value || with;
      case 3:
        return value != with;
      default:
        return value;
      }
    };
    t.set(i.slots[0], combine(result));
    t.set(i.slots[1], combine(!result));
    return Step::next;
  }
};

void setPredicate(Decoder &d) {
  int comparison = d.takeOneOf(kComparisons);
  if (comparison < 0)
    return d.refuse("lacks a comparison that the executor knows");
  int combined = 1 + d.takeOneOf({"and", "or", "xor"});
  d.out.width = uint8_t(comparison | combined << 5);
  if (d.take("ftz"))
    d.out.flags = kFlush;
  Type type = d.takeType();
  if (!isFloatType(type) && comparison >= 10)
    d.refuse("compares integers as floats");
  d.run(
      select<SetPredicate, uint16_t, uint32_t, uint64_t, int16_t, int32_t, int64_t, Half, Bfloat, float, double>(type));
  d.pairOfDestinations();
  d.slots(2);
  if (combined)
    d.slot();
  else
    d.constantSlot(0);
}

void selectOne(Decoder &d) {
  d.takeType();
  d.run([](Thread &t, const Instruction &i) {
    t.slots[i.slots[0]] = t.slots[t.get<bool>(i.slots[3]) ? i.slots[1] : i.slots[2]];
    return Step::next;
  });
  d.destination();
  d.slots(3);
}

} // namespace

const OpcodeTable &compareOpcodes() {
  static const OpcodeTable table = {{"setp", setPredicate}, {"selp", selectOne}};
  return table;
}

} // namespace quern::ptx

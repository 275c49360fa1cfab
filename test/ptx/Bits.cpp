// Logic, shifts, bit fields, byte permutation and dot products of bytes.
#include "test/ptx/Handlers.h"

namespace quern::ptx {
namespace {

struct And {
  template <typename T> T operator()(T a, T b) const { return T(a & b); }
};
struct Or {
  template <typename T> T operator()(T a, T b) const { return T(a | b); }
};
struct Xor {
  template <typename T> T operator()(T a, T b) const { return T(a ^ b); }
};
struct Not {
  template <typename T> T operator()(T a) const {
    if constexpr (std::is_same_v<T, bool>)
      return !a;
    else
      return T(~a);
  }
};

template <int N, typename Functor> void logic(Decoder &d) {
  Type type = d.takeType();
  d.run(select<Operation<N, Functor>::template Body, bool, uint16_t, uint32_t, uint64_t>(type));
  d.destination();
  d.slots(N);
}

/// The count is 32 bits wide for every type; what is shifted by the width or more is gone, or all sign.
template <bool Left> struct Shift {
  template <typename T> struct Body {
    static Step run(Thread &t, const Instruction &i) {
      T value = t.get<T>(i.slots[1]);
      uint32_t count = t.get<uint32_t>(i.slots[2]);
      bool whole = count >= 8 * sizeof(T);
      T none = !Left && value < T(0) ? T(-1) : T(0);
      if constexpr (Left)
        t.set(i.slots[0], whole ? none : T(std::make_unsigned_t<T>(value) * (uint64_t(1) << count)));
      else
        t.set(i.slots[0], whole ? none : T(value >> count));
      return Step::next;
    }
  };
};

template <bool Left> void shift(Decoder &d) {
  d.run(select<Shift<Left>::template Body, uint16_t, uint32_t, uint64_t, int16_t, int32_t, int64_t>(d.takeType()));
  d.destination();
  d.slots(2);
}

/// Funnel shift of the 64 bits b:a; `clamp` or `wrap` says what becomes of counts over 31.
void funnelShift(Decoder &d) {
  d.out.flags = uint8_t(d.takeOneOf({"l", "r"}) == 1 ? 1 : 0);
  d.out.flags |= d.take("wrap") ? 2 : 0;
  d.ignore({"clamp"});
  if (d.takeType() != Type::u32)
    d.refuse("is known with b32 only");
  d.run([](Thread &t, const Instruction &i) {
    uint64_t both = uint64_t(t.get<uint32_t>(i.slots[2])) << 32 | t.get<uint32_t>(i.slots[1]);
    uint32_t count = t.get<uint32_t>(i.slots[3]);
    count = i.flags & 2 ? count & 31 : std::min(count, 32u);
    t.set(i.slots[0], uint32_t(i.flags & 1 ? both >> count : (both << count) >> 32));
    return Step::next;
  });
  d.destination();
  d.slots(3);
}

/// prmt.b32 without a mode: each nibble of c picks one of eight bytes; its top bit spreads the byte's sign instead.
void permute(Decoder &d) {
  if (d.takeType() != Type::u32)
    d.refuse("is known with b32 only");
  d.run([](Thread &t, const Instruction &i) {
    uint64_t both = uint64_t(t.get<uint32_t>(i.slots[2])) << 32 | t.get<uint32_t>(i.slots[1]);
    uint32_t result = 0;
    for (int byte = 0; byte < 4; ++byte) {
      uint32_t pick = t.get<uint32_t>(i.slots[3]) >> (4 * byte) & 15;
      uint8_t chosen = uint8_t(both >> (8 * (pick & 7)));
      if (pick & 8)
        chosen = chosen & 0x80 ? 0xff : 0;
      result |= uint32_t(chosen) << (8 * byte);
    }
    t.set(i.slots[0], result);
    return Step::next;
  });
  d.destination();
  d.slots(3);
}

/// bfe: `c` bits of a from bit `b` on, signed or not.
template <typename T> struct Extract {
  static Step run(Thread &t, const Instruction &i) {
    constexpr uint32_t width = 8 * sizeof(T);
    std::make_unsigned_t<T> value = t.get<std::make_unsigned_t<T>>(i.slots[1]);
    uint32_t from = t.get<uint32_t>(i.slots[2]) & 255, count = t.get<uint32_t>(i.slots[3]) & 255;
    uint32_t last = std::min(from + count, width) - 1;
    bool sign = std::is_signed_v<T> && count > 0 && (value >> std::min(last, width - 1) & 1);
    std::make_unsigned_t<T> result = sign ? ~std::make_unsigned_t<T>(0) : 0;
    for (uint32_t bit = 0; bit < count && from + bit < width; ++bit) {
      std::make_unsigned_t<T> place = std::make_unsigned_t<T>(1) << bit;
      result = value >> (from + bit) & 1 ? result | place : result & ~place;
    }
    t.set(i.slots[0], T(result));
    return Step::next;
  }
};

void extract(Decoder &d) {
  d.run(select<Extract, uint32_t, uint64_t, int32_t, int64_t>(d.takeType()));
  d.destination();
  d.slots(3);
}

/// bfi: a's lowest `d` bits put into b from bit `c` on.
template <typename T> struct Insert {
  static Step run(Thread &t, const Instruction &i) {
    constexpr uint32_t width = 8 * sizeof(T);
    T value = t.get<T>(i.slots[1]), into = t.get<T>(i.slots[2]);
    uint32_t from = t.get<uint32_t>(i.slots[3]) & 255, count = t.get<uint32_t>(i.slots[4]) & 255;
    for (uint32_t bit = 0; bit < count && from + bit < width; ++bit)
      into = T((into & ~(T(1) << (from + bit))) | (T(value >> bit & 1) << (from + bit)));
    t.set(i.slots[0], into);
    return Step::next;
  }
};

void insert(Decoder &d) {
  d.run(select<Insert, uint32_t, uint64_t>(d.takeType()));
  d.destination();
  d.slots(4);
}

struct CountOnes {
  template <typename T> T operator()(T a) const { return T(std::popcount(a)); }
};
struct CountZeros {
  template <typename T> T operator()(T a) const { return T(std::countl_zero(a)); }
};
struct Reverse {
  template <typename T> T operator()(T a) const {
    T result = 0;
    for (uint32_t bit = 0; bit < 8 * sizeof(T); ++bit)
      result = T(result << 1 | (a >> bit & 1));
    return result;
  }
};

template <typename Functor> void bits(Decoder &d) {
  d.run(Operation<1, Functor>::bits(d.takeType()));
  d.destination();
  d.slot();
}

/// lop3.b32: the table says what each combination of a's, b's and c's bits becomes.
void anyLogic(Decoder &d) {
  if (d.takeType() != Type::u32)
    d.refuse("is known with b32 only");
  d.run([](Thread &t, const Instruction &i) {
    uint32_t a = t.get<uint32_t>(i.slots[1]), b = t.get<uint32_t>(i.slots[2]), c = t.get<uint32_t>(i.slots[3]);
    uint32_t table = t.get<uint32_t>(i.slots[4]), result = 0;
    for (uint32_t row = 0; row < 8; ++row)
      if (table >> row & 1)
        result |= (row & 4 ? a : ~a) & (row & 2 ? b : ~b) & (row & 1 ? c : ~c);
    t.set(i.slots[0], result);
    return Step::next;
  });
  d.destination();
  d.slots(4);
}

/// dp4a: c plus the products of four bytes of a and b.
template <typename A, typename B> Step dotBytes(Thread &t, const Instruction &i) {
  uint32_t sum = t.get<uint32_t>(i.slots[3]);
  for (int byte = 0; byte < 4; ++byte)
    sum += uint32_t(int32_t(A(t.slots[i.slots[1]] >> (8 * byte))) * int32_t(B(t.slots[i.slots[2]] >> (8 * byte))));
  t.set(i.slots[0], sum);
  return Step::next;
}

void dot(Decoder &d) {
  bool signedA = d.takeType() == Type::s32, signedB = d.takeType() == Type::s32;
  d.run(signedA   ? signedB ? dotBytes<int8_t, int8_t> : dotBytes<int8_t, uint8_t>
          : signedB ? dotBytes<uint8_t, int8_t>
                  : dotBytes<uint8_t, uint8_t>);
  d.destination();
  d.slots(3);
}

} // namespace

const OpcodeTable &bitOpcodes() {
  static const OpcodeTable table = {
      {"and", logic<2, And>},  {"or", logic<2, Or>},      {"xor", logic<2, Xor>},
      {"not", logic<1, Not>},  {"shl", shift<true>},      {"shr", shift<false>},
      {"shf", funnelShift},    {"prmt", permute},         {"bfe", extract},
      {"bfi", insert},         {"popc", bits<CountOnes>}, {"clz", bits<CountZeros>},
      {"brev", bits<Reverse>}, {"lop3", anyLogic},        {"dp4a", dot},
  };
  return table;
}

} // namespace quern::ptx

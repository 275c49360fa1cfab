// Handlers out of functors: `Operation<N, Functor>::Body<T>::run` applies one to N operands of type T, and rounds,
// flushes and saturates as the instruction's flags say.
#ifndef QUERN_TEST_PTX_HANDLERS_H
#define QUERN_TEST_PTX_HANDLERS_H

#include "test/ptx/Decoder.h"
#include "test/ptx/Thread.h"

#include <cmath>

namespace quern::ptx {

// Flags of operations on f32.
inline constexpr uint8_t kFlush = 1;    ///< `.ftz`: subnormals are zero, read and written
inline constexpr uint8_t kSaturate = 2; ///< `.sat`: between 0 and 1; NaN becomes 0

/// Zero of the same sign instead of a subnormal.
inline float flushed(float value) { return std::abs(value) < 0x1p-126f ? std::copysign(0.0f, value) : value; }

template <typename T> T prepared(T value, uint8_t flags) {
  if constexpr (std::is_same_v<T, float>)
    return flags & kFlush ? flushed(value) : value;
  else
    return value;
}

template <typename T> T finished(T value, uint8_t flags) {
  if constexpr (std::is_same_v<T, float>)
    if (flags & kSaturate)
      value = value > 0 ? std::min(value, 1.0f) : 0.0f;
  return prepared(value, flags);
}

template <int N, typename Functor, typename T, typename Read> T applied(uint8_t flags, Read read) {
  std::array<T, N> operands;
  for (int k = 0; k < N; ++k)
    operands[k] = prepared(read(k), flags);
  return finished<T>(std::apply(Functor(), operands), flags);
}

template <int N, typename Functor> struct Operation {
  template <typename T> struct Body {
    static Step run(Thread &t, const Instruction &i) {
      t.set(i.slots[0], applied<N, Functor, T>(i.flags, [&](int k) { return t.get<T>(i.slots[k + 1]); }));
      return Step::next;
    }
  };

  /// Two values of 16 bits in a register of 32, the first in the lower half.
  template <typename T> struct Pair {
    static Step run(Thread &t, const Instruction &i) {
      uint64_t result = 0;
      for (int half = 0; half < 2; ++half) {
        auto read = [&](int k) { return fromBits<T>(t.slots[i.slots[k + 1]] >> (16 * half)); };
        result |= toBits(applied<N, Functor, T>(0, read)) << (16 * half);
      }
      t.slots[i.slots[0]] = result;
      return Step::next;
    }
  };

  static Alone integers(Type type) {
    return select<Body, uint16_t, uint32_t, uint64_t, int16_t, int32_t, int64_t>(type);
  }
  static Alone bits(Type type) { return select<Body, uint16_t, uint32_t, uint64_t>(type); }
  static Alone floats(Type type) {
    if (type == Type::f16x2)
      return &Pair<Half>::run;
    if (type == Type::bf16x2)
      return &Pair<Bfloat>::run;
    return select<Body, Half, Bfloat, float, double>(type);
  }
};

/// Computes in double and rounds once where T is narrower than f32; else in T.
template <typename T, typename Compute> T rounded(Compute compute, auto... operands) {
  if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double>)
    return compute(operands...);
  else
    return narrow<T>(compute(widen(operands)...));
}

inline bool isFloatType(Type type) { return type >= Type::f16; }

} // namespace quern::ptx

#endif // QUERN_TEST_PTX_HANDLERS_H

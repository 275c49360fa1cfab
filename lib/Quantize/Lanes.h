// Vectors of sixteen lanes, by the compilers' vector extension. Everything here has internal linkage: it is compiled
// once for each instruction set.
#ifndef QUERN_LIB_QUANTIZE_LANES_H
#define QUERN_LIB_QUANTIZE_LANES_H

#include "GroupTile.h"

namespace quern::quantize {
namespace {

using Floats = float __attribute__((vector_size(64)));
using Ints = int32_t __attribute__((vector_size(64)));
using Bytes = uint8_t __attribute__((vector_size(16)));

inline Floats all(float value) { return value - Floats{}; }
inline const Floats &lanes(const float *row) { return *reinterpret_cast<const Floats *>(row); }
inline Floats &lanes(float *row) { return *reinterpret_cast<Floats *>(row); }

inline Floats magnitude(Floats v) { return (Floats)((Ints)v & 0x7fffffff); }
inline Floats least(Floats a, Floats b) { return b < a ? b : a; }
inline Floats greatest(Floats a, Floats b) { return a < b ? b : a; }
inline Floats clamp(Floats v, float low, float high) { return least(greatest(v, all(low)), all(high)); }

/// To the nearest whole number, ties to even, for magnitudes below 2^22.
inline Floats nearest(Floats v) { return (v + 12582912.0f) - 12582912.0f; }

inline Floats squareRoot(Floats v) {
  Floats root;
  for (int lane = 0; lane < kLanes; ++lane)
    root[lane] = __builtin_sqrtf(v[lane]);
  return root;
}

inline void storeCodes(uint8_t *to, Floats codes) {
  *reinterpret_cast<Bytes *>(to) = __builtin_convertvector(__builtin_convertvector(codes, Ints), Bytes);
}
inline Floats loadCodes(const uint8_t *from) {
  return __builtin_convertvector(*reinterpret_cast<const Bytes *>(from), Floats);
}

/// Of each lane the weight of greatest magnitude (the first of equals) and that magnitude.
struct Extremes {
  Floats weight, size;
};
inline Extremes extremes(const GroupTile &tile) {
  Extremes found{};
  for (int k = 0; k < tile.group; ++k) {
    Floats x = lanes(tile.x[k]), size = magnitude(x);
    found.weight = size > found.size ? x : found.weight;
    found.size = greatest(found.size, size);
  }
  return found;
}

/// Groups whose weights are all smaller are taken for zeros by the searches.
inline Ints isLive(const Extremes &found) { return found.size >= 1e-15f; }

} // namespace
} // namespace quern::quantize

#endif // QUERN_LIB_QUANTIZE_LANES_H

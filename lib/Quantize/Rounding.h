// Codes without a search: by one formula, or again from the scale and minimum that are stored. Part of each variant of
// GroupSearch.cpp, so without inline functions of external linkage.
#ifndef QUERN_LIB_QUANTIZE_ROUNDING_H
#define QUERN_LIB_QUANTIZE_ROUNDING_H

#include "Lanes.h"

namespace quern::quantize {
namespace {

/// Index of the entry nearest to v; of two as near, the higher.
Ints nearestEntry(Floats v, const int16_t *values) {
  Ints index{};
  for (int i = 1; i < 16; ++i) // a true comparison is -1
    index -= v >= 0.5f * float(values[i - 1] + values[i]);
  return index;
}

void recodeTable(GroupTile &tile, const int16_t *values) {
  Floats scale = lanes(tile.scale);
  Floats inverse = scale != 0.0f ? 1.0f / scale : Floats{};
  for (int k = 0; k < tile.group; ++k)
    *reinterpret_cast<Bytes *>(tile.code[k]) =
        __builtin_convertvector(nearestEntry(inverse * lanes(tile.x[k]), values), Bytes);
}

void extremeFirst(GroupTile &tile, int reach) {
  Floats scale = extremes(tile).weight / float(-reach);
  Floats inverse = scale != 0.0f ? 1.0f / scale : Floats{};
  lanes(tile.scale) = scale;
  for (int k = 0; k < tile.group; ++k) // conversion to an integer drops the fraction
    storeCodes(tile.code[k], least(lanes(tile.x[k]) * inverse + (float(reach) + 0.5f), all(float(2 * reach - 1))));
}

void fullRange(GroupTile &tile, int reach) {
  Floats low = lanes(tile.x[0]), high = low;
  for (int k = 1; k < tile.group; ++k) {
    low = least(low, lanes(tile.x[k]));
    high = greatest(high, lanes(tile.x[k]));
  }
  Floats scale = (high - low) / float(reach);
  Floats inverse = scale != 0.0f ? 1.0f / scale : Floats{};
  lanes(tile.scale) = scale;
  lanes(tile.minimum) = -low;
  for (int k = 0; k < tile.group; ++k)
    storeCodes(tile.code[k], least((lanes(tile.x[k]) - low) * inverse + 0.5f, all(float(reach))));
}

void roundToByte(GroupTile &tile) {
  Floats scale = extremes(tile).size / 127.0f;
  Floats inverse = scale != 0.0f ? 1.0f / scale : Floats{};
  lanes(tile.scale) = scale;
  for (int k = 0; k < tile.group; ++k) { // halves away from zero
    Floats v = lanes(tile.x[k]) * inverse, size = magnitude(v);
    Floats whole = __builtin_convertvector(__builtin_convertvector(size, Ints), Floats);
    whole += size - whole >= 0.5f ? all(1.0f) : Floats{};
    Ints code = __builtin_convertvector(v < 0.0f ? -whole : whole, Ints) & 0xff;
    *reinterpret_cast<Bytes *>(tile.code[k]) = __builtin_convertvector(code, Bytes);
  }
}

void powerOfTwo(GroupTile &tile, const int16_t *values, int count, float unit, int exponentOfGreatest, bool toEven) {
  Floats size = extremes(tile).size, scale{};
  for (int lane = 0; lane < kLanes; ++lane)
    if (size[lane] > 0.0f) {
      int exponent = int(__builtin_floorf(__builtin_log2f(size[lane]))) - exponentOfGreatest;
      exponent = exponent < -127 ? -127 : exponent > 127 ? 127 : exponent;
      scale[lane] = __builtin_ldexpf(1.0f, exponent);
    }
  Floats used = scale > 0.0f ? scale : all(0x1p-127f);
  lanes(tile.scale) = used;
  for (int k = 0; k < tile.group; ++k) {
    Floats x = lanes(tile.x[k]), error = all(__builtin_inff()), code{};
    auto consider = [&](int i) {
      Floats off = magnitude(used * (unit * float(values[i])) - x);
      code = off < error ? all(float(i)) : code;
      error = least(error, off);
    };
    for (int i = 0, step = toEven ? 2 : 1; i < count; i += step)
      consider(i);
    for (int i = 1; toEven && i < count; i += 2)
      consider(i);
    storeCodes(tile.code[k], code);
  }
}

void recodeSymmetric(GroupTile &tile, int reach) {
  Floats scale = lanes(tile.scale);
  for (int k = 0; k < tile.group; ++k) {
    Floats code = clamp(nearest(lanes(tile.x[k]) / scale), float(-reach), float(reach - 1)) + float(reach);
    storeCodes(tile.code[k], scale != 0.0f ? code : loadCodes(tile.code[k]));
  }
}

void recodeWithMinimum(GroupTile &tile, int reach) {
  Floats scale = lanes(tile.scale), minimum = lanes(tile.minimum);
  for (int k = 0; k < tile.group; ++k) {
    Floats code = clamp(nearest((lanes(tile.x[k]) + minimum) / scale), 0.0f, float(reach));
    storeCodes(tile.code[k], scale != 0.0f ? code : loadCodes(tile.code[k]));
  }
}

} // namespace
} // namespace quern::quantize

#endif // QUERN_LIB_QUANTIZE_ROUNDING_H

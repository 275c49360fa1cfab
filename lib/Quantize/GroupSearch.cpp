// The searches over sixteen groups. Compiled once for each instruction set as QUERN_VARIANT, without fused
// multiply-add; includes nothing that has inline functions of external linkage.
#include "Rounding.h"

namespace quern::quantize {
namespace {

void load(GroupTile &tile, const float *row, const float *importance, int count, Weighting weighting) {
  int group = tile.group;
  for (int k = 0; k < group; ++k) {
    Floats x{}, q{};
    for (int lane = 0; lane < count; ++lane)
      x[lane] = row[lane * group + k];
    if (importance)
      for (int lane = 0; lane < count; ++lane)
        q[lane] = importance[lane * group + k];
    lanes(tile.x[k]) = x;
    if (weighting == Weighting::Square)
      lanes(tile.weight[k]) = x * x;
    else if (weighting == Weighting::Importance)
      lanes(tile.weight[k]) = q;
    else if (weighting == Weighting::Scaled)
      lanes(tile.weight[k]) = q * squareRoot(lanes(tile.variance) + x * x);
    else
      lanes(tile.weight[k]) = magnitude(x);
  }
  if (weighting != Weighting::RmsMagnitude)
    return;
  Floats sum{};
  for (int k = 0; k < group; ++k)
    sum += lanes(tile.x[k]) * lanes(tile.x[k]);
  Floats rms = squareRoot(sum / float(group));
  for (int k = 0; k < group; ++k)
    lanes(tile.weight[k]) = rms + lanes(tile.weight[k]);
}

void store(const GroupTile &tile, int count, uint8_t *codes) {
  for (int lane = 0; lane < count; ++lane)
    for (int k = 0; k < tile.group; ++k)
      *codes++ = tile.code[k][lane];
}

Floats symmetricCode(Floats x, Floats inverse, int reach) {
  return clamp(nearest(inverse * x), float(-reach), float(reach - 1));
}

/// Sums of weight * x * code and weight * code^2. The best scale for these codes is their ratio, and what it takes off
/// the error is xc^2 / cc.
struct Products {
  Floats xc{}, cc{};
  void add(Floats weight, Floats x, Floats code) {
    xc += weight * x * code;
    cc += weight * code * code;
  }
};

void symmetric(GroupTile &tile, int reach) {
  Extremes extreme = extremes(tile);
  Ints live = isLive(extreme);
  auto products = [&](Floats inverse) {
    Products sum;
    for (int k = 0; k < tile.group; ++k)
      sum.add(lanes(tile.weight[k]), lanes(tile.x[k]), symmetricCode(lanes(tile.x[k]), inverse, reach));
    return sum;
  };
  Floats inverse = float(-reach) / extreme.weight;
  Products sum = products(inverse);
  Floats scale = sum.cc != 0.0f ? sum.xc / sum.cc : Floats{};
  Floats gain = scale * sum.xc;
  for (int i = -9; i <= 9; ++i) {
    if (i == 0)
      continue;
    Floats tried = -(float(reach) + 0.1f * float(i)) / extreme.weight;
    sum = products(tried);
    Ints better = (sum.cc > 0.0f) & (sum.xc * sum.xc > gain * sum.cc);
    inverse = better ? tried : inverse;
    scale = better ? sum.xc / sum.cc : scale;
    gain = better ? scale * sum.xc : gain;
  }
  lanes(tile.scale) = live ? scale : Floats{};
  for (int k = 0; k < tile.group; ++k)
    storeCodes(tile.code[k], live ? symmetricCode(lanes(tile.x[k]), inverse, reach) + float(reach) : Floats{});
}

/// From the codes at the plain scale, each code in turn moves to where the others want it, as long as that helps.
void symmetricByDescent(GroupTile &tile, int reach) {
  Extremes extreme = extremes(tile);
  Ints live = isLive(extreme);
  Floats code[kMaxGroup];
  Products sum;
  for (int k = 0; k < tile.group; ++k) {
    code[k] = symmetricCode(lanes(tile.x[k]), float(-reach) / extreme.weight, reach);
    sum.add(lanes(tile.weight[k]), lanes(tile.x[k]), code[k]);
  }
  for (int pass = 0; pass < 5; ++pass) {
    Ints changed{};
    for (int k = 0; k < tile.group; ++k) {
      Floats x = lanes(tile.x[k]), weight = lanes(tile.weight[k]);
      Products without = {sum.xc - weight * x * code[k], sum.cc - weight * code[k] * code[k]};
      Floats wanted = clamp(nearest(x * without.cc / without.xc), float(-reach), float(reach - 1));
      Products with = without;
      with.add(weight, x, wanted);
      Ints better = live & (without.xc > 0.0f) & (wanted != code[k]) & (with.cc > 0.0f) &
                    (with.xc * with.xc * sum.cc > sum.xc * sum.xc * with.cc);
      code[k] = better ? wanted : code[k];
      sum.xc = better ? with.xc : sum.xc;
      sum.cc = better ? with.cc : sum.cc;
      changed |= better;
    }
    int any = 0;
    for (int lane = 0; lane < kLanes; ++lane)
      any |= changed[lane];
    if (!any)
      break;
  }
  lanes(tile.scale) = (live & (sum.cc > 0.0f)) ? sum.xc / sum.cc : Floats{};
  for (int k = 0; k < tile.group; ++k)
    storeCodes(tile.code[k], live ? code[k] + float(reach) : Floats{});
}

/// A candidate step rounds the weights to codes; the scale and the offset that suit these codes best by least squares
/// are kept if their error is less. Later candidates start from the offset of the best one so far.
struct MinimumSearch {
  GroupTile &tile;
  float reach;
  bool absolute;
  Floats code[kMaxGroup];

  Floats codeAt(int k, Floats inverse, Floats low) const {
    return clamp(nearest(inverse * (lanes(tile.x[k]) - low)), 0.0f, reach);
  }
  Floats error(Floats scale, Floats low) const {
    Floats sum{};
    for (int k = 0; k < tile.group; ++k) {
      Floats off = scale * code[k] + low - lanes(tile.x[k]);
      sum += lanes(tile.weight[k]) * (absolute ? magnitude(off) : off * off);
    }
    return sum;
  }

  /// The scale and the offset of the least error for some codes; none where the determinant is not above 0.
  struct Fit {
    Floats scale, low, determinant;
  };
  /// Makes the codes and fits them.
  Fit fit(Floats inverse, Floats low, Floats sumW, Floats sumX) {
    Floats c{}, cc{}, xc{};
    for (int k = 0; k < tile.group; ++k) {
      Floats own = code[k] = codeAt(k, inverse, low), weighted = lanes(tile.weight[k]) * own;
      c += weighted;
      cc += weighted * own;
      xc += weighted * lanes(tile.x[k]);
    }
    Floats determinant = sumW * cc - c * c;
    Floats scale = (sumW * xc - sumX * c) / determinant, best = (cc * sumX - c * xc) / determinant;
    Ints above = best > 0.0f;
    return {above ? xc / cc : scale, above ? Floats{} : best, determinant};
  }
};

void withMinimum(GroupTile &tile, int reach, const Candidates &candidates) {
  MinimumSearch search{tile, float(reach), candidates.absolute, {}};
  Floats low{}, high = lanes(tile.x[0]), sumW{}, sumX{};
  for (int k = 0; k < tile.group; ++k) {
    low = least(low, lanes(tile.x[k]));
    high = greatest(high, lanes(tile.x[k]));
    sumW += lanes(tile.weight[k]);
    sumX += lanes(tile.weight[k]) * lanes(tile.x[k]);
  }
  Ints live = high > low;
  Floats range = high - low, minimum = -low, inverse = search.reach / range, codeLow = low, codeInverse = inverse;
  Floats scale = 1.0f / inverse;
  for (int k = 0; k < tile.group; ++k)
    search.code[k] = search.codeAt(k, inverse, low);
  Floats best = search.error(scale, low);
  for (int i = 0; i <= candidates.last; ++i) {
    // The range stays that of the offset reached so far.
    inverse = (candidates.first + candidates.step * float(i) + search.reach) / (high - low);
    MinimumSearch::Fit fit = search.fit(inverse, low, sumW, sumX);
    Floats error = search.error(fit.scale, fit.low);
    Ints better = (fit.determinant > 0.0f) & (error < best);
    codeLow = better ? low : codeLow;
    codeInverse = better ? inverse : codeInverse;
    best = better ? error : best;
    scale = better ? fit.scale : scale;
    low = better ? fit.low : low;
  }
  lanes(tile.scale) = live ? scale : Floats{};
  lanes(tile.minimum) = live ? -low : minimum;
  for (int k = 0; k < tile.group; ++k)
    storeCodes(tile.code[k], live ? search.codeAt(k, codeInverse, codeLow) : Floats{});
}

Floats nearestValue(Floats v, const int16_t *values) {
  Floats value = all(float(values[0]));
  for (int i = 1; i < 16; ++i)
    value = v >= 0.5f * float(values[i - 1] + values[i]) ? all(float(values[i])) : value;
  return value;
}

void table(GroupTile &tile, const int16_t *values, int tries) {
  Extremes extreme = extremes(tile);
  Ints live = isLive(extreme);
  float first = float(values[0]);
  Floats inverse = 1.0f / (extreme.weight / -first), scale{}, gain{};
  for (int i = -tries - 1; i <= tries; ++i) {
    bool start = i < -tries; // the candidate to beat: the extreme opposite to the table's first entry
    Floats tried = start ? inverse : (float(i) + first) / extreme.weight;
    Products sum;
    for (int k = 0; k < tile.group; ++k) { // rounds weight * value first, unlike Products::add
      Floats value = nearestValue(tried * lanes(tile.x[k]), values), weighted = lanes(tile.weight[k]) * value;
      sum.xc += weighted * lanes(tile.x[k]);
      sum.cc += weighted * value;
    }
    Ints better = (sum.cc > 0.0f) & (start | (sum.xc * sum.xc > gain * sum.cc));
    scale = better ? sum.xc / sum.cc : scale;
    gain = better ? scale * sum.xc : gain;
  }
  lanes(tile.scale) = live ? scale : Floats{};
}

} // namespace

extern const Searches QUERN_VARIANT;
const Searches QUERN_VARIANT = {load,       store,           symmetric,         symmetricByDescent, withMinimum,
                                table,      extremeFirst,    fullRange,         roundToByte,        powerOfTwo,
                                recodeSymmetric, recodeWithMinimum, recodeTable};

} // namespace quern::quantize

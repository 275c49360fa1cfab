#include "SuperScales.h"

#include <algorithm>
#include <cmath>

using namespace quern;

static constexpr float kSmallest = 1e-15f; // numbers below count as zero

/// To the nearest integer, ties to even. Steps over subnormal numbers may be infinite, and their products no number.
static int nearest(float value) {
  constexpr float limit = 1 << 22;
  return std::isnan(value) ? 0 : int(std::nearbyintf(std::clamp(value, -limit, limit)));
}

float quantize::fitLinear(std::span<const float> numbers, int reach, uint8_t *factors) {
  float most = std::max(0.0f, *std::max_element(numbers.begin(), numbers.end()));
  float inverse = most > 0 ? float(reach) / most : 0.0f;
  for (size_t i = 0; i < numbers.size(); ++i)
    factors[i] = uint8_t(std::min(reach, nearest(inverse * numbers[i])));
  return most / float(reach);
}

namespace {
/// Numbers and what their errors count for; a trial's sums.
struct WeightedFit {
  std::span<const float> numbers;
  const float *weights;
  int reach;
  float nf = 0, ff = 0; ///< sums of weight * number * factor, weight * factor^2

  float error(float inverse, bool limited) const {
    float sum = 0;
    for (size_t i = 0; i < numbers.size(); ++i) {
      int factor = nearest(inverse * numbers[i]);
      float off = numbers[i] - 1 / inverse * float(limited ? std::min(reach, factor) : factor);
      sum += weights[i] * off * off;
    }
    return sum;
  }

  /// Moves one factor to where the others want it; false if that does not help.
  bool improve(size_t i, uint8_t &factor) {
    float number = numbers[i], weight = weights[i], old = float(factor);
    float nfNew = nf - weight * number * old, ffNew = ff - weight * old * old;
    if (!(nfNew > 0 && ffNew > 0))
      return false;
    int wanted = std::min(reach, nearest(number * ffNew / nfNew));
    if (wanted == factor)
      return false;
    nfNew += weight * number * float(wanted);
    ffNew += weight * float(wanted) * float(wanted);
    if (!(nfNew * nfNew * ff > nf * nf * ffNew))
      return false;
    factor = uint8_t(wanted), nf = nfNew, ff = ffNew;
    return true;
  }
};
} // namespace

float quantize::fitWeighted(std::span<const float> numbers, const float *weights, int reach, uint8_t *factors) {
  float most = *std::max_element(numbers.begin(), numbers.end());
  std::fill_n(factors, numbers.size(), uint8_t(0));
  if (!(most >= kSmallest))
    return 0;
  WeightedFit fit{numbers, weights, reach};
  float inverse = float(reach) / most, best = fit.error(inverse, false);
  for (int i = -4; i <= 4; ++i) {
    float tried = (0.1f * float(i) + float(reach)) / most;
    if (float error = fit.error(tried, true); i != 0 && error < best)
      best = error, inverse = tried;
  }
  for (size_t i = 0; i < numbers.size(); ++i) {
    factors[i] = uint8_t(std::min(reach, nearest(inverse * numbers[i])));
    fit.nf += weights[i] * numbers[i] * float(factors[i]);
    fit.ff += weights[i] * float(factors[i]) * float(factors[i]);
  }
  for (int pass = 0, changed = 1; pass < 5 && changed; ++pass) {
    changed = 0;
    for (size_t i = 0; i < numbers.size(); ++i)
      changed += fit.improve(i, factors[i]);
  }
  return fit.ff > 0 ? fit.nf / fit.ff : 0.0f;
}

float quantize::fitSigned(std::span<const float> numbers, int reach, int highest, int *factors) {
  float extreme = 0;
  for (float number : numbers)
    if (std::fabs(number) > std::fabs(extreme))
      extreme = number;
  std::fill_n(factors, numbers.size(), 0);
  if (extreme == 0)
    return 0;
  float inverse = float(-reach) / extreme;
  for (size_t i = 0; i < numbers.size(); ++i)
    factors[i] = std::clamp(nearest(inverse * numbers[i]), -reach, highest);
  return extreme;
}

// Bases are round numbers (10000, 1000000, 500000), so the roundest number that explains all angles is the one that was
// meant; the tables of a graph hold it only as cosines in f32.
#include "Rotary.h"

#include <algorithm>
#include <cmath>

using namespace quern;
using namespace quern::import;
using namespace quern::import::language;

static double frequencyOf(double theta, size_t i, size_t pairs) { return std::pow(theta, -double(i) / double(pairs)); }

static double rounded(double value, int digits) {
  double unit = std::pow(10, std::floor(std::log10(value)) + 1 - digits);
  return std::nearbyint(value / unit) * unit;
}

/// Numbers that the base may be, by the pair that tells it best, roundest first.
static std::vector<double> candidates(const std::vector<double> &frequencies, size_t pair, int digits) {
  std::vector<double> out;
  double estimate = std::pow(frequencies[pair], -double(frequencies.size()) / double(pair));
  if (estimate >= 1 && std::isfinite(estimate))
    for (int i = 1; i <= digits; ++i)
      out.push_back(rounded(estimate, i));
  return out;
}

Result<Rotary> language::fitRotary(const std::vector<double> &frequencies, bool coarse, std::optional<double> given) {
  size_t pairs = frequencies.size();
  if (std::ranges::any_of(frequencies, [](double f) { return !(f > 0); }))
    return fail("turns some pairs of its heads backwards or not at all");
  auto explains = [&](double theta) {
    for (size_t i = 0; i < pairs; ++i) {
      double wanted = frequencyOf(theta, i, pairs), off = std::fabs(frequencies[i] - wanted);
      if (coarse ? off > 2e-3 : off > 4e-6 * wanted)
        return false;
    }
    return true;
  };
  std::vector<double> all;
  if (given)
    all.push_back(*given);
  if (pairs == 1)
    all.push_back(10000);
  for (size_t pair : {pairs - 1, std::max<size_t>(pairs / 4, 1)})
    if (pair > 0 && pair < pairs)
      std::ranges::copy(candidates(frequencies, pair, coarse ? 2 : 7), std::back_inserter(all));
  if (auto found = std::ranges::find_if(all, explains); found != all.end())
    return Rotary{*found, {}};
  if (coarse || pairs < 2)
    return fail("turns its heads by angles that no base explains as closely as its tables of 16-bit floats tell them; "
                "config.json with 'rope_theta' beside the model would");
  // Scaled frequencies: the highest ones are left as they are, so they tell the base.
  all = candidates(frequencies, 1, 7);
  if (given)
    all.insert(all.begin(), *given);
  auto keepsFirst = [&](double theta) {
    return std::fabs(frequencies[1] - frequencyOf(theta, 1, pairs)) <= 4e-6 * frequencies[1];
  };
  auto found = std::ranges::find_if(all, keepsFirst);
  if (found == all.end())
    return fail("turns its heads by angles that no base explains");
  Rotary out{*found, {}};
  for (size_t i = 0; i < pairs; ++i) {
    double factor = frequencyOf(out.theta, i, pairs) / frequencies[i];
    out.factors.push_back(std::fabs(factor - 1) < 4e-6 ? 1.0f : static_cast<float>(factor));
  }
  return out;
}

#include "quern/Runtime/Sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

namespace quern {

double uniformAt(uint64_t seed, uint64_t position) {
  // The finisher of SplitMix64 (Steele et al., 2014), over seed and position one after the other.
  auto mix = [](uint64_t x) {
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
  };
  return double(mix(mix(seed) ^ position) >> 11) * 0x1p-53;
}

Result<Sampler> Sampler::create(const SamplerSettings &settings) {
  for (auto [name, value] : {std::pair{"temperature", settings.temperature}, {"top-p", settings.topP},
                             {"min-p", settings.minP}, {"repetition penalty", settings.repeatPenalty}})
    if (!std::isfinite(value))
      return fail(std::string("the ") + name + " is not a number");
  if (settings.repeatPenalty <= 0)
    return fail("the repetition penalty should be positive; 1 is off");
  if (settings.topP <= 0)
    return fail("top-p should be positive; 1 is off");
  if (settings.minP > 1)
    return fail("min-p should be at most 1; 0 is off");
  return Sampler(settings);
}

/// Larger logits first, then lower ids: a total order, so that any way to sort gives the same.
bool Sampler::before(const Candidate &a, const Candidate &b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

void Sampler::penalize(std::span<const int32_t> history) {
  if (settings.repeatPenalty == 1.0f)
    return;
  size_t window = settings.repeatLastN < 0 ? history.size() : std::min(history.size(), size_t(settings.repeatLastN));
  seen.assign(history.end() - long(window), history.end());
  std::sort(seen.begin(), seen.end());
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  for (int32_t token : seen)
    if (token >= 0 && size_t(token) < candidates.size()) {
      float &logit = candidates[size_t(token)].logit; // not sorted yet: index is id
      logit = logit > 0 ? logit / settings.repeatPenalty : logit * settings.repeatPenalty;
    }
}

void Sampler::keepTopK() {
  if (settings.topK <= 0 || size_t(settings.topK) >= candidates.size())
    return;
  std::nth_element(candidates.begin(), candidates.begin() + settings.topK - 1, candidates.end(), before);
  candidates.resize(size_t(settings.topK));
}

void Sampler::weigh(float largest) {
  weights.resize(candidates.size());
  for (size_t i = 0; i < candidates.size(); ++i)
    weights[i] = std::exp((double(candidates[i].logit) - largest) / settings.temperature);
}

/// Sorts as many of the largest candidates as make up top-p, and drops the rest.
void Sampler::keepTopP(float largest) {
  if (settings.topP >= 1)
    return;
  double total = 0, sum = 0;
  for (double weight : weights)
    total += weight;
  size_t sorted = 0;
  for (size_t batch = 256;; batch *= 4) { // the nucleus is nearly always small: do not sort the whole vocabulary
    size_t end = std::min(sorted + batch, candidates.size());
    std::partial_sort(candidates.begin() + long(sorted), candidates.begin() + long(end), candidates.end(), before);
    for (; sorted < end; ++sorted) {
      sum += std::exp((double(candidates[sorted].logit) - largest) / settings.temperature);
      if (sum >= settings.topP * total || sorted + 1 == candidates.size()) {
        candidates.resize(sorted + 1);
        weigh(largest);
        return;
      }
    }
  }
}

/// The first candidate, in the order they stand in, at which the sum of weights exceeds u of all; those below min-p do
/// not count.
int32_t Sampler::draw(double u) const {
  double least = settings.minP > 0 ? double(settings.minP) : 0.0; // the largest weight is 1
  double total = 0;
  for (double weight : weights)
    total += weight >= least ? weight : 0;
  double sum = 0;
  int32_t token = -1;
  for (size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] < least || weights[i] == 0)
      continue;
    token = candidates[i].token;
    sum += weights[i];
    if (sum > u * total)
      break;
  }
  return token; // rounding may leave the sum a little short: then the last one
}

Result<int32_t> Sampler::sample(std::span<const float> logits, std::span<const int32_t> history) {
  constexpr float kNever = -std::numeric_limits<float>::infinity();
  candidates.clear();
  for (size_t i = 0; i < logits.size(); ++i)
    candidates.push_back({std::isnan(logits[i]) ? kNever : logits[i], int32_t(i)});
  penalize(history);
  const auto best = std::min_element(candidates.begin(), candidates.end(), before);
  if (best == candidates.end() || best->logit == kNever)
    return fail("the logits hold no number; the model's weights may be damaged (quern inspect --verify)");
  float largest = best->logit;
  if (settings.temperature <= 0 || std::isinf(largest))
    return best->token;
  keepTopK();
  // Ids ascend where nothing was cut by rank; else the order is by rank, so that a draw has one meaning.
  if (settings.topK > 0)
    std::sort(candidates.begin(), candidates.end(), before);
  weigh(largest);
  keepTopP(largest);
  return draw(uniformAt(settings.seed, history.size()));
}

} // namespace quern

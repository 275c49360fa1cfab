#include "quern/Runtime/Sampler.h"

#include <algorithm>
#include <bit>
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

std::optional<RowDraw> drawOn(const SamplerSettings &settings, uint64_t position) {
  if (settings.repeatPenalty != 1)
    return std::nullopt;
  if (settings.temperature <= 0)
    return RowDraw();
  RowDraw draw;
  draw.inverseTemperature = 1 / settings.temperature;
  if (!std::isfinite(draw.inverseTemperature))
    return std::nullopt;
  draw.topP = std::min(settings.topP, 1.0f);
  draw.minP = std::max(settings.minP, 0.0f);
  draw.topK = std::max(settings.topK, 0);
  draw.random = std::min(float(uniformAt(settings.seed, position)), 1 - 0x1p-23f);
  return draw;
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

void Sampler::penalize(std::span<const float> logits, std::span<const int32_t> history) {
  penalized.assign(logits.begin(), logits.end());
  size_t window = given.repeatLastN < 0 ? history.size() : std::min(history.size(), size_t(given.repeatLastN));
  seen.assign(history.end() - long(window), history.end());
  std::sort(seen.begin(), seen.end());
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  for (int32_t token : seen)
    if (token >= 0 && size_t(token) < penalized.size()) {
      float &logit = penalized[size_t(token)];
      logit = logit > 0 ? logit / given.repeatPenalty : logit * given.repeatPenalty;
    }
}

/// Afterwards the candidates are in order of rank; without top-k they stay in order of id.
void Sampler::keepTopK() {
  if (given.topK <= 0)
    return;
  size_t count = std::min(size_t(given.topK), candidates.size());
  std::partial_sort(candidates.begin(), candidates.begin() + long(count), candidates.end(), before);
  candidates.resize(count);
}

/// e^x for x <= 0 to 2e-7 of its value, 0 below -87. Branch-free, so that the compiler makes vectors of it: the whole
/// vocabulary is weighed for each token, and the library's exp would take a tenth of the time of a small model's step.
static float expOfNegative(float x) {
  float clamped = x < -87.0f ? -87.0f : x;
  constexpr float kRound = 0x1.8p23f; // adding it leaves the nearest whole number in the lowest bits
  float shifted = clamped * 1.44269504f + kRound;
  float whole = shifted - kRound;
  // ln 2 in two parts, the first with few bits, so that the rest keeps its precision (Cody and Waite).
  float rest = (clamped - whole * 0.693359375f) + whole * 2.12194440e-4f;
  // Taylor's series to the sixth power: |rest| <= 0.35, so the next term is below 1.3e-7.
  float sum = 1.0f / 720;
  for (float coefficient : {1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f})
    sum = sum * rest + coefficient;
  float power = std::bit_cast<float>((std::bit_cast<int32_t>(shifted) + 127) << 23);
  return x < -87.0f ? 0.0f : sum * power;
}

void Sampler::weigh(float largest) {
  weights.resize(candidates.size());
  float scale = 1 / given.temperature;
  for (size_t i = 0; i < candidates.size(); ++i)
    weights[i] = expOfNegative((candidates[i].logit - largest) * scale);
}

/// Sorts as many of the largest candidates as make up top-p, and drops the rest.
void Sampler::keepTopP(float largest) {
  if (given.topP >= 1)
    return;
  double total = 0, sum = 0;
  for (float weight : weights)
    total += weight;
  size_t sorted = 0;
  for (size_t batch = 256;; batch *= 4) { // the nucleus is nearly always small: do not sort the whole vocabulary
    size_t end = std::min(sorted + batch, candidates.size());
    std::partial_sort(candidates.begin() + long(sorted), candidates.begin() + long(end), candidates.end(), before);
    for (; sorted < end; ++sorted) {
      sum += expOfNegative((candidates[sorted].logit - largest) / given.temperature);
      if (sum >= given.topP * total || sorted + 1 == candidates.size()) {
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
  float least = std::max(given.minP, 0.0f); // the largest weight is 1
  double total = 0;
  for (float weight : weights)
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

/// The largest logit that is a number, -inf if there is none. Sixteen at a time: the compiler makes vectors of it.
static float largestOf(std::span<const float> logits) {
  constexpr size_t kLanes = 16;
  float best[kLanes];
  std::fill(best, best + kLanes, -std::numeric_limits<float>::infinity());
  size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes)
    for (size_t lane = 0; lane < kLanes; ++lane)
      best[lane] = logits[i + lane] > best[lane] ? logits[i + lane] : best[lane];
  for (; i < logits.size(); ++i)
    best[0] = logits[i] > best[0] ? logits[i] : best[0];
  return *std::max_element(best, best + kLanes);
}

Result<int32_t> Sampler::chosen(int32_t token) {
  if (token < 0)
    return fail("the logits hold no number; the model's weights may be damaged (quern inspect --verify)");
  return token;
}

Result<int32_t> Sampler::sample(std::span<const float> logits, std::span<const int32_t> history) {
  if (given.repeatPenalty != 1.0f) {
    penalize(logits, history);
    logits = penalized;
  }
  float largest = largestOf(logits);
  if (largest == -std::numeric_limits<float>::infinity())
    return chosen(-1);
  if (given.temperature <= 0 || std::isinf(largest))
    return int32_t(std::find(logits.begin(), logits.end(), largest) - logits.begin());
  candidates.clear();
  for (size_t i = 0; i < logits.size(); ++i)
    if (!std::isnan(logits[i]))
      candidates.push_back({logits[i], int32_t(i)});
  keepTopK();
  weigh(largest);
  keepTopP(largest);
  return draw(uniformAt(given.seed, history.size()));
}

} // namespace quern

// Attention as compiled code does it: tiles of 64 keys, each with its own maximum and 16 sums of weights, merged in
// ascending order into spans, and these in ascending order.
#include "ExactArithmetic.h"

#include <algorithm>
#include <cmath>
#include <limits>

using namespace quern;
using namespace quern::reference;

static constexpr int64_t kKeyTile = 64, kLeastSpan = 512, kMostSpans = 32;
static constexpr float kQueryLimit = 127 * 128, kWeightLimit = 128 * 128 - 1; // of two digits to the base 128

namespace {

/// What is known of a head's keys so far.
struct State {
  float maximum = -std::numeric_limits<float>::max(), total = 0;
  std::vector<float> sums;
};

} // namespace

float ExactArithmetic::score(std::span<const double> query, const HeadCache &cache, int64_t j) const {
  const double *key = cache.layer.keys.data() + cache.at(j);
  float even = 0, odd = 0;
  for (size_t d = 0; d < query.size(); d += 2) {
    even = multiplyAdd(float(key[d]), float(query[d]), even);
    odd = multiplyAdd(float(key[d + 1]), float(query[d + 1]), odd);
  }
  return (even + odd) * float(cache.shape.scale);
}

std::vector<float> ExactArithmetic::weighNumbers(const HeadCache &cache, int64_t first,
                                                 std::span<const float> weights) const {
  std::vector<float> sums(cache.shape.headDim);
  for (size_t j = 0; j < weights.size(); ++j) {
    const double *value = cache.layer.values.data() + cache.at(first + int64_t(j));
    for (size_t d = 0; d < sums.size(); ++d)
      sums[d] = multiplyAdd(float(value[d]), weights[j], sums[d]);
  }
  return sums;
}

ExactArithmetic::Query ExactArithmetic::quantizeQuery(std::span<const double> query) {
  Query out;
  for (size_t first = 0; first < query.size(); first += kAct8Group) {
    std::span<const double> group = query.subspan(first, std::min(size_t(kAct8Group), query.size() - first));
    float largest = 0;
    for (double x : group)
      largest = std::max(largest, std::fabs(float(x)));
    float scale = largest / kQueryLimit, inverse = scale != 0.0f ? 1.0f / scale : 0.0f;
    for (double x : group) {
      float code = std::nearbyint(float(x) * inverse);
      out.codes.push_back(std::isfinite(code) ? int32_t(code) : 0); // 1 / scale may overflow, see Act8.cpp
    }
    out.scales.push_back(scale);
  }
  return out;
}

float ExactArithmetic::score(const Query &query, const HeadCache &cache, int64_t j) const {
  Act8Row key = cache.keyCodes(j);
  float sum = 0;
  for (size_t group = 0; group < query.scales.size(); ++group) {
    int32_t dot = 0;
    for (size_t d = group * kAct8Group; d < std::min((group + 1) * kAct8Group, query.codes.size()); ++d)
      dot += query.codes[d] * key.codes[d];
    sum = multiplyAdd(key.scales[group] * query.scales[group], float(dot), sum);
  }
  return sum * float(cache.shape.scale);
}

std::vector<float> ExactArithmetic::weighBytes(const HeadCache &cache, int64_t first, std::span<const float> weights) {
  std::vector<float> sums(cache.shape.headDim);
  for (size_t group = 0; group * kAct8Group < sums.size(); ++group) {
    float greatest = 0;
    for (size_t j = 0; j < weights.size(); ++j)
      greatest = std::max(greatest, cache.valueCodes(first + int64_t(j)).scales[group]);
    float inverse = greatest != 0.0f ? kWeightLimit / greatest : 0.0f, unit = greatest / kWeightLimit;
    std::vector<int32_t> dots(sums.size());
    for (size_t j = 0; j < weights.size(); ++j) {
      Act8Row value = cache.valueCodes(first + int64_t(j));
      auto code = int32_t(std::nearbyint(weights[j] * (value.scales[group] * inverse)));
      for (size_t d = group * kAct8Group; d < std::min((group + 1) * kAct8Group, sums.size()); ++d)
        dots[d] += code * value.codes[d];
    }
    for (size_t d = group * kAct8Group; d < std::min((group + 1) * kAct8Group, sums.size()); ++d)
      sums[d] = float(dots[d]) * unit;
  }
  return sums;
}

void ExactArithmetic::attend(std::span<const double> query, const KeyValueCache::Layer &layer, int64_t count,
                             int64_t kvHead, const AttentionShape &shape, std::span<double> out) const {
  HeadCache cache{layer, kvHead, shape};
  bool bytes = shape.cache == CachePrecision::Q8_0;
  Query codes = bytes ? quantizeQuery(query) : Query();
  auto tile = [&](int64_t first, int64_t keys) {
    std::vector<float> weights(keys);
    for (int64_t j = 0; j < keys; ++j)
      weights[j] = bytes ? score(codes, cache, first + j) : score(query, cache, first + j);
    State state{*std::max_element(weights.begin(), weights.end()), 0, {}};
    Lanes lanes{};
    for (int64_t j = 0; j < keys; ++j)
      lanes[j % 16] += weights[j] = exp(weights[j] - state.maximum);
    state.total = treeSum(lanes);
    state.sums = bytes ? weighBytes(cache, first, weights) : weighNumbers(cache, first, weights);
    return state;
  };
  auto merge = [&](State &state, const State &later) {
    float maximum = std::max(state.maximum, later.maximum);
    float kept = exp(state.maximum - maximum), taken = exp(later.maximum - maximum);
    state.maximum = maximum;
    state.total = multiplyAdd(later.total, taken, state.total * kept);
    for (int64_t d = 0; d < shape.headDim; ++d)
      state.sums[d] = multiplyAdd(later.sums[d], taken, state.sums[d] * kept);
  };

  int64_t span = kLeastSpan;
  while (span * kMostSpans < count)
    span *= 2;
  State all{.sums = std::vector<float>(shape.headDim)};
  for (int64_t from = 0; from < count; from += span) {
    State state{.sums = std::vector<float>(shape.headDim)};
    int64_t end = std::min(count, from + span);
    for (int64_t first = from; first < end; first += kKeyTile)
      merge(state, tile(first, std::min(kKeyTile, end - first)));
    merge(all, state);
  }
  for (int64_t d = 0; d < shape.headDim; ++d)
    out[d] = all.sums[d] / all.total;
}

// Attention as compiled code does it: tiles of 64 keys, each with its own maximum and 16 sums of weights, merged in
// ascending order into spans, and these in ascending order.
#include "ExactArithmetic.h"

#include <algorithm>
#include <limits>

using namespace quern;
using namespace quern::reference;

static constexpr int64_t kKeyTile = 64, kLeastSpan = 512, kMostSpans = 32;

namespace {

/// What is known of a head's keys so far.
struct State {
  float maximum = -std::numeric_limits<float>::max(), total = 0;
  std::vector<float> sums;
};

} // namespace

void ExactArithmetic::attend(std::span<const double> query, const KeyValueCache::Layer &cache, int64_t count,
                             int64_t kvHead, const AttentionShape &shape, std::span<double> out) const {
  int64_t stride = shape.kvHeads * shape.headDim, offset = kvHead * shape.headDim;
  auto score = [&](int64_t j) {
    float even = 0, odd = 0;
    for (int64_t d = 0; d < shape.headDim; d += 2) {
      const double *key = cache.keys.data() + j * stride + offset + d;
      even = multiplyAdd(float(key[0]), float(query[d]), even);
      odd = multiplyAdd(float(key[1]), float(query[d + 1]), odd);
    }
    return (even + odd) * float(shape.scale);
  };
  auto tile = [&](int64_t first, int64_t keys) {
    std::vector<float> weights(keys);
    for (int64_t j = 0; j < keys; ++j)
      weights[j] = score(first + j);
    State state{*std::max_element(weights.begin(), weights.end()), 0, std::vector<float>(shape.headDim)};
    Lanes lanes{};
    for (int64_t j = 0; j < keys; ++j)
      lanes[j % 16] += weights[j] = exp(weights[j] - state.maximum);
    state.total = treeSum(lanes);
    for (int64_t d = 0; d < shape.headDim; ++d)
      for (int64_t j = 0; j < keys; ++j)
        state.sums[d] =
            multiplyAdd(float(cache.values[(first + j) * stride + offset + d]), weights[j], state.sums[d]);
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

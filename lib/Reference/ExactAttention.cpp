// Attention as compiled code does it: tiles of 64 keys, each with its own maximum and 16 sums of weights, merged in
// ascending order.
#include "ExactArithmetic.h"

#include <algorithm>
#include <limits>

using namespace quern;
using namespace quern::reference;

static constexpr int64_t kKeyTile = 64;

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

  float maximum = -std::numeric_limits<float>::max(), total = 0;
  std::vector<float> sums(shape.headDim);
  for (int64_t first = 0; first < count; first += kKeyTile) {
    int64_t keys = std::min(kKeyTile, count - first);
    std::vector<float> weights(keys);
    for (int64_t j = 0; j < keys; ++j)
      weights[j] = score(first + j);
    float greatest = *std::max_element(weights.begin(), weights.end());
    Lanes lanes{};
    for (int64_t j = 0; j < keys; ++j)
      lanes[j % 16] += weights[j] = exp(weights[j] - greatest);

    float next = std::max(maximum, greatest), keep = exp(maximum - next), take = exp(greatest - next);
    total = multiplyAdd(treeSum(lanes), take, total * keep);
    maximum = next;
    for (int64_t d = 0; d < shape.headDim; ++d) {
      float weighted = 0;
      for (int64_t j = 0; j < keys; ++j)
        weighted = multiplyAdd(float(cache.values[(first + j) * stride + offset + d]), weights[j], weighted);
      sums[d] = multiplyAdd(weighted, take, sums[d] * keep);
    }
  }
  for (int64_t d = 0; d < shape.headDim; ++d)
    out[d] = sums[d] / total;
}

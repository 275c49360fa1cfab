// Causal attention over a growing cache; the arithmetic does the heads.
#include "Arithmetic.h"
#include "Halves.h"

using namespace quern;
using namespace quern::reference;

static void append(const Rows &rows, bool half, std::vector<double> &cache) {
  for (double value : rows.values)
    cache.push_back(half ? roundToHalf(float(value)) : value);
}

Result<Rows> reference::attention(const Arithmetic &arithmetic, const Rows &query, const Rows &key, const Rows &value,
                                  const Ids &positions, const AttentionShape &shape, KeyValueCache::Layer &cache) {
  for (size_t t = 0; t < positions.size(); ++t)
    if (int64_t expected = cache.positions + int64_t(t); positions[t] != expected)
      return fail("row " + std::to_string(t) + " has position " + std::to_string(positions[t]) +
                  ", but the next position of the cache is " + std::to_string(expected));
  append(key, shape.halfCache, cache.keys);
  append(value, shape.halfCache, cache.values);
  cache.positions += query.count;

  Rows out(query.count, query.width);
  int64_t heads = query.width / shape.headDim, group = heads / shape.kvHeads;
  for (int64_t t = 0; t < query.count; ++t)
    for (int64_t head = 0; head < heads; ++head) {
      int64_t offset = head * shape.headDim;
      arithmetic.attend(query.row(t).subspan(offset, shape.headDim), cache, positions[t] + 1, head / group, shape,
                        out.row(t).subspan(offset, shape.headDim));
    }
  return out;
}

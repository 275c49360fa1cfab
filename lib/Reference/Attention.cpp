// Causal attention over a growing cache; the arithmetic does the heads.
#include "Arithmetic.h"
#include "Halves.h"

using namespace quern;
using namespace quern::reference;

Act8Rows reference::quantizeForCache(const Rows &rows, int64_t headDim) {
  Rows heads(rows.count * rows.width / headDim, headDim);
  heads.values = rows.values;
  Act8Rows codes = quantize(heads);
  for (float &scale : codes.scales)
    scale = roundToHalf(scale);
  return codes;
}

static void appendRows(const Act8Rows &rows, Act8Rows &all) {
  all.width = rows.width;
  all.count += rows.count;
  all.codes.insert(all.codes.end(), rows.codes.begin(), rows.codes.end());
  all.scales.insert(all.scales.end(), rows.scales.begin(), rows.scales.end());
  all.sums.insert(all.sums.end(), rows.sums.begin(), rows.sums.end());
}

static void appendRows(const Rows &rows, bool half, std::vector<double> &cache) {
  for (double value : rows.values)
    cache.push_back(half ? roundToHalf(float(value)) : value);
}

void reference::append(const Appended &appended, const AttentionShape &shape, KeyValueCache::Layer &cache) {
  if (shape.cache == CachePrecision::Q8_0) {
    appendRows(appended.keyCodes, cache.keyCodes);
    appendRows(appended.valueCodes, cache.valueCodes);
    appendRows(dequantize(appended.keyCodes), /*half=*/false, cache.keys);
    appendRows(dequantize(appended.valueCodes), /*half=*/false, cache.values);
  } else {
    appendRows(appended.key, shape.cache == CachePrecision::F16, cache.keys);
    appendRows(appended.value, shape.cache == CachePrecision::F16, cache.values);
  }
}

Result<Rows> reference::attention(const Arithmetic &arithmetic, const Rows &query, const Appended &appended,
                                  const Ids &positions, const AttentionShape &shape, KeyValueCache::Layer &cache) {
  for (size_t t = 0; t < positions.size(); ++t)
    if (int64_t expected = cache.positions + int64_t(t); positions[t] != expected)
      return fail("row " + std::to_string(t) + " has position " + std::to_string(positions[t]) +
                  ", but the next position of the cache is " + std::to_string(expected));
  append(appended, shape, cache);
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

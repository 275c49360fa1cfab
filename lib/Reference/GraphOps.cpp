#include "GraphOps.h"

#include "Halves.h"

#include <algorithm>
#include <cmath>

using namespace quern;
using namespace quern::reference;

void reference::addBias(Rows &rows, std::span<const float> bias) {
  for (int64_t t = 0; t < rows.count; ++t)
    for (int64_t i = 0; i < rows.width; ++i)
      rows.row(t)[i] += bias[i];
}

void reference::addRows(Rows &rows, const Rows &other) {
  for (size_t i = 0; i < rows.values.size(); ++i)
    rows.values[i] += other.values[i];
}

Rows reference::rmsNorm(const Rows &x, std::span<const float> gain, double eps) {
  Rows out(x.count, x.width);
  for (int64_t t = 0; t < x.count; ++t) {
    double squares = 0;
    for (double value : x.row(t))
      squares += value * value;
    double root = std::sqrt(squares / double(x.width) + eps);
    for (int64_t i = 0; i < x.width; ++i)
      out.row(t)[i] = x.row(t)[i] / root * gain[i];
  }
  return out;
}

Rows reference::swiglu(const Rows &gate, const Rows &up) {
  Rows out(gate.count, gate.width);
  for (size_t i = 0; i < out.values.size(); ++i)
    out.values[i] = gate.values[i] / (1 + std::exp(-gate.values[i])) * up.values[i];
  return out;
}

Rows reference::rotaryAngles(const Ids &positions, int64_t headDim, double theta, std::span<const float> factors) {
  Rows out(positions.size(), headDim);
  int64_t half = headDim / 2;
  for (int64_t t = 0; t < out.count; ++t)
    for (int64_t i = 0; i < half; ++i) {
      double frequency = std::pow(theta, -2.0 * double(i) / double(headDim));
      if (!factors.empty())
        frequency /= factors[i];
      out.row(t)[i] = std::cos(positions[t] * frequency);
      out.row(t)[half + i] = std::sin(positions[t] * frequency);
    }
  return out;
}

Rows reference::rotary(const Rows &x, const Rows &angles, bool interleaved) {
  Rows out(x.count, x.width);
  int64_t headDim = angles.width, half = headDim / 2;
  for (int64_t t = 0; t < x.count; ++t)
    for (int64_t head = 0; head < x.width; head += headDim)
      for (int64_t i = 0; i < half; ++i) {
        int64_t first = head + (interleaved ? 2 * i : i), second = head + (interleaved ? 2 * i + 1 : i + half);
        double a = x.row(t)[first], b = x.row(t)[second];
        double c = angles.row(t)[i], s = angles.row(t)[half + i];
        out.row(t)[first] = a * c - b * s;
        out.row(t)[second] = b * c + a * s;
      }
  return out;
}

/// One query head over the first `count` positions.
static void attendHead(std::span<const double> query, const KeyValueCache::Layer &cache, int64_t count, int64_t kvHead,
                       const AttentionShape &shape, std::span<double> out) {
  int64_t stride = shape.kvHeads * shape.headDim, offset = kvHead * shape.headDim;
  std::vector<double> weights(count);
  for (int64_t j = 0; j < count; ++j) {
    for (int64_t d = 0; d < shape.headDim; ++d)
      weights[j] += query[d] * cache.keys[j * stride + offset + d];
    weights[j] *= shape.scale;
  }
  double greatest = *std::max_element(weights.begin(), weights.end()), sum = 0;
  for (double &weight : weights)
    sum += weight = std::exp(weight - greatest);
  for (int64_t j = 0; j < count; ++j)
    for (int64_t d = 0; d < shape.headDim; ++d)
      out[d] += weights[j] / sum * cache.values[j * stride + offset + d];
}

static void append(const Rows &rows, bool half, std::vector<double> &cache) {
  for (double value : rows.values)
    cache.push_back(half ? roundToHalf(float(value)) : value);
}

Result<Rows> reference::attention(const Rows &query, const Rows &key, const Rows &value, const Ids &positions,
                                  const AttentionShape &shape, KeyValueCache::Layer &cache) {
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
      attendHead(query.row(t).subspan(offset, shape.headDim), cache, positions[t] + 1, head / group, shape,
                 out.row(t).subspan(offset, shape.headDim));
    }
  return out;
}

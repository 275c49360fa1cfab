// The ops in double precision, each as its definition in LMOps.td and DQOps.td reads.
#include "Arithmetic.h"

#include <algorithm>
#include <cmath>

using namespace quern;
using namespace quern::reference;

/// Eight partial sums, so that the compiler may use vectors without reordering what one of them adds.
static double dot(const double *x, const float *w, int64_t k) {
  double partial[8] = {};
  int64_t i = 0;
  for (; i + 8 <= k; i += 8)
    for (int64_t j = 0; j < 8; ++j)
      partial[j] += x[i + j] * double(w[i + j]);
  double sum = 0;
  for (; i < k; ++i)
    sum += x[i] * double(w[i]);
  for (double part : partial)
    sum += part;
  return sum;
}

/// One element: the fold over pieces of `piece` weights, given row `row` of the weights.
template <int64_t piece> static double foldRow(const Act8Row &x, const SplitWeight &weights, int64_t row) {
  int64_t width = x.codes.size(), pieces = width / piece;
  const int16_t *codes = weights.codes.data() + row * width;
  const float *scales = weights.scales.data() + row * pieces;
  const float *addends = weights.addends.empty() ? nullptr : weights.addends.data() + row * pieces;
  double sum = 0;
  for (int64_t p = 0; p < pieces; ++p) {
    double sx = x.scales[p * piece / kAct8Group];
    sum += sx * scales[p] * exactDot<piece>(codes + p * piece, x.codes.data() + p * piece);
    if (!addends)
      continue;
    int32_t codeSum = 0;
    for (int64_t k = p * piece; k < (p + 1) * piece; k += kAct8Sum)
      codeSum += x.sums[k / kAct8Sum];
    sum += sx * addends[p] * codeSum;
  }
  return sum;
}

namespace {

class DoubleArithmetic : public Arithmetic {
public:
  using Arithmetic::Arithmetic;

  Rows multiply(const Rows &x, std::span<const float> weights, int64_t n) const override {
    return forElements(x, n, threads, [&](int64_t t, int64_t row) {
      return dot(x.row(t).data(), weights.data() + row * x.width, x.width);
    });
  }
  Rows multiplyPairs(const Rows &x, std::span<const float> weights, int64_t n) const override {
    return multiply(x, weights, n);
  }
  Rows multiply(const Act8Rows &x, const SplitWeight &weights, int64_t n) const override {
    return forElements(x, n, threads, [&](int64_t t, int64_t row) {
      return weights.piece == kAct8Sum ? foldRow<kAct8Sum>(x.row(t), weights, row)
                                       : foldRow<kAct8Group>(x.row(t), weights, row);
    });
  }
  void subtractZeros(Rows &product, const Act8Rows &x, std::span<const double> sums) const override;
  void addBias(Rows &rows, std::span<const float> bias) const override;
  void addRows(Rows &rows, const Rows &other) const override;
  Rows rmsNorm(const Rows &x, std::span<const float> gain, float eps) const override;
  Rows swiglu(const Rows &gate, const Rows &up) const override;
  Rows rotaryAngles(const Ids &positions, int64_t headDim, double theta, std::span<const float> factors) const override;
  Rows rotary(const Rows &x, const Rows &angles, bool interleaved) const override;
  void attend(std::span<const double> query, const KeyValueCache::Layer &cache, int64_t count, int64_t kvHead,
              const AttentionShape &shape, std::span<double> out) const override;
};

} // namespace

void DoubleArithmetic::subtractZeros(Rows &product, const Act8Rows &x, std::span<const double> sums) const {
  for (int64_t t = 0; t < product.count; ++t)
    for (int64_t n = 0; n < product.width; ++n)
      product.row(t)[n] -= double(x.row(t).scales[0]) * x.zeros[t] * sums[n];
}

void DoubleArithmetic::addBias(Rows &rows, std::span<const float> bias) const {
  for (int64_t t = 0; t < rows.count; ++t)
    for (int64_t i = 0; i < rows.width; ++i)
      rows.row(t)[i] += bias[i];
}

void DoubleArithmetic::addRows(Rows &rows, const Rows &other) const {
  for (size_t i = 0; i < rows.values.size(); ++i)
    rows.values[i] += other.values[i];
}

Rows DoubleArithmetic::rmsNorm(const Rows &x, std::span<const float> gain, float eps) const {
  Rows out(x.count, x.width);
  for (size_t first = 0; first < x.values.size(); first += gain.size()) {
    double squares = 0;
    for (size_t i = 0; i < gain.size(); ++i)
      squares += x.values[first + i] * x.values[first + i];
    double root = std::sqrt(squares / double(gain.size()) + eps);
    for (size_t i = 0; i < gain.size(); ++i)
      out.values[first + i] = x.values[first + i] / root * gain[i];
  }
  return out;
}

Rows DoubleArithmetic::swiglu(const Rows &gate, const Rows &up) const {
  Rows out(gate.count, gate.width);
  for (size_t i = 0; i < out.values.size(); ++i)
    out.values[i] = gate.values[i] / (1 + std::exp(-gate.values[i])) * up.values[i];
  return out;
}

Rows DoubleArithmetic::rotaryAngles(const Ids &positions, int64_t headDim, double theta,
                                    std::span<const float> factors) const {
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

Rows DoubleArithmetic::rotary(const Rows &x, const Rows &angles, bool interleaved) const {
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

void DoubleArithmetic::attend(std::span<const double> query, const KeyValueCache::Layer &cache, int64_t count,
                              int64_t kvHead, const AttentionShape &shape, std::span<double> out) const {
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

std::unique_ptr<Arithmetic> reference::makeDoubleArithmetic(unsigned threads) {
  return std::make_unique<DoubleArithmetic>(threads);
}

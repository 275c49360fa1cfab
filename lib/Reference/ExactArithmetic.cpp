#include "ExactArithmetic.h"

#include <algorithm>
#include <bit>

using namespace quern;
using namespace quern::reference;

float ExactArithmetic::treeSum(Lanes lanes) {
  for (size_t half = lanes.size() / 2; half >= 1; half /= 2)
    for (size_t i = 0; i < half; ++i)
      lanes[i] += lanes[i + half];
  return lanes[0];
}

/// MLIR's polynomial approximation: 2^k * e^r with k the nearest integer of x / ln 2, the remainder taken in two steps.
float ExactArithmetic::exp(float x) const {
  x = std::min(std::max(x, -87.8f), 88.8f);
  float k = std::floor(multiplyAdd(x, 1.44269502f, 0.5f));
  k = std::min(std::max(k, -127.0f), 127.0f);
  float r = multiplyAdd(-0.693359375f, k, x);
  r = multiplyAdd(2.12194442e-4f, k, r);
  float sum = 1.98756912e-4f;
  for (float term : {0.00139819994f, 0.00833345205f, 0.0416657962f, 0.166666657f, 0.5f})
    sum = multiplyAdd(sum, r, term);
  sum = multiplyAdd(sum, r * r, r) + 1.0f;
  return sum * std::bit_cast<float>((int32_t(k) + 127) << 23);
}

template <int64_t piece>
float ExactArithmetic::foldRow(const Act8Row &x, const SplitWeight &weights, int64_t row) const {
  int64_t width = x.codes.size(), pieces = width / piece;
  const int16_t *codes = weights.codes.data() + row * width;
  float acc = 0, firstHalf = 0;
  for (int64_t p = 0; p < pieces; ++p) {
    float sx = x.scales[p * piece / kAct8Group], scale = weights.scales[row * pieces + p];
    int32_t dot = exactDot<piece>(codes + p * piece, x.codes.data() + p * piece);
    if (piece == kAct8Group || !weights.addends.empty())
      acc = multiplyAdd(scale * sx, float(dot), acc);
    else if (p % 2 == 0)
      firstHalf = scale * float(dot);
    else
      acc = multiplyAdd(sx, multiplyAdd(scale, float(dot), firstHalf), acc);
    if (weights.addends.empty())
      continue;
    int32_t sum = 0;
    for (int64_t k = p * piece; k < (p + 1) * piece; k += kAct8Sum)
      sum += x.sums[k / kAct8Sum];
    acc = multiplyAdd(weights.addends[row * pieces + p], sx * float(sum), acc);
  }
  return acc;
}

Rows ExactArithmetic::multiply(const Act8Rows &x, const SplitWeight &weights, int64_t n) const {
  return forElements(x, n, threads, [&](int64_t t, int64_t row) {
    return weights.piece == kAct8Sum ? foldRow<kAct8Sum>(x.row(t), weights, row)
                                     : foldRow<kAct8Group>(x.row(t), weights, row);
  });
}

Rows ExactArithmetic::multiply(const Rows &x, std::span<const float> weights, int64_t n) const {
  std::vector<float> activations(x.values.begin(), x.values.end());
  return forElements(x, n, threads, [&](int64_t t, int64_t row) {
    return foldExact(weights.subspan(row * x.width, x.width), std::span(activations).subspan(t * x.width, x.width),
                     kind);
  });
}

Rows ExactArithmetic::multiplyPairs(const Rows &x, std::span<const float> weights, int64_t n) const {
  std::vector<float> activations(x.values.begin(), x.values.end());
  return forElements(x, n, threads, [&](int64_t t, int64_t row) {
    return foldExactPairs(weights.subspan(row * x.width, x.width),
                          std::span(activations).subspan(t * x.width, x.width));
  });
}

void ExactArithmetic::subtractZeros(Rows &product, const Act8Rows &x, std::span<const double> sums) const {
  for (int64_t t = 0; t < product.count; ++t) {
    float factor = -(x.row(t).scales[0] * float(x.zeros[t]));
    for (int64_t n = 0; n < product.width; ++n)
      product.row(t)[n] = multiplyAdd(factor, float(sums[n]), float(product.row(t)[n]));
  }
}

void ExactArithmetic::addBias(Rows &rows, std::span<const float> bias) const {
  for (int64_t t = 0; t < rows.count; ++t)
    for (int64_t i = 0; i < rows.width; ++i)
      rows.row(t)[i] = float(rows.row(t)[i]) + bias[i];
}

void ExactArithmetic::addRows(Rows &rows, const Rows &other) const {
  for (size_t i = 0; i < rows.values.size(); ++i)
    rows.values[i] = float(rows.values[i]) + float(other.values[i]);
}

Rows ExactArithmetic::rmsNorm(const Rows &x, std::span<const float> gain, float eps) const {
  Rows out(x.count, x.width);
  for (size_t first = 0; first < x.values.size(); first += gain.size()) {
    Lanes squares{};
    for (size_t i = 0; i < gain.size(); ++i) {
      float value = float(x.values[first + i]);
      squares[i % 16] = multiplyAdd(value, value, squares[i % 16]);
    }
    float factor = 1.0f / std::sqrt(treeSum(squares) / float(gain.size()) + eps);
    for (size_t i = 0; i < gain.size(); ++i)
      out.values[first + i] = float(x.values[first + i]) * factor * gain[i];
  }
  return out;
}

Rows ExactArithmetic::swiglu(const Rows &gate, const Rows &up) const {
  Rows out(gate.count, gate.width);
  for (size_t i = 0; i < out.values.size(); ++i) {
    float x = float(gate.values[i]);
    out.values[i] = x / (1.0f + exp(-x)) * float(up.values[i]);
  }
  return out;
}

/// Sine and cosine in f64: the angle less the nearest multiple of pi/2 in two steps, then the Taylor series.
static std::pair<double, double> sinCos(double angle) {
  double turns = std::nearbyint(angle * (2 / M_PI));
  double rest = angle - turns * 0x1.921fb544p+0;
  rest = rest - turns * 0x1.0b4611a626331p-34;
  double square = rest * rest;
  auto series = [&](std::initializer_list<double> descending) {
    double sum = 0;
    for (double term : descending)
      sum = sum * square + term;
    return sum;
  };
  double sine = rest * series({1. / 6227020800, -1. / 39916800, 1. / 362880, -1. / 5040, 1. / 120, -1. / 6, 1});
  double cosine =
      series({-1. / 87178291200, 1. / 479001600, -1. / 3628800, 1. / 40320, -1. / 720, 1. / 24, -1. / 2, 1});
  switch (int32_t(turns) & 3) {
  case 0:
    return {sine, cosine};
  case 1:
    return {cosine, -sine};
  case 2:
    return {-sine, -cosine};
  default:
    return {-cosine, sine};
  }
}

Rows ExactArithmetic::rotaryAngles(const Ids &positions, int64_t headDim, double theta,
                                   std::span<const float> factors) const {
  Rows out(positions.size(), headDim);
  for (int64_t t = 0; t < out.count; ++t)
    for (int64_t i = 0; i < headDim / 2; ++i) {
      double frequency = std::pow(theta, -2.0 * double(i) / double(headDim));
      if (!factors.empty())
        frequency /= factors[i];
      auto [sine, cosine] = sinCos(double(positions[t]) * frequency);
      out.row(t)[i] = float(cosine);
      out.row(t)[headDim / 2 + i] = float(sine);
    }
  return out;
}

Rows ExactArithmetic::rotary(const Rows &x, const Rows &angles, bool interleaved) const {
  Rows out(x.count, x.width);
  int64_t headDim = angles.width, half = headDim / 2;
  for (int64_t t = 0; t < x.count; ++t)
    for (int64_t head = 0; head < x.width; head += headDim)
      for (int64_t i = 0; i < half; ++i) {
        int64_t first = head + (interleaved ? 2 * i : i), second = head + (interleaved ? 2 * i + 1 : i + half);
        float a = float(x.row(t)[first]), b = float(x.row(t)[second]);
        float c = float(angles.row(t)[i]), s = float(angles.row(t)[half + i]);
        out.row(t)[first] = a * c - b * s;
        out.row(t)[second] = b * c + a * s;
      }
  return out;
}

std::unique_ptr<Arithmetic> reference::makeExactArithmetic(MultiplyAdd kind, unsigned threads) {
  return std::make_unique<ExactArithmetic>(kind, threads);
}

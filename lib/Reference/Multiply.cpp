// The two matrix products of the reference. A row of weights serves all rows of activations while it is in the cache.
#include "GraphOps.h"

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

Rows reference::multiply(const Rows &x, std::span<const float> weights, int64_t n, unsigned threads) {
  Rows out(x.count, n);
  parallelFor(n, threads, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row)
      for (int64_t t = 0; t < x.count; ++t)
        out.row(t)[row] = dot(x.row(t).data(), weights.data() + row * x.width, x.width);
  });
  return out;
}

/// Exact. A length known to the compiler becomes a few vector instructions.
template <int64_t length> static int32_t dot(const int8_t *a, const int8_t *b) {
  int32_t sum = 0;
  for (int64_t i = 0; i < length; ++i)
    sum += int16_t(a[i]) * int16_t(b[i]);
  return sum;
}

/// One element: the fold over pieces of `piece` weights, given row `row` of the weights.
template <int64_t piece> static double foldRow(const Act8Row &x, const SplitWeight &weights, int64_t row) {
  int64_t width = x.codes.size(), pieces = width / piece;
  const int8_t *codes = weights.codes.data() + row * width;
  const float *scales = weights.scales.data() + row * pieces;
  const float *addends = weights.addends.empty() ? nullptr : weights.addends.data() + row * pieces;
  double sum = 0;
  for (int64_t p = 0; p < pieces; ++p) {
    double sx = x.scales[p * piece / kAct8Group];
    sum += sx * scales[p] * dot<piece>(codes + p * piece, x.codes.data() + p * piece);
    if (!addends)
      continue;
    int32_t codeSum = 0;
    for (int64_t k = p * piece; k < (p + 1) * piece; k += kAct8Sum)
      codeSum += x.sums[k / kAct8Sum];
    sum += sx * addends[p] * codeSum;
  }
  return sum;
}

Rows reference::multiply(const Act8Rows &x, const SplitWeight &weights, int64_t n, unsigned threads) {
  Rows out(x.count, n);
  parallelFor(n, threads, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row)
      for (int64_t t = 0; t < x.count; ++t)
        out.row(t)[row] = weights.piece == kAct8Sum ? foldRow<kAct8Sum>(x.row(t), weights, row)
                                                    : foldRow<kAct8Group>(x.row(t), weights, row);
  });
  return out;
}

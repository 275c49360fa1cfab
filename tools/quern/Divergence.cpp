#include "Divergence.h"
#include "Common.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

using namespace quern;
using namespace quern::cli;

namespace {
struct Estimate {
  double mean, error;
};
} // namespace

static double meanOf(const std::vector<double> &values) {
  double sum = 0;
  for (double value : values)
    sum += value;
  return sum / double(values.size());
}

/// Covariance, divided by the count.
static double covariance(const std::vector<double> &a, const std::vector<double> &b) {
  double meanA = meanOf(a), meanB = meanOf(b), sum = 0;
  for (size_t i = 0; i < a.size(); ++i)
    sum += (a[i] - meanA) * (b[i] - meanB);
  return sum / double(a.size());
}

static Estimate estimate(const std::vector<double> &values) {
  double steps = std::max<double>(1, double(values.size()) - 1);
  return {meanOf(values), std::sqrt(covariance(values, values) / steps)};
}

/// Linear interpolation between order statistics.
static double percentile(const std::vector<double> &sorted, double fraction) {
  double place = fraction * double(sorted.size() - 1);
  size_t below = size_t(place), above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - double(below)) * (sorted[above] - sorted[below]);
}

void Divergence::add(const Record &base, std::span<const float> logits, int32_t actual) {
  double normalizer = logSumExp(logits), sum = 0;
  size_t top = 0, baseTop = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] > logits[top])
      top = i;
    if (base.codes[i] > base.codes[baseTop])
      baseTop = i;
    float logBase = base.logProbability(i);
    if (logBase > -16.0f)
      sum += std::exp(double(logBase)) * (logBase - (logits[i] - normalizer));
  }
  divergences.push_back(sum);
  modelNll.push_back(normalizer - logits[size_t(actual)]);
  baseNll.push_back(-base.logProbability(size_t(actual)));
  differences.push_back(std::exp(-modelNll.back()) - std::exp(-baseNll.back()));
  sameTop += top == baseTop;
}

static void printPercentiles(std::vector<double> values, const char *name, double unit) {
  std::sort(values.begin(), values.end());
  std::printf("Maximum %s: %12.6f\n", name, unit * values.back());
  for (double percent : {99.9, 99.0, 95.0, 90.0, 75.0, 50.0, 25.0, 10.0, 5.0, 1.0, 0.1})
    std::printf("%6.1f%%  %s: %12.6f\n", percent, name, unit * percentile(values, percent / 100));
  std::printf("Minimum %s: %12.6f\n", name, unit * values.front());
}

void Divergence::printPerplexities() const {
  Estimate model = estimate(modelNll), base = estimate(baseNll);
  double variance = covariance(modelNll, modelNll), baseVariance = covariance(baseNll, baseNll);
  double shared = covariance(modelNll, baseNll);
  double steps = std::max<double>(1, double(modelNll.size()) - 1);
  double ratio = std::exp(model.mean - base.mean);
  double logError = std::sqrt(std::max(0.0, variance + baseVariance - 2 * shared) / steps);
  std::printf("====== Perplexity statistics ======\n");
  std::printf("Mean PPL(Q)                   : %10.6f ± %10.6f\n", std::exp(model.mean),
              std::exp(model.mean) * model.error);
  std::printf("Mean PPL(base)                : %10.6f ± %10.6f\n", std::exp(base.mean),
              std::exp(base.mean) * base.error);
  std::printf("Cor(ln(PPL(Q)), ln(PPL(base))): %6.2f%%\n", 100 * shared / std::sqrt(variance * baseVariance));
  std::printf("Mean ln(PPL(Q)/PPL(base))     : %10.6f ± %10.6f\n", model.mean - base.mean, logError);
  std::printf("Mean PPL(Q)/PPL(base)         : %10.6f ± %10.6f\n", ratio, ratio * logError);
}

void Divergence::printDivergences() const {
  Estimate mean = estimate(divergences);
  std::printf("\n====== KL divergence statistics ======\n");
  std::printf("Mean    KLD: %12.6f ± %10.6f\n", mean.mean, mean.error);
  printPercentiles(divergences, "KLD", 1);
}

void Divergence::printProbabilities() const {
  Estimate mean = estimate(differences);
  std::vector<double> squares;
  for (double difference : differences)
    squares.push_back(difference * difference);
  double steps = std::max<double>(1, double(differences.size()) - 1);
  double rms = std::sqrt(meanOf(squares)), same = double(sameTop) / double(differences.size());
  std::printf("\n====== Token probability statistics ======\n");
  std::printf("Mean    Δp: %10.4f ± %6.4f %%\n", 100 * mean.mean, 100 * mean.error);
  printPercentiles(differences, "Δp", 100);
  std::printf("RMS Δp    : %10.4f %%\n", 100 * rms);
  std::printf("Same top p: %10.4f ± %6.4f %%\n", 100 * same, 100 * std::sqrt(same * (1 - same) / steps));
}

void Divergence::print() const {
  printPerplexities();
  printDivergences();
  printProbabilities();
}

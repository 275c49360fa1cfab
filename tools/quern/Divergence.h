// Statistics of `quern perplexity --kl-divergence`, as llama-perplexity defines them: the divergence is base || model,
// in nats, summed over the tokens whose base log-probability is above -16.
#ifndef QUERN_TOOLS_DIVERGENCE_H
#define QUERN_TOOLS_DIVERGENCE_H

#include "LogitsFile.h"

namespace quern::cli {

class Divergence {
public:
  /// One scored position: the base's record, the model's logits [vocabulary], the token that came.
  void add(const Record &base, std::span<const float> logits, int32_t actual);
  /// The whole report, on standard output.
  void print() const;

private:
  void printPerplexities() const;
  void printDivergences() const;
  void printProbabilities() const;

  std::vector<double> divergences; ///< for each position
  std::vector<double> modelNll, baseNll;
  std::vector<double> differences; ///< p_model(actual) - p_base(actual)
  int64_t sameTop = 0;
};

} // namespace quern::cli

#endif // QUERN_TOOLS_DIVERGENCE_H

// Chooses the next token from a row of logits. Order (that of Hugging Face and vLLM, which the figures published for R1
// models assume): padding ids masked, repetition penalty, temperature, top-k, top-p, min-p, draw.
#ifndef QUERN_RUNTIME_SAMPLER_H
#define QUERN_RUNTIME_SAMPLER_H

#include "quern/Runtime/DeviceProgram.h"
#include "quern/Support/Result.h"

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace quern {

struct SamplerSettings {
  float temperature = 0.6f; ///< 0 or less: the largest logit, ties to the lowest id
  int32_t topK = 0;         ///< 0 or less: off
  float topP = 0.95f;       ///< 1 or more: off
  float minP = 0.0f;        ///< 0 or less: off
  float repeatPenalty = 1.0f;
  int32_t repeatLastN = 64; ///< -1: the whole history
  uint64_t seed = 0;
};

/// A number in [0, 1) that depends on the seed and the position alone.
double uniformAt(uint64_t seed, uint64_t position);

/// How a device draws what a sampler would at a position; nothing for settings that it does not know: a penalty, or a
/// temperature whose inverse is no number.
std::optional<RowDraw> drawOn(const SamplerSettings &settings, uint64_t position);

class Sampler {
public:
  /// Fails on settings that are no numbers, or a penalty or top-p that is not positive.
  static Result<Sampler> create(const SamplerSettings &settings);

  /// `logits` of the real tokens only; `history` the tokens so far, whose number is the position drawn at.
  /// Fails if no logit is a number.
  Result<int32_t> sample(std::span<const float> logits, std::span<const int32_t> history);

  const SamplerSettings &settings() const { return given; }
  /// What `sample` would return where a device has chosen `token`; -1: where no logit is a number.
  static Result<int32_t> chosen(int32_t token);

private:
  explicit Sampler(const SamplerSettings &settings) : given(settings) {}
  struct Candidate {
    float logit;
    int32_t token;
  };
  static bool before(const Candidate &a, const Candidate &b);
  void penalize(std::span<const float> logits, std::span<const int32_t> history);
  void keepTopK();
  void weigh(float largest);
  void keepTopP(float largest);
  int32_t draw(double u) const;

  SamplerSettings given;
  std::vector<float> penalized;      ///< scratch, as all that follow: kept between calls
  std::vector<Candidate> candidates;
  std::vector<float> weights;        ///< of candidates, the largest 1
  std::vector<int32_t> seen;
};

} // namespace quern

#endif // QUERN_RUNTIME_SAMPLER_H

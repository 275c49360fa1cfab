// Sampling: each rule against what it keeps, the draw against the distribution, and reproducibility.
#include "quern/Runtime/Sampler.h"

#include <cmath>
#include <gtest/gtest.h>
#include <map>

using namespace quern;

namespace {

/// Share of each token in `draws` draws at positions 0, 1, ...
std::map<int32_t, double> shares(const SamplerSettings &settings, const std::vector<float> &logits, int draws = 20000) {
  auto sampler = Sampler::create(settings);
  std::map<int32_t, double> out;
  std::vector<int32_t> history;
  for (int i = 0; i < draws; ++i) {
    out[*sampler->sample(logits, history)] += 1.0 / draws;
    history.push_back(1000000); // only the number matters
  }
  return out;
}

SamplerSettings plain() {
  SamplerSettings settings;
  settings.temperature = 1;
  settings.topP = 1;
  return settings;
}

std::vector<float> logsOf(const std::vector<double> &probabilities) {
  std::vector<float> out;
  for (double p : probabilities)
    out.push_back(float(std::log(p)) + 3);
  return out;
}

const std::vector<float> kLogits = logsOf({0.1, 0.5, 0.15, 0.25});

TEST(Sampler, GreedyTakesTheLargestAndTheLowestOfTies) {
  SamplerSettings greedy;
  greedy.temperature = 0;
  auto sampler = Sampler::create(greedy);
  EXPECT_EQ(*sampler->sample(kLogits, {}), 1);
  EXPECT_EQ(*sampler->sample(std::vector<float>{1, 3, 3, 2}, {}), 1);
  EXPECT_EQ(*sampler->sample(std::vector<float>{NAN, -3, -2}, {}), 2);
}

TEST(Sampler, DrawsFromTheDistribution) {
  auto seen = shares(plain(), kLogits);
  // 20,000 draws: four standard deviations of the largest share are 0.014
  EXPECT_NEAR(seen[0], 0.1, 0.015);
  EXPECT_NEAR(seen[1], 0.5, 0.015);
  EXPECT_NEAR(seen[2], 0.15, 0.015);
  EXPECT_NEAR(seen[3], 0.25, 0.015);
}

TEST(Sampler, TemperatureComesBeforeTopP) {
  SamplerSettings settings = plain();
  settings.temperature = 0.5; // probabilities go as squares: 0.01, 0.25, 0.0225, 0.0625 of 0.345
  settings.topP = 0.9f;       // 1 and 3 are 0.906; at temperature 1 it would take three
  auto seen = shares(settings, kLogits);
  EXPECT_EQ(seen.size(), 2u);
  EXPECT_NEAR(seen[1], 0.8, 0.015);
  EXPECT_NEAR(seen[3], 0.2, 0.015);
}

TEST(Sampler, TopK) {
  SamplerSettings settings = plain();
  settings.topK = 2;
  auto seen = shares(settings, kLogits);
  EXPECT_EQ(seen.size(), 2u);
  EXPECT_NEAR(seen[1], 2.0 / 3, 0.015);
  settings.topK = 1;
  EXPECT_EQ(shares(settings, kLogits, 100).size(), 1u);
}

TEST(Sampler, MinP) {
  SamplerSettings settings = plain();
  settings.minP = 0.4f; // at least 0.2
  auto seen = shares(settings, kLogits);
  EXPECT_EQ(seen.size(), 2u);
  EXPECT_NEAR(seen[3], 1.0 / 3, 0.015);
}

TEST(Sampler, RepetitionPenalty) {
  SamplerSettings settings;
  settings.temperature = 0;
  settings.repeatPenalty = 2;
  settings.repeatLastN = 2;
  auto sampler = Sampler::create(settings);
  std::vector<float> logits = {3, 4, -1};
  EXPECT_EQ(*sampler->sample(logits, std::vector<int32_t>{1}), 0);
  EXPECT_EQ(*sampler->sample(logits, std::vector<int32_t>{1, 1}), 0); // once, however often it was seen
  EXPECT_EQ(*sampler->sample(logits, std::vector<int32_t>{1, 2, 2}), 1); // outside the window
  EXPECT_EQ(*sampler->sample(std::vector<float>{-3, -2, -5}, std::vector<int32_t>{1}), 0);
}

TEST(Sampler, SameSeedAndPositionSameToken) {
  SamplerSettings settings = plain();
  settings.seed = 42;
  auto first = Sampler::create(settings), second = Sampler::create(settings);
  std::vector<int32_t> history;
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(*first->sample(kLogits, history), *second->sample(kLogits, history));
    history.push_back(0);
  }
  EXPECT_NE(uniformAt(1, 5), uniformAt(2, 5));
  EXPECT_NE(uniformAt(1, 5), uniformAt(1, 6));
}

TEST(Sampler, LargeVocabularies) {
  std::vector<float> logits(150000, 0.0f); // uniform: the nucleus is nearly everything
  SamplerSettings settings = plain();
  settings.topP = 0.9f;
  auto seen = shares(settings, logits, 50);
  EXPECT_GT(seen.size(), 45u);
  for (auto [token, share] : seen)
    EXPECT_LE(token, 135000); // ties go to lower ids
}

TEST(Sampler, RefusesBadSettingsAndLogits) {
  SamplerSettings settings;
  settings.temperature = NAN;
  EXPECT_EQ(Sampler::create(settings).error().message, "the temperature is not a number");
  settings = {};
  settings.repeatPenalty = 0;
  EXPECT_FALSE(Sampler::create(settings));
  settings = {};
  settings.topP = 0;
  EXPECT_FALSE(Sampler::create(settings));
  settings = {};
  auto token = Sampler::create(settings)->sample(std::vector<float>{NAN, NAN}, {});
  ASSERT_FALSE(token);
  EXPECT_NE(token.error().message.find("no number"), std::string::npos);
}

} // namespace

// Sampling on the device: which tokens are kept, and how often each is drawn.
#include "test/unit/GPU/EmitKernels.h"

#include "lib/Codegen/GPU/Sample.h"

#include <cmath>
#include <map>

namespace quern {
namespace {

using codegen::Sample;

struct Settings {
  float inverseTemperature, topP;
  int32_t topK;
  float random;
};
static_assert(sizeof(Settings) == Sample::kSettingBytes);

constexpr int64_t kVocabulary = 1500;

/// A token for each of the settings, all from the same logits.
std::vector<int32_t> draw(const std::vector<float> &logits, const std::vector<Settings> &settings,
                          const std::string &chip = "sm_80") {
  Sample sample{kVocabulary};
  GpuProgram program(emitCode(chip, [&](auto module, auto &target) { emitSample(module, sample, target); }));
  std::vector<float> rows;
  for (size_t i = 0; i < settings.size(); ++i)
    rows.insert(rows.end(), logits.begin(), logits.end());
  uint64_t tokens = program.upload(std::vector<int32_t>(settings.size(), -2));
  auto status = program.launch(sample.name(), {uint32_t(settings.size()), 1, 1}, 32 * Sample::kWarps,
                               {program.upload(rows), program.upload(settings), tokens}, 1);
  EXPECT_TRUE(status) << status.error().message;
  return program.download<int32_t>(tokens, settings.size());
}

/// How often tokens are drawn with evenly spread numbers, `count` of them.
std::map<int32_t, int> drawMany(const std::vector<float> &logits, float temperature, float topP, int32_t topK,
                                int count) {
  std::vector<Settings> settings;
  for (int i = 0; i < count; ++i)
    settings.push_back({1 / temperature, topP, topK, (float(i) + 0.5f) / float(count)});
  std::map<int32_t, int> drawn;
  for (int32_t token : draw(logits, settings))
    ++drawn[token];
  return drawn;
}

/// Logits far below all that matter, but for some.
std::vector<float> logitsOf(const std::map<int32_t, float> &some) {
  std::vector<float> logits(kVocabulary, -50);
  for (auto [token, logit] : some)
    logits[token] = logit;
  return logits;
}

TEST(GpuSample, DrawsByWeight) {
  // Weights 8, 4, 4 and 1 of 17, one of them of a thread's second logit.
  auto logits = logitsOf({{7, std::log(8.0f)}, {1400, std::log(4.0f)}, {376, std::log(4.0f)}, {0, 0}});
  auto drawn = drawMany(logits, 1, 1, 0, 34);
  EXPECT_EQ(drawn, (std::map<int32_t, int>{{0, 2}, {7, 16}, {376, 8}, {1400, 8}}));
  // At half the temperature weights are squares: 64, 16, 16 and 1 of 97.
  drawn = drawMany(logits, 0.5f, 1, 0, 97);
  for (auto [token, times] : std::map<int32_t, int>{{0, 1}, {7, 64}, {376, 16}, {1400, 16}})
    EXPECT_NEAR(drawn[token], times, 1) << token;
}

TEST(GpuSample, KeepsTopK) {
  auto logits = logitsOf({{7, 3}, {1400, -1}, {376, -2.5f}, {0, -3}});
  auto drawn = drawMany(logits, 100, 1, 3, 30); // so hot that all that are kept are drawn alike
  EXPECT_EQ(drawn.size(), 3u);
  EXPECT_EQ(drawn.count(0), 0u);
  EXPECT_EQ(drawMany(logits, 100, 1, 1, 5), (std::map<int32_t, int>{{7, 5}}));
  EXPECT_GT(drawMany(logits, 1000, 1, kVocabulary, 20).size(), 15u) << "as many as there are: off";
}

TEST(GpuSample, KeepsTopP) {
  auto logits = logitsOf({{7, std::log(8.0f)}, {1400, std::log(4.0f)}, {376, std::log(3.0f)}, {0, 0}}); // of 16
  EXPECT_EQ(drawMany(logits, 1, 0.49f, 0, 5), (std::map<int32_t, int>{{7, 5}}));
  EXPECT_EQ(drawMany(logits, 1, 0.6f, 0, 24), (std::map<int32_t, int>{{7, 16}, {1400, 8}}));
  // Of the two that top-k keeps, the first has two thirds.
  EXPECT_EQ(drawMany(logits, 1, 0.65f, 2, 5), (std::map<int32_t, int>{{7, 5}}));
  EXPECT_EQ(drawMany(logits, 1, 0.68f, 2, 24), (std::map<int32_t, int>{{7, 16}, {1400, 8}}));
}

TEST(GpuSample, IsSafeAtTheEnds) {
  auto logits = logitsOf({{5, 1}, {1499, 1}});
  logits[3] = std::nanf("");
  float last = std::nextafter(1.0f, 0.0f);
  EXPECT_EQ(draw(logits, {{1, 1, 0, 0}, {1, 1, 2, 0}, {1, 0.001f, 0, last}, {1, 1, 0, last}}, "sm_75").size(), 4u);
  for (int32_t token : draw(logits, {{1, 1, 2, 0}, {1, 1, 2, last}, {1, 0.9f, 2, last}}, "sm_90"))
    EXPECT_TRUE(token == 5 || token == 1499) << token;
  EXPECT_EQ(draw(std::vector<float>(kVocabulary, -INFINITY), {{1, 0.9f, 4, 0.5f}}), std::vector<int32_t>{-1});
  EXPECT_EQ(draw(std::vector<float>(kVocabulary, std::nanf("")), {{1, 1, 0, 0.5f}}), std::vector<int32_t>{-1});
  logits[9] = INFINITY;
  EXPECT_EQ(draw(logits, {{1, 1, 0, 0.5f}}), std::vector<int32_t>{-1});
}

TEST(GpuSample, ARemovedBarrierIsFound) {
  Sample sample{kVocabulary};
  std::string ptx = emitCode("sm_80", [&](auto module, auto &target) { emitSample(module, sample, target); });
  GpuProgram program(withoutLine(ptx, "bar.sync"));
  uint64_t tokens = program.upload(std::vector<int32_t>{0});
  auto status = program.launch(sample.name(), {1, 1, 1}, 32 * Sample::kWarps,
                               {program.upload(normalFloats(kVocabulary, 1)),
                                program.upload(std::vector<Settings>{{1, 0.9f, 40, 0.5f}}), tokens},
                               2);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, testing::HasSubstr("race in shared memory"));
}

} // namespace
} // namespace quern

// Drawing on the device: the same tokens as the host's sampler for the same logits, settings and random numbers.
#include "test/unit/GPU/EmitKernels.h"

#include "lib/Codegen/GPU/Sample.h"
#include "quern/Runtime/Sampler.h"

#include <cmath>

namespace quern {
namespace {

using codegen::Sample;

void emitSample(mlir::gpu::GPUModuleOp module, const Sample &sample, const codegen::GpuTarget &target) {
  emitSampleParts(module, sample, target);
  emitSampleGather(module, sample, target);
  emitSampleDraw(module, sample, target);
}

int32_t likeliest(const float *logits, int64_t count) {
  int32_t best = -1;
  for (int32_t i = 0; i < count; ++i)
    if (logits[i] > (best < 0 ? -INFINITY : logits[best]))
      best = i;
  return best;
}

/// A token for each row of logits.
Result<std::vector<int32_t>> draw(GpuProgram &program, const Sample &sample, const std::vector<float> &logits,
                                  const std::vector<RowDraw> &draws, uint32_t seed) {
  uint32_t rows = uint32_t(draws.size());
  std::vector<int32_t> tokens;
  for (uint32_t row = 0; row < rows; ++row)
    tokens.push_back(likeliest(&logits[row * sample.rowWidth()], sample.vocabulary));
  uint64_t chosen = program.upload(tokens);
  std::vector<uint64_t> arguments = {program.upload(logits), chosen, program.upload(draws),
                                     program.upload(std::vector<uint8_t>(rows * Sample::kRowBytes, 0xFF))};
  for (const std::string &name : {sample.partsName(), sample.gatherName()})
    QUERN_TRY(program.launch(name, {Sample::kParts, rows, 1}, 32 * Sample::kWarps, arguments, seed));
  QUERN_TRY(program.launch(sample.drawName(), {rows, 1, 1}, 32 * Sample::kDrawWarps, arguments, seed));
  return program.download<int32_t>(chosen, rows);
}

Result<std::vector<int32_t>> draw(const Sample &sample, const std::vector<float> &logits,
                                  const std::vector<RowDraw> &draws, const std::string &chip, uint32_t seed) {
  GpuProgram program(emitCode(chip, [&](auto module, auto &target) { emitSample(module, sample, target); }));
  return draw(program, sample, logits, draws, seed);
}

/// Rows of logits of several kinds, followed by padding that is larger than all of them.
std::vector<float> someLogits(const Sample &sample, size_t rows) {
  std::vector<float> out;
  for (size_t row = 0; row < rows; ++row) {
    std::vector<float> made = normalFloats(size_t(sample.rowWidth()), uint32_t(row), row % 5 == 1 ? 0.01f : 3);
    for (int64_t i = 0; i < sample.vocabulary; ++i) {
      float &logit = made[size_t(i)];
      if (row % 5 == 2)
        logit = std::round(logit); // many equal ones, and 0 with both signs
      if (row % 5 == 3)
        logit = i % 50 == 7 ? logit : i % 3 ? -INFINITY : std::nanf("");
      if (row % 5 == 4 && i % 100 == 0)
        logit += 12;
    }
    std::fill(made.begin() + sample.vocabulary, made.end(), 100.0f);
    out.insert(out.end(), made.begin(), made.end());
  }
  return out;
}

/// All combinations of some settings, each with another seed.
std::vector<SamplerSettings> someSettings() {
  std::vector<SamplerSettings> out;
  for (float temperature : {0.6f, 0.05f, 7.0f})
    for (int32_t topK : {0, 1, 40, 2000000000})
      for (float topP : {1.0f, 0.95f, 0.3f})
        for (float minP : {0.0f, 0.1f, 0.9f}) {
          SamplerSettings settings;
          settings.temperature = temperature;
          settings.topK = topK;
          settings.topP = topP;
          settings.minP = minP;
          settings.seed = out.size();
          out.push_back(settings);
        }
  return out;
}

/// What the host's sampler draws, and whether it draws the same where the random number is a little off, which it may
/// be by rounding.
struct Expected {
  int32_t token;
  bool isClear;
};

Expected expectedOf(const SamplerSettings &settings, std::span<const float> logits, uint64_t position) {
  std::vector<int32_t> history(position);
  auto token = Sampler::create(settings)->sample(logits, history);
  auto tokenAt = [&](float topP, float minP) {
    SamplerSettings near = settings;
    near.topP = settings.topP >= 1 ? settings.topP : topP;
    near.minP = minP;
    return *Sampler::create(near)->sample(logits, history);
  };
  // A token more or less that top-p or min-p keeps changes the share of all.
  bool isClear = tokenAt(settings.topP * (1 - 1e-5f), settings.minP) == *token &&
                 tokenAt(settings.topP * (1 + 1e-5f), settings.minP) == *token &&
                 tokenAt(settings.topP, settings.minP * (1 - 1e-5f)) == *token &&
                 tokenAt(settings.topP, settings.minP * (1 + 1e-5f)) == *token;
  return {*token, isClear};
}

/// Every `step`th combination of settings.
void expectTokensOfSampler(const std::string &chip, size_t first, size_t step) {
  Sample sample{311, 315};
  std::vector<SamplerSettings> settings;
  for (size_t i = first; i < someSettings().size(); i += step)
    settings.push_back(someSettings()[i]);
  constexpr uint64_t kPosition = 5;
  std::vector<float> logits = someLogits(sample, settings.size());
  std::vector<RowDraw> draws;
  for (const SamplerSettings &row : settings)
    draws.push_back(*drawOn(row, kPosition));
  auto tokens = draw(sample, logits, draws, chip, uint32_t(first));
  ASSERT_TRUE(tokens) << tokens.error().message;
  size_t others = 0;
  for (size_t row = 0; row < settings.size(); ++row) {
    std::span<const float> ofRow(&logits[row * size_t(sample.rowWidth())], size_t(sample.vocabulary));
    Expected expected = expectedOf(settings[row], ofRow, kPosition);
    const SamplerSettings &s = settings[row];
    others += expected.token != likeliest(ofRow.data(), sample.vocabulary);
    if (expected.isClear)
      EXPECT_EQ((*tokens)[row], expected.token) << "row " << row << ": temperature " << s.temperature << ", top-k "
                                                << s.topK << ", top-p " << s.topP << ", min-p " << s.minP;
  }
  EXPECT_GT(others, settings.size() / 5) << "of the tokens that are drawn many should not be the likeliest";
}

TEST(GpuSample, DrawsWhatTheSamplerDraws) {
  expectTokensOfSampler("sm_80", 0, 1);
  expectTokensOfSampler("sm_75", 2, 13);
}

TEST_F(OpenCl, DrawsWhatTheSamplerDraws) { expectTokensOfSampler("spirv", 0, 1); }

TEST(GpuSample, LeavesTheLikeliestWhereNothingIsDrawn) {
  Sample sample{300};
  std::vector<float> logits = normalFloats(4 * 300, 1);
  logits[300 + 17] = INFINITY;
  std::fill(logits.begin() + 600, logits.begin() + 900, -INFINITY);
  RowDraw on{1, 0.9f, 0, 0.999f, 40};
  auto tokens = draw(sample, logits, {RowDraw(), on, on, on}, "sm_90", 1);
  ASSERT_TRUE(tokens) << tokens.error().message;
  EXPECT_EQ((*tokens)[0], likeliest(&logits[0], 300));
  EXPECT_EQ((*tokens)[1], 17);
  EXPECT_EQ((*tokens)[2], -1);
  EXPECT_NE((*tokens)[3], likeliest(&logits[900], 300));
}

/// Of a large vocabulary where more than kMost are kept, and where they are not.
TEST(GpuSample, LeavesFlatDistributionsToTheHost) {
  Sample sample{5000};
  std::vector<float> flat(5000, 1.0f), logits;
  for (int row = 0; row < 5; ++row)
    logits.insert(logits.end(), flat.begin(), flat.end());
  for (int i = 0; i < 60; ++i) // the fourth has one logit after the other
    logits[3 * 5000 + size_t(i) * 70] = 30 + float(i);
  auto tokens = draw(sample, logits,
                     {{1, 0.9f, 0, 0.5f, 0}, {1, 1, 0, 0.5f, 0}, {1, 1, 0, 0.5f, 40}, {0.01f, 1, 0, 0.9999f, 50},
                      {1, 1, 0, 1 - 0x1p-23f, 0}},
                     "sm_80", 1);
  ASSERT_TRUE(tokens) << tokens.error().message;
  EXPECT_EQ((*tokens)[0], RowDraw::kNotDrawn) << "top-p keeps 4,500";
  EXPECT_EQ((*tokens)[1], 2500) << "all are kept, in their order";
  EXPECT_EQ((*tokens)[2], RowDraw::kNotDrawn) << "of equal ones any may be among the first 40";
  EXPECT_EQ((*tokens)[3], 10 * 70) << "the 50th";
  EXPECT_EQ((*tokens)[4], 4999);
}

TEST(GpuSample, RemovedBarriersAreFound) {
  Sample sample{700};
  std::string ptx = emitCode("sm_80", [&](auto module, auto &target) { emitSample(module, sample, target); });
  for (const std::string &name : {sample.partsName(), sample.gatherName(), sample.drawName()}) {
    size_t kernel = ptx.find(".entry " + name);
    ASSERT_NE(kernel, std::string::npos);
    GpuProgram program(ptx.substr(0, kernel) + withoutEach(ptx.substr(kernel), "bar.sync").front());
    auto tokens = draw(program, sample, normalFloats(700, 1), {{1, 0.9f, 0, 0.5f, 40}}, 2);
    ASSERT_FALSE(tokens) << name;
    EXPECT_THAT(tokens.error().message, testing::HasSubstr("race in shared memory"));
  }
}

} // namespace
} // namespace quern

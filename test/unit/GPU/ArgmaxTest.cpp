// The choice of the best token on the device.
#include "test/unit/GPU/EmitKernels.h"

#include "lib/Codegen/GPU/Argmax.h"

#include <cmath>

namespace quern {
namespace {

using codegen::Argmax;

Result<std::vector<int32_t>> tokensOf(const std::vector<float> &logits, int64_t vocabulary, const std::string &chip,
                                      uint32_t seed, bool barriers = true) {
  Argmax argmax{vocabulary};
  std::string ptx = emitCode(chip, [&](auto module, auto &target) {
    emitArgmaxParts(module, argmax, target);
    emitArgmaxMerge(module, argmax, target);
  });
  GpuProgram program(barriers ? ptx : withoutEach(ptx, "bar.sync").front());
  uint32_t rows = uint32_t(logits.size() / vocabulary);
  uint64_t parts = program.upload(std::vector<uint8_t>(rows * Argmax::kPartBytes));
  uint64_t tokens = program.upload(std::vector<int32_t>(rows, 7));
  QUERN_TRY(program.launch(argmax.partsName(), {Argmax::kParts, rows, 1}, 32 * Argmax::kWarps,
                           {program.upload(logits), parts}, seed));
  QUERN_TRY(program.launch(argmax.mergeName(), {rows, 1, 1}, 32, {parts, tokens}, seed));
  return program.download<int32_t>(tokens, rows);
}

void expectLowestOfTheLargest(const std::string &chip, uint32_t seed) {
  int64_t vocabulary = 20011;
  auto logits = normalFloats(4 * vocabulary, 3);
  logits[19999] = 50; // in the last part
  logits[vocabulary + 700] = logits[vocabulary + 699] = logits[vocabulary + 15000] = 9;
  logits[vocabulary] = logits[vocabulary + 300] = std::nanf("");
  for (int64_t i = 0; i < vocabulary; ++i)
    logits[2 * vocabulary + i] = i == 5 ? std::nanf("") : -INFINITY;
  logits[3 * vocabulary + 12345] = INFINITY;
  auto tokens = tokensOf(logits, vocabulary, chip, seed);
  ASSERT_TRUE(tokens) << tokens.error().message;
  EXPECT_EQ(*tokens, (std::vector<int32_t>{19999, 699, -1, 12345}));
}

TEST(GpuArgmax, ChoosesTheLowestOfTheLargest) {
  for (const char *chip : {"sm_75", "sm_80"})
    for (uint32_t seed : {0u, 1u})
      expectLowestOfTheLargest(chip, seed);
}

TEST_F(OpenCl, ArgmaxChoosesTheLowestOfTheLargest) { expectLowestOfTheLargest("spirv", 0); }

void expectEmptyParts(const std::string &chip) {
  auto tokens = tokensOf({1, 3, 2}, 3, chip, 1);
  ASSERT_TRUE(tokens) << tokens.error().message;
  EXPECT_EQ(*tokens, std::vector<int32_t>{1});
}

TEST(GpuArgmax, SmallVocabulariesLeavePartsEmpty) { expectEmptyParts("sm_90"); }
TEST_F(OpenCl, ArgmaxOfSmallVocabulariesLeavesPartsEmpty) { expectEmptyParts("spirv"); }

TEST(GpuArgmax, ARemovedBarrierIsFound) {
  auto tokens = tokensOf(normalFloats(5000, 1), 5000, "sm_80", 1, /*barriers=*/false);
  ASSERT_FALSE(tokens);
  EXPECT_THAT(tokens.error().message, testing::HasSubstr("race in shared memory"));
}

} // namespace
} // namespace quern

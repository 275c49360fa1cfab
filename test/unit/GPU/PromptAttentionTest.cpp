// Attention on tensor cores against double precision.
#include "test/unit/GPU/AttentionProblem.h"

#include "lib/Codegen/GPU/PromptAttention.h"

#include <numeric>

namespace quern {
namespace {

using codegen::PromptAttention;

/// `count` rows of a sequence from a position on.
struct Run {
  int64_t sequence;
  int32_t first, count;
};

AttentionProblem problemOf(int64_t heads, int64_t kvHeads, int64_t headDim, const std::vector<Run> &runs) {
  std::vector<int32_t> positions;
  std::vector<int64_t> sequences;
  for (const Run &run : runs)
    for (int32_t i = 0; i < run.count; ++i) {
      positions.push_back(run.first + i);
      sequences.push_back(run.sequence);
    }
  return {heads, kvHeads, headDim, positions, sequences};
}

PromptAttention kernelOf(const AttentionProblem &p) { return {p.heads, p.kvHeads, p.headDim, p.scale()}; }

std::string ptxOf(const AttentionProblem &p, const std::string &chip) {
  return emitCode(chip, [&](auto module, auto &target) { emitPromptAttention(module, kernelOf(p), target); });
}

Status run(AttentionProblem &p, const std::string &ptx, uint32_t seed, std::vector<float> &out) {
  GpuProgram program(ptx);
  p.upload(program);
  uint64_t to = program.upload(std::vector<float>(p.query.size(), NAN));
  std::vector<uint64_t> arguments = {
      program.upload(p.query), program.upload(p.positions), p.addressesOfRows, p.capacitiesOfRows, to,
      uint64_t(p.kLayer),      uint64_t(p.rows())};
  uint32_t blocks = uint32_t((p.rows() + PromptAttention::kRows - 1) / PromptAttention::kRows);
  auto status = program.launch(kernelOf(p).name(), {blocks, uint32_t(p.heads), 1}, 128, arguments, seed);
  out = program.download<float>(to, p.query.size());
  return status;
}

/// The greatest error, by what queries and weights of 22 bits and sums in f32 allow of values of the order of 1.
double errorOf(const AttentionProblem &p, const std::vector<float> &out) {
  auto expected = p.expected({p.query.begin(), p.query.end()});
  double worst = 0;
  for (size_t i = 0; i < expected.size(); ++i)
    worst = std::isnan(out[i]) ? INFINITY : std::max(worst, std::abs(out[i] - expected[i]));
  return worst / 0x1p-16;
}

void expectAttention(AttentionProblem p, const std::string &chip, uint32_t seed) {
  std::vector<float> out;
  auto status = run(p, ptxOf(p, chip), seed, out);
  ASSERT_TRUE(status) << status.error().message;
  EXPECT_LT(errorOf(p, out), 1) << kernelOf(p).name() << " " << chip;
}

TEST(GpuPromptAttention, AgreesWithDoublePrecision) {
  expectAttention(problemOf(4, 2, 64, {{0, 30, 70}}), "sm_80", 1); // a whole block and a part
  expectAttention(problemOf(2, 1, 128, {{0, 0, 33}}), "sm_90", 2);
  expectAttention(problemOf(3, 1, 80, {{0, 3, 17}}), "sm_75", 3);
  expectAttention(problemOf(1, 1, 96, {{0, 100, 9}}), "sm_80", 0);
  expectAttention(problemOf(2, 2, 16, {{0, 0, 65}}), "sm_75", 1);
}

TEST(GpuPromptAttention, NeedsTensorCores) {
  EXPECT_FALSE(PromptAttention::has(**codegen::findGpuTarget("spirv"), 64));
  EXPECT_TRUE(PromptAttention::has(**codegen::findGpuTarget("sm_75"), 64));
}

TEST(GpuPromptAttention, KeepsSequencesApart) {
  expectAttention(problemOf(2, 1, 64, {{0, 5, 10}, {1, 130, 3}, {0, 15, 7}, {2, 0, 50}}), "sm_80", 1);
  expectAttention(problemOf(1, 1, 128, {{1, 0, 1}, {0, 40, 1}, {2, 7, 20}}), "sm_75", 2);
}

TEST(GpuPromptAttention, KeepsLargeQueriesExact) {
  AttentionProblem p = problemOf(1, 1, 64, {{0, 20, 16}});
  for (float &number : p.query)
    number *= 30; // scores of some hundreds: rounded to f16, queries would shift them by more than 0.01
  expectAttention(p, "sm_80", 1);
}

TEST(GpuPromptAttention, FaultsAreFound) {
  AttentionProblem p = problemOf(1, 1, 64, {{0, 170, 20}}); // three tiles: the last takes the first one's place
  std::string ptx = ptxOf(p, "sm_80");
  std::vector<float> out;
  for (auto [line, message] :
       {std::pair{"bar.sync", "shared memory"}, {"cp.async.wait_group", "has not been waited for"}})
    for (const std::string &faulty : withoutEach(ptx, line)) {
      auto status = run(p, faulty, 1, out);
      ASSERT_FALSE(status);
      EXPECT_THAT(status.error().message, testing::HasSubstr(message));
    }
  const std::string load = "ldmatrix.sync.aligned.m8n8.x4", turned = load + ".trans";
  size_t at = ptx.find(turned);
  ASSERT_NE(at, std::string::npos);
  EXPECT_TRUE(run(p, ptx.replace(at, turned.size(), load), 1, out));
  EXPECT_GT(errorOf(p, out), 1) << "of a wrong layout";
}

} // namespace
} // namespace quern

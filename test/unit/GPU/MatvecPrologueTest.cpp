// Norm and quantization of x within a matmul for one token: to the bit what comes of a row that was normalized and
// quantized before.
#include "test/unit/GPU/CompileMatvec.h"

namespace quern {
namespace {

constexpr int64_t kWarps = Matvec::kWarpsOfWideBlock;

/// The sum of the squares in the order of the kernel: of each lane, which has four neighbouring numbers of each 128
/// that its warp takes, in ascending order; of a warp's lanes by halves that lie 1, 2, ... apart; of the warps in
/// ascending order.
float sumOfSquares(const std::vector<float> &x) {
  float total = 0;
  for (size_t warp = 0; warp < kWarps; ++warp) {
    std::array<float, 32> lanes{};
    for (size_t chunk = warp * 128; chunk < x.size(); chunk += kWarps * 128)
      for (size_t k = chunk; k < std::min(chunk + 128, x.size()); ++k)
        lanes[(k - chunk) / 4] = std::fma(x[k], x[k], lanes[(k - chunk) / 4]);
    for (size_t apart = 1; apart < 32; apart *= 2) {
      std::array<float, 32> before = lanes;
      for (size_t lane = 0; lane < 32; ++lane)
        lanes[lane] = before[lane] + before[lane ^ apart];
    }
    total = warp == 0 ? lanes[0] : total + lanes[0];
  }
  return total;
}

std::vector<float> normalized(const std::vector<float> &x, const std::vector<float> &gain, float eps) {
  float factor = 1.0f / std::sqrt(sumOfSquares(x) / float(x.size()) + eps);
  double squares = 0;
  std::vector<float> y(x.size());
  for (size_t k = 0; k < x.size(); ++k) {
    y[k] = x[k] * factor * gain[k];
    squares += double(x[k]) * x[k];
  }
  for (size_t k = 0; k < x.size(); ++k) {
    double exact = x[k] / std::sqrt(squares / double(x.size()) + eps) * gain[k];
    // Half the error of the sum of squares, whose terms are few to a lane, and five roundings.
    EXPECT_NEAR(y[k], exact, (double(x.size()) / 512 + 15) * 0x1p-24 * std::abs(exact));
  }
  return y;
}

struct Case {
  std::vector<std::pair<std::string, int64_t>> formats;
  int64_t width;
  bool norm, swiglu;
  RowKind output = RowKind::Float;
  std::string chip = "sm_80";
};

void expectWhatComesOfReadyRows(const Case &c) {
  Matvec matvec{.segments = {}, .width = c.width, .columns = 1, .swiglu = c.swiglu};
  MatvecTest ready(matvec, c.formats, c.chip);
  matvec.prologue = c.norm ? Matvec::Prologue::Norm : Matvec::Prologue::Quantize;
  matvec.eps = 1e-6f;
  MatvecTest test(matvec, c.formats, c.chip);
  ASSERT_EQ(test.x, ready.x);
  test.x[5] = ready.x[5] = 40; // one group unlike the others
  if (c.norm)
    ready.x = normalized(test.x, test.gain, matvec.eps);
  EXPECT_EQ(test.run(1), ready.run(0)) << test.matvec.name();
}

TEST(GpuPrologue, GivesTheBitsOfARowThatWasReady) {
  expectWhatComesOfReadyRows({{{"q5_0", 9}, {"q8_0", 70}, {"q4_K", 3}}, 768, true, false});
  expectWhatComesOfReadyRows({{{"q4_0", 5}}, 96, true, false, RowKind::Float, "sm_75"});
  expectWhatComesOfReadyRows({{{"q6_K", 9}, {"q4_K", 9}}, 1536, true, true, RowKind::Float, "sm_90"});
  expectWhatComesOfReadyRows({{{"q8_0", 11}}, 480, false, false});
}

/// More numbers than a lane keeps.
TEST(GpuPrologue, ReadsLongRowsTwice) {
  expectWhatComesOfReadyRows({{{"q8_0", 3}}, 4608, true, false});
  expectWhatComesOfReadyRows({{{"q8_0", 3}}, 2080, false, false});
}

TEST(GpuPrologue, MakesFloatsForFloatWeights) {
  expectWhatComesOfReadyRows({{{"f16", 9}, {"f32", 5}}, 296, true, false});
  expectWhatComesOfReadyRows({{{"bf16", 9}}, 296, true, false});
  expectWhatComesOfReadyRows({{{"bf16", 9}}, 128, false, false});
}

TEST_F(OpenCl, MatvecPrologueGivesTheBitsOfARowThatWasReady) {
  expectWhatComesOfReadyRows({{{"q5_0", 9}, {"q8_0", 70}, {"q4_K", 3}}, 768, true, false, RowKind::Float, "spirv"});
  expectWhatComesOfReadyRows({{{"q8_0", 11}}, 480, false, false, RowKind::Float, "spirv"});
  expectWhatComesOfReadyRows({{{"f16", 9}, {"f32", 5}}, 296, true, false, RowKind::Float, "spirv"});
  expectWhatComesOfReadyRows({{{"bf16", 9}}, 128, false, false, RowKind::Float, "spirv"});
}

/// More rows than blocks that the device keeps: each block takes several.
TEST(GpuPrologue, SharesARowBetweenManyRows) {
  auto target = **codegen::findGpuTarget("sm_75");
  int64_t rows = 8 * 4 * target.residentBlocks + 5;
  Case c{{{"q8_0", rows}}, 32, true, false, RowKind::Float, "sm_75"};
  Matvec matvec{.segments = {codegen::matvecSegment(specOf("q8_0"), rows).value()}, .width = 32, .columns = 1};
  matvec.prologue = Matvec::Prologue::Norm;
  EXPECT_LE(matvec.blocks(target), target.residentBlocks);
  expectWhatComesOfReadyRows(c);
}

TEST(GpuPrologue, IsFoundOutWithoutItsBarriers) {
  Matvec matvec{.segments = {}, .width = 256, .columns = 1};
  matvec.prologue = Matvec::Prologue::Norm;
  MatvecTest test(matvec, {{"q8_0", 9}}, "sm_80");
  std::string ptx = test.compiled().code;
  size_t at = ptx.rfind("bar.sync"); // the one behind the prologue
  ASSERT_NE(at, std::string::npos);
  GpuProgram program(ptx.substr(0, ptx.rfind('\n', at)) + ptx.substr(ptx.find('\n', at)));
  std::vector<uint64_t> arguments = {program.upload(test.weights[0].packed), program.upload(test.x),
                                     program.upload(test.gain), program.upload(std::vector<float>(9))};
  auto status =
      program.launch(test.compiled().name, {test.compiled().blocks, 1, 1}, test.compiled().threads, arguments, 1);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, testing::HasSubstr("race in shared memory"));
}

Matvec withSegments(std::vector<Matvec::Segment> segments, int64_t width, int64_t columns) {
  return {.segments = std::move(segments), .width = width, .columns = columns};
}

std::string refusal(const Matvec &matvec) {
  auto possible = matvec.check();
  return possible ? "" : possible.error().message;
}

TEST(GpuMatvecChecks, SayWhatHasNoKernel) {
  auto q8 = codegen::matvecSegment(specOf("q8_0"), 64).value(), f32 = codegen::matvecSegment(4, false, 64),
       bf16 = codegen::matvecSegment(2, true, 64);
  EXPECT_EQ(refusal(withSegments({q8}, 64, 9)), "expected 1 to 8 rows of activations, got 9");
  EXPECT_EQ(refusal(withSegments({f32}, 66, 1)), "rows of 66 f32 numbers: expected a multiple of 4");
  EXPECT_EQ(refusal(withSegments({bf16}, 68, 1)), "rows of 68 bf16 numbers: expected a multiple of 8");
  EXPECT_EQ(refusal(withSegments({q8, f32}, 64, 1)), "weights that take different activations");
  Matvec norm = withSegments({q8}, 64, 2);
  norm.prologue = Matvec::Prologue::Norm;
  EXPECT_EQ(refusal(norm), "norm and quantization within a matmul are for one row of activations, got 2");
  norm.columns = 1;
  EXPECT_EQ(refusal(norm), "");
  norm.width = 65536;
  EXPECT_EQ(refusal(norm), "a row of 65536 activations is too long for a block's memory");
  Matvec swiglu = withSegments({q8}, 64, 1);
  swiglu.swiglu = true;
  EXPECT_EQ(refusal(swiglu), "expected one weight or more, and two with swiglu, got 1");
  Matvec residual = withSegments({q8, q8}, 64, 1);
  residual.residual = true;
  EXPECT_EQ(refusal(residual), "a residual, and results other than f32, need one result");
}

} // namespace
} // namespace quern

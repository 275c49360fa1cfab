// Matmuls with many columns, run in the executor on packed weights and quantized activations, against double precision.
#include "test/unit/GPU/CompileMatvec.h"
#include "test/unit/GPU/EmitKernels.h"

#include "lib/Codegen/GPU/PromptMatmul.h"
#include "lib/Codegen/GPU/SplitRows.h"

namespace quern {
namespace {

using codegen::PromptMatmul;

struct Case {
  std::vector<std::string> formats; ///< of a swiglu where there are two
  int64_t rows, width, tokens;
  bool epilogue = false;          ///< bias and residual
  std::string chip = "sm_80";     ///< "dots": one without tensor cores
  PromptMatmul::Block block = {}; ///< that a block of threads makes
  bool apart = false;             ///< formats have a result each, the second with 33 rows more and so on; with bias

  bool swiglu() const { return formats.size() == 2 && !apart; }
  int64_t rowsOf(size_t segment) const { return rows + (apart ? 33 * int64_t(segment) : 0); }
};

std::string nameOf(const Case &c) {
  std::string name;
  for (const std::string &format : c.formats)
    name += format + "_";
  name += std::to_string(c.rows) + "x" + std::to_string(c.width) + "_t" + std::to_string(c.tokens) + "_" + c.chip;
  return name + "_by" + std::to_string(c.block.rows) + "x" + std::to_string(c.block.tokens) + (c.apart ? "_apart" : "");
}
std::ostream &operator<<(std::ostream &out, const Case &c) { return out << nameOf(c); }

/// A sum, and the sum of the magnitudes of its terms.
struct Sum {
  double value, magnitude;
};

class Problem {
public:
  explicit Problem(const Case &c) : c(c), x(activations(normalFloats(c.tokens * c.width, 5))) {
    std::mt19937 random(3);
    for (size_t segment = 0; segment < c.formats.size(); ++segment) {
      weights.emplace_back(c.formats[segment], c.rowsOf(segment), c.width, random);
      biases.push_back(normalFloats(c.rowsOf(segment), 7 + uint32_t(segment)));
    }
    residual = normalFloats(c.tokens * c.rows, 6);
    shape.width = c.width;
    shape.swiglu = c.swiglu();
    shape.bias = c.epilogue || c.apart;
    shape.residual = c.epilogue;
    shape.block = c.block;
    for (const TestWeight &weight : weights)
      shape.segments.push_back(weight.segment);
    shape.halves = shape.mustBeHalves() || (target().promptHalves && !shape.floats());
    auto possible = shape.check(target());
    EXPECT_TRUE(possible) << possible.error().message;
  }

  /// Makes all scales 1: of the activations by a 127 in each group, of the weights, which are Q8_0, in their blocks.
  void makeWhole() {
    x = activations(wholeNumbers(c.tokens, 5));
    TestWeight &weight = weights.front();
    formats::FormatSpec spec = specOf(c.formats.front());
    weight.numbers = wholeNumbers(c.rows, 3);
    constexpr size_t kBlockBytes = 34;
    for (size_t i = 0; i < weight.numbers.size(); ++i) {
      uint8_t *block = weight.stored.data() + i / 32 * kBlockBytes;
      block[0] = 0x00; // 1 as f16
      block[1] = 0x3c;
      block[2 + i % 32] = uint8_t(int8_t(weight.numbers[i]));
    }
    codegen::packGpuWeight(weight.segment.layout, &spec, c.rows, c.width, weight.stored, weight.packed);
  }

  /// Gives all blocks of the weights, which are MXFP4, the scale 2^113, and makes activations small.
  void makeHuge() {
    TestWeight &weight = weights.front();
    formats::FormatSpec spec = specOf(c.formats.front());
    for (size_t at = 0; at < weight.stored.size(); at += size_t(spec.bytes))
      weight.stored[at] = 240;
    for (int64_t n = 0; n < c.rows; ++n)
      formats::Decoder(spec).decodeRow(weight.stored.data() + n * c.width / spec.block * spec.bytes, c.width,
                                       weight.numbers.data() + n * c.width);
    codegen::packGpuWeight(weight.segment.layout, &spec, c.rows, c.width, weight.stored, weight.packed);
    x = activations(normalFloats(c.tokens * c.width, 5, 0x1p-100f));
  }

  codegen::GpuTarget target() const {
    codegen::GpuTarget found = **codegen::findGpuTarget(c.chip == "dots" ? "sm_75" : c.chip);
    if (c.chip == "dots")
      found.halfProductDepth = 0;
    return found;
  }

  std::string ptx() const {
    std::string chip = c.chip == "dots" ? "sm_75" : c.chip;
    return emitCode(chip, [&](mlir::gpu::GPUModuleOp module, const codegen::GpuTarget &) {
      codegen::emitPromptMatmul(module, shape, target());
      if (shape.splits())
        codegen::emitSplitRows(module, {c.width});
    });
  }

  /// Activations as the kernel takes them.
  std::vector<uint64_t> upload(GpuProgram &program, uint32_t seed) const {
    std::vector<uint64_t> uploaded = x.upload(program);
    if (!shape.splits())
      return uploaded;
    codegen::SplitRows rows{c.width};
    uploaded.push_back(program.upload(std::vector<uint8_t>(c.tokens * rows.rowBytes())));
    uploaded.push_back(program.upload(std::vector<float>(c.tokens, NAN)));
    auto status = program.launch(rows.name(), {uint32_t(c.tokens), 1, 1}, uint32_t(32 * rows.warps()), uploaded, seed);
    EXPECT_TRUE(status) << status.error().message;
    return {uploaded[1], uploaded[2]};
  }

  /// y [T, N] of each result.
  std::vector<std::vector<float>> run(const std::string &ptx, uint32_t seed) const {
    Status status;
    auto y = tryRun(ptx, seed, status);
    EXPECT_TRUE(status) << status.error().message;
    return y;
  }

  std::vector<std::vector<float>> tryRun(const std::string &ptx, uint32_t seed, Status &status) const {
    GpuProgram program(ptx);
    std::vector<uint64_t> ys;
    for (size_t i = 0; i < size_t(shape.results()); ++i)
      ys.push_back(program.upload(std::vector<float>(c.tokens * c.rowsOf(i), NAN)));
    status = launch(program, ys, seed);
    std::vector<std::vector<float>> results;
    for (size_t i = 0; i < ys.size(); ++i)
      results.push_back(program.download<float>(ys[i], c.tokens * c.rowsOf(i)));
    return results;
  }

  /// `results`: of each, or codes, scales and sums of the one.
  Status launch(GpuProgram &program, const std::vector<uint64_t> &results, uint32_t seed) const {
    std::vector<uint64_t> arguments;
    for (const TestWeight &weight : weights)
      arguments.push_back(program.upload(weight.packed));
    std::ranges::copy(upload(program, seed), std::back_inserter(arguments));
    for (size_t segment = 0; shape.bias && segment < weights.size(); ++segment)
      arguments.push_back(program.upload(biases[segment]));
    if (c.epilogue)
      arguments.push_back(program.upload(residual));
    arguments.insert(arguments.end(), results.begin(), results.end());
    arguments.push_back(uint64_t(c.tokens));
    uint32_t tokenBlocks = uint32_t((c.tokens + shape.block.tokens - 1) / shape.block.tokens);
    return program.launch(shape.name(), {tokenBlocks, uint32_t(shape.rowBlocks()), 1}, 32 * PromptMatmul::kWarps,
                          arguments, seed, uint32_t(shape.sharedBytes(target())));
  }

  Sum sum(size_t segment, int64_t t, int64_t n) const {
    double sum = shape.bias ? biases[segment][n] : 0;
    if (c.epilogue)
      sum += residual[t * c.rows + n];
    double magnitude = std::abs(sum);
    for (int64_t k = 0; k < c.width; ++k) {
      double term = double(weights[segment].numbers[n * c.width + k]) * x.value(t, k);
      sum += term;
      magnitude += std::abs(term);
    }
    return {sum, magnitude};
  }

  /// The product of each of the (16 or) 32 k is rounded twice, after the two roundings of a scale, and added; minimums
  /// are the sum of eight products.
  double unit() const { return 2 * (double(c.width) / 16 + 10) * 0x1p-24; }

  /// Numbers in f16 come of two roundings each for a weight and an activation, of a scale and of its product.
  double unitOf(size_t segment) const { return unit() + (shape.halves ? 4 * 0x1p-11 : 0); }

  /// y[t, n] of a result and what it may be off.
  std::pair<double, double> expected(size_t result, int64_t t, int64_t n) const {
    auto [first, firstMagnitude] = sum(result, t, n);
    if (!shape.swiglu)
      return {first, unitOf(result) * firstMagnitude};
    auto [second, secondMagnitude] = sum(1, t, n);
    double silu = first / (1 + std::exp(-first)); // its slope is 1.1 at the most
    double error = 1.1 * unitOf(0) * firstMagnitude * std::abs(second) + unitOf(1) * secondMagnitude * std::abs(silu);
    return {silu * second, error + 8 * 0x1p-24 * std::abs(silu * second)};
  }

  /// The mean error as a part of what sums are made of.
  double meanError(const std::vector<std::vector<float>> &y) const {
    double sum = 0;
    for (int64_t t = 0; t < c.tokens; ++t)
      for (int64_t n = 0; n < c.rows; ++n) {
        Sum exact = this->sum(0, t, n);
        sum += std::abs(y[0][t * c.rows + n] - exact.value) / exact.magnitude;
      }
    return sum / double(c.tokens * c.rows);
  }

  /// How many results are too far off.
  int64_t wrong(const std::vector<std::vector<float>> &y) const {
    int64_t count = 0;
    for (size_t i = 0; i < y.size(); ++i)
      for (int64_t t = 0, rows = c.rowsOf(i); t < c.tokens; ++t)
        for (int64_t n = 0; n < rows; ++n) {
          auto [value, error] = expected(i, t, n);
          count += !(std::abs(y[i][t * rows + n] - value) <= error + 0x1p-148); // two of the least steps of f32
        }
    return count;
  }

  Case c;
  std::vector<TestWeight> weights;
  TestActivations x;
  std::vector<std::vector<float>> biases;
  std::vector<float> residual;
  PromptMatmul shape;

private:
  TestActivations activations(const std::vector<float> &numbers) const {
    const std::string &format = c.formats.front();
    RowKind kind = format == "bf16" ? RowKind::BFloat : format == "f16" ? RowKind::Float : RowKind::Act8;
    return {kind, c.tokens, c.width, numbers};
  }

  std::vector<float> wholeNumbers(int64_t rows, uint32_t seed) const {
    std::mt19937 random(seed);
    std::uniform_int_distribution<int> bytes(-127, 127);
    std::vector<float> made(rows * c.width);
    for (size_t i = 0; i < made.size(); ++i)
      made[i] = i % 32 == 5 ? 127 : float(bytes(random));
    return made;
  }
};

class GpuPrompt : public testing::TestWithParam<Case> {};

TEST_P(GpuPrompt, AgreesWithDoublePrecision) {
  Problem problem(GetParam());
  auto y = problem.run(problem.ptx(), 1);
  EXPECT_EQ(problem.wrong(y), 0);
  if (problem.shape.halves && !problem.shape.swiglu)
    EXPECT_LT(problem.meanError(y), 0x1p-13) << "of many roundings, which are not all in one direction";
}

INSTANTIATE_TEST_SUITE_P(
    Formats, GpuPrompt,
    testing::Values(
        Case{{"q8_0"}, 37, 224, 9}, Case{{"q8_0"}, 130, 96, 140, true}, Case{{"q8_0"}, 20, 96, 11, false, "sm_75"},
        Case{{"q4_0"}, 20, 96, 12}, Case{{"q4_1"}, 20, 160, 12, true, "sm_90"}, Case{{"q5_0"}, 33, 224, 17},
        Case{{"q5_1"}, 33, 96, 17, false, "sm_75"}, Case{{"q3_K"}, 20, 256, 10}, Case{{"q4_K"}, 140, 256, 10, true},
        Case{{"q5_K"}, 20, 512, 33}, Case{{"q6_K"}, 20, 512, 10}, Case{{"q6_K"}, 20, 256, 10, true, "sm_75"},
        Case{{"q4_K", "q4_K"}, 70, 256, 10}, Case{{"q5_0", "q8_0"}, 30, 96, 20}, Case{{"q6_K", "q4_K"}, 30, 256, 10},
        Case{{"q4_0"}, 20, 96, 12, true, "dots"}, Case{{"q2_K", "q4_K"}, 20, 256, 10, false, "dots"},
        Case{{"q2_K"}, 20, 512, 10}, Case{{"q2_K"}, 20, 256, 10, false, "sm_75"}, Case{{"iq4_nl"}, 20, 96, 10},
        Case{{"iq4_xs"}, 20, 512, 10}, Case{{"mxfp4"}, 20, 224, 10}, Case{{"mxfp6_e2m3"}, 20, 96, 10},
        Case{{"i4_f32"}, 20, 96, 10}, Case{{"i5_f32"}, 20, 96, 10}, Case{{"i8_f32"}, 20, 96, 10},
        Case{{"mxfp4"}, 20, 224, 10, false, "sm_86"}, Case{{"mxfp6_e2m3"}, 20, 96, 10, false, "sm_75"},
        Case{{"i4_f32"}, 20, 96, 10, false, "sm_75"}, Case{{"i5_f32", "mxfp4"}, 20, 96, 10, false, "sm_86"},
        Case{{"i8_f32"}, 20, 96, 10, false, "sm_86"}, Case{{"mxfp6_e3m2"}, 37, 224, 9},
        Case{{"mxfp6_e3m2", "mxfp6_e2m3"}, 70, 256, 10, false, "sm_90"}, Case{{"uneven"}, 20, 96, 10},
        Case{{"mxfp6_e3m2"}, 130, 96, 140, true, "sm_86"}, Case{{"mxfp6_e3m2"}, 20, 224, 12, true, "sm_75"},
        Case{{"mxfp6_e3m2", "q8_0"}, 30, 96, 20, false, "sm_75"}, Case{{"uneven"}, 20, 96, 10, false, "sm_75"},
        Case{{"q5_K", "q2_K"}, 20, 256, 10}, Case{{"q8_0"}, 37, 224, 9, false, "sm_86"},
        Case{{"q4_K"}, 140, 256, 10, true, "sm_86"}, Case{{"q2_K"}, 20, 512, 10, false, "sm_86"},
        Case{{"q6_K"}, 20, 256, 10, true, "sm_86"}, Case{{"q5_K", "q8_0"}, 30, 256, 20, false, "sm_86"}),
    [](const auto &info) { return nameOf(info.param); });

/// Smaller blocks, whose warps share the k of a stage, and kernels with several results.
INSTANTIATE_TEST_SUITE_P(Blocks, GpuPrompt,
                         testing::Values(Case{{"q8_0"}, 130, 96, 70, true, "sm_80", {128, 64}},
                                         Case{{"q8_0"}, 70, 512, 70, true, "sm_80", {64, 64}},
                                         Case{{"q5_K", "q5_K"}, 130, 256, 70, false, "sm_80", {256, 128}},
                                         Case{{"q6_K"}, 256, 256, 9, false, "sm_80", {256, 128}},
                                         Case{{"q5_K", "q4_0"}, 130, 256, 70, false, "sm_90", {256, 128}},
                                         Case{{"mxfp6_e3m2"}, 130, 256, 70, true, "sm_75", {128, 64}},
                                         Case{{"mxfp6_e3m2"}, 70, 224, 70, false, "sm_75", {64, 64}},
                                         Case{{"mxfp6_e2m3"}, 256, 256, 9, false, "sm_80", {256, 128}},
                                         Case{{"q3_K"}, 70, 512, 70, true, "sm_90", {128, 64}},
                                         Case{{"q4_K"}, 256, 256, 9, true, "sm_86", {256, 128}},
                                         Case{{"q8_0"}, 130, 96, 70, true, "sm_86", {128, 64}},
                                         Case{{"q8_0"}, 70, 512, 70, true, "sm_86", {64, 64}},
                                         Case{{"q8_0"}, 70, 224, 70, true, "sm_90", {64, 64}},
                                         Case{{"q4_K"}, 20, 256, 10, false, "sm_75", {128, 64}},
                                         Case{{"q4_K"}, 70, 512, 65, true, "sm_80", {64, 64}},
                                         Case{{"q6_K"}, 20, 256, 10, true, "sm_80", {64, 64}},
                                         Case{{"q4_0"}, 20, 96, 12, true, "dots", {64, 64}},
                                         Case{{"q8_0", "q4_0", "q8_0"}, 40, 96, 10, false, "sm_80", {64, 64}, true},
                                         Case{{"q4_K", "q6_K"}, 120, 256, 9, false, "sm_80", {128, 128}, true},
                                         Case{{"q2_K", "q2_K"}, 20, 256, 9, false, "sm_75", {128, 64}, true}),
                         [](const auto &info) { return nameOf(info.param); });

/// Weights that are multiplied as they are stored. The last k fill no stage, or there are fewer stages than places.
INSTANTIATE_TEST_SUITE_P(Floats, GpuPrompt,
                         testing::Values(Case{{"bf16"}, 37, 216, 9}, Case{{"bf16"}, 130, 40, 140, true},
                                         Case{{"bf16"}, 128, 512, 20, true, "sm_90"},
                                         Case{{"bf16"}, 130, 200, 70, true, "sm_86", {128, 64}},
                                         Case{{"bf16"}, 70, 392, 70, true, "sm_80", {64, 64}},
                                         Case{{"bf16"}, 300, 264, 70, true, "sm_80", {256, 128}},
                                         Case{{"bf16", "bf16"}, 130, 136, 10},
                                         Case{{"bf16", "bf16"}, 130, 72, 150, false, "sm_80", {256, 128}},
                                         Case{{"bf16", "bf16", "bf16"}, 40, 136, 70, false, "sm_90", {64, 64}, true},
                                         Case{{"f16"}, 37, 216, 9}, Case{{"f16"}, 130, 40, 140, true},
                                         Case{{"f16"}, 128, 512, 20, true, "sm_90"},
                                         Case{{"f16"}, 130, 200, 70, true, "sm_86", {128, 64}},
                                         Case{{"f16"}, 70, 392, 70, true, "sm_80", {64, 64}},
                                         Case{{"f16"}, 37, 216, 9, false, "sm_75"},
                                         Case{{"f16"}, 70, 264, 70, true, "sm_75", {128, 64}},
                                         Case{{"f16"}, 70, 392, 65, true, "sm_75", {64, 64}},
                                         Case{{"f16", "f16"}, 130, 72, 10, false, "sm_75", {256, 128}},
                                         Case{{"f16"}, 300, 264, 70, true, "sm_80", {256, 128}},
                                         Case{{"f16", "f16"}, 130, 136, 10},
                                         Case{{"f16", "f16"}, 130, 72, 150, false, "sm_80", {256, 128}},
                                         Case{{"f16", "f16", "f16"}, 40, 136, 70, false, "sm_90", {64, 64}, true}),
                         [](const auto &info) { return nameOf(info.param); });

/// What a swiglu gives, quantized by its blocks: the bits that quantizing its f32 gives.
class GpuPromptQuantized : public testing::TestWithParam<Case> {};

TEST_P(GpuPromptQuantized, AgreesWithQuantizingTheResult) {
  Problem problem(GetParam());
  auto y = problem.run(problem.ptx(), 1);
  int64_t tokens = problem.c.tokens, rows = problem.c.rows;
  TestActivations expected{RowKind::Act8, tokens, rows, y[0]};
  problem.shape.quantized = problem.shape.canQuantize();
  ASSERT_TRUE(problem.shape.quantized);
  GpuProgram program(problem.ptx());
  std::vector<uint64_t> made = {program.upload(std::vector<int8_t>(tokens * rows, 99)),
                                program.upload(std::vector<float>(tokens * rows / 32, NAN)),
                                program.upload(std::vector<int16_t>(tokens * rows / 16, 9999))};
  Status status = problem.launch(program, made, 3);
  ASSERT_TRUE(status) << status.error().message;
  EXPECT_EQ(program.download<int8_t>(made[0], tokens * rows),
            expected.padRows<int8_t>(expected.quantized.codes, rows, rows));
  EXPECT_EQ(program.download<float>(made[1], tokens * rows / 32),
            expected.padRows<float>(expected.quantized.scales, rows / 32, rows / 32));
  EXPECT_EQ(program.download<int16_t>(made[2], tokens * rows / 16),
            expected.padRows<int16_t>(expected.quantized.sums, rows / 16, rows / 16));
}

INSTANTIATE_TEST_SUITE_P(Blocks, GpuPromptQuantized,
                         testing::Values(Case{{"q4_K", "q4_K"}, 256, 256, 70, false, "sm_80", {256, 128}},
                                         Case{{"q8_0", "q5_0"}, 128, 96, 9, false, "sm_90", {128, 128}},
                                         Case{{"q8_0", "q8_0"}, 128, 96, 70, false, "sm_86", {256, 128}},
                                         Case{{"q4_0", "q4_0"}, 128, 96, 11, false, "sm_75", {128, 128}},
                                         Case{{"mxfp4", "mxfp4"}, 128, 96, 11, false, "sm_90", {128, 128}},
                                         Case{{"f16", "f16"}, 128, 96, 70, false, "sm_80", {256, 128}},
                                         Case{{"f16", "f16"}, 128, 40, 11, false, "sm_90", {128, 128}},
                                         Case{{"f16", "f16"}, 128, 72, 9, false, "sm_75", {128, 128}},
                                         Case{{"q4_0", "q4_0"}, 128, 96, 11, false, "dots", {128, 128}}),
                         [](const auto &info) { return nameOf(info.param); });

/// Scales of 1 leave integers, which f32 holds exactly.
TEST(GpuPromptNumbers, IntegersAreExact) {
  for (const char *chip : {"sm_75", "sm_86"}) {
    Problem problem(Case{{"q8_0"}, 40, 128, 20, false, chip});
    problem.makeWhole();
    auto y = problem.run(problem.ptx(), 0);
    for (int64_t t = 0; t < problem.c.tokens; ++t)
      for (int64_t n = 0; n < problem.c.rows; ++n)
        EXPECT_EQ(y[0][t * problem.c.rows + n], problem.sum(0, t, n).value) << "token " << t << ", row " << n;
  }
}

/// Of blocks whose warps share the k and add up their sums, and of others.
class GpuPromptFaults : public testing::TestWithParam<Case> {};

TEST_P(GpuPromptFaults, EachBarrierAndWaitIsNeeded) {
  Problem problem(GetParam());
  std::string ptx = problem.ptx();
  auto expectFound = [&](const char *line, const char *message) {
    for (const std::string &faulty : withoutEach(ptx, line)) {
      Status status;
      problem.tryRun(faulty, 1, status);
      ASSERT_FALSE(status);
      EXPECT_THAT(status.error().message, testing::HasSubstr(message));
    }
  };
  expectFound("bar.sync", "race in shared memory");
  if (ptx.find("cp.async.cg") != std::string::npos)
    expectFound("cp.async.wait_group", "has not been waited for");
}

INSTANTIATE_TEST_SUITE_P(Stages, GpuPromptFaults,
                         testing::Values(Case{{"q4_0"}, 20, 256, 12, false, "sm_80", {256, 128}},
                                         Case{{"q5_K", "q5_K"}, 20, 256, 12, false, "sm_90", {256, 128}},
                                         Case{{"q8_0"}, 20, 256, 12, true, "sm_80", {128, 64}},
                                         Case{{"q4_K"}, 20, 256, 12, true, "sm_80", {64, 64}},
                                         Case{{"q4_K"}, 20, 256, 12, true, "sm_86", {128, 64}},
                                         Case{{"q6_K"}, 20, 256, 12, true, "sm_75", {64, 64}},
                                         Case{{"bf16"}, 20, 512, 12, false, "sm_80", {64, 64}}),
                         [](const auto &info) { return nameOf(info.param); });

/// Of stages of floats, whose waits leave later stages on their way.
class GpuPromptFloatFaults : public testing::TestWithParam<const char *> {};

TEST_P(GpuPromptFloatFaults, RemovedWaitOrBarrier) {
  Problem problem(Case{{GetParam()}, 20, 256, 12, false, "sm_80", {256, 128}});
  std::string ptx = problem.ptx();
  for (auto [line, message] :
       {std::pair{"cp.async.wait_group", "has not been waited for"}, std::pair{"bar.sync", "race in shared memory"}}) {
    Status status;
    problem.tryRun(withoutEach(ptx, line).front(), 1, status);
    ASSERT_FALSE(status);
    EXPECT_THAT(status.error().message, testing::HasSubstr(message));
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, GpuPromptFloatFaults, testing::Values("bf16", "f16"));

/// Of copies that take registers.
TEST(GpuPromptFloatsInRegisters, RemovedBarrier) {
  Problem problem(Case{{"f16"}, 20, 256, 12, false, "sm_75", {256, 128}});
  Status status;
  problem.tryRun(withoutEach(problem.ptx(), "bar.sync").front(), 1, status);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, testing::HasSubstr("race in shared memory"));
}

/// Codes that go to other places than those where they are sought.
TEST(GpuPromptLayouts, WrongSwizzle) {
  Problem problem(Case{{"q4_0"}, 20, 256, 12, false, "sm_80", {256, 128}});
  std::string faulty = problem.ptx();
  size_t at = faulty.find("xor.b64");
  ASSERT_NE(at, std::string::npos);
  faulty.replace(at, 3, "and");
  Status status;
  auto y = problem.tryRun(faulty, 0, status);
  EXPECT_TRUE(!status || problem.wrong(y) > 0);
}

/// Of all formats, alone and as a swiglu of two, the block that is chosen has the shared memory that devices give it.
TEST(GpuPromptBlocks, FitInSharedMemory) {
  std::mt19937 random(3);
  for (const codegen::GpuTarget &target : codegen::gpuTargets()) {
    if (!target.halfProductDepth)
      continue;
    for (std::string format : {"q8_0", "q4_0", "q2_K", "q5_K", "q6_K", "mxfp4", "mxfp6_e3m2", "i4_f32", "bf16", "f16"})
      for (bool swiglu : {false, true}) {
        PromptMatmul shape;
        shape.width = 1536;
        shape.swiglu = swiglu;
        Matvec::Segment segment = TestWeight(format, 1, 256, random).segment;
        segment.rows = 8960;
        shape.segments.assign(swiglu ? 2 : 1, segment);
        if (!shape.check(target))
          continue;
        shape.fit(target);
        EXPECT_LE(shape.sharedBytes(target), target.blockSharedBytes) << target.chip << " " << shape.name();
      }
  }
}

/// Small activations are as exact as others as far as f16 reaches, and large ones are finite.
TEST(GpuPromptScales, ActivationsMayBeSmallOrLarge) {
  for (float scale : {1e-3f, 2e5f})
    for (const char *format : {"q8_0", "q5_K"}) {
      Problem problem(Case{{format}, 20, 512, 10});
      problem.x = {RowKind::Act8, 10, 512, normalFloats(10 * 512, 5, scale)};
      auto y = problem.run(problem.ptx(), 1);
      EXPECT_EQ(problem.wrong(y), 0) << format << " " << scale;
      EXPECT_LT(problem.meanError(y), 0x1p-12) << format << " " << scale;
    }
}

/// Rows that are split have a scale each: of all f32 numbers none is too large, too small, or too near to another row.
TEST(GpuPromptScales, SplitRowsMayBeAsLargeAsFloatsAre) {
  Problem problem(Case{{"f16"}, 37, 264, 8, true});
  auto numbers = normalFloats(8 * 264, 5);
  const float scales[] = {1, 1e30f, 1e-30f, 0, 1e35f, 1e-40f, 1e4f, 1e-4f};
  for (size_t i = 0; i < numbers.size(); ++i)
    numbers[i] *= scales[i / 264];
  problem.x = {RowKind::Float, 8, 264, numbers};
  EXPECT_EQ(problem.wrong(problem.run(problem.ptx(), 1)), 0);
  std::ranges::fill(problem.biases[0], 0.0f);
  std::ranges::fill(problem.residual, 0.0f);
  EXPECT_EQ(problem.wrong(problem.run(problem.ptx(), 1)), 0);
}

/// What is not finite is in its row's results alone.
TEST(GpuPromptScales, SplitRowsThatAreNotFinite) {
  Problem problem(Case{{"f16"}, 37, 40, 9});
  auto numbers = normalFloats(9 * 40, 5);
  numbers[3 * 40 + 7] = INFINITY;
  numbers[5 * 40] = NAN;
  problem.x = {RowKind::Float, 9, 40, numbers};
  auto y = problem.run(problem.ptx(), 1);
  for (int64_t t = 0; t < 9; ++t)
    for (int64_t n = 0; n < 37; ++n)
      EXPECT_EQ(std::isfinite(y[0][t * 37 + n]), t != 3 && t != 5) << t << " " << n;
}

// 2^113 times the offset of integer sums is beyond f32.
TEST(GpuPromptScales, MayBeAsLargeAsTheirFormatHasThem) {
  Problem problem(Case{{"mxfp4"}, 20, 96, 10, false, "sm_86"});
  problem.makeHuge();
  EXPECT_EQ(problem.wrong(problem.run(problem.ptx(), 1)), 0);
}

} // namespace
} // namespace quern

// Matmuls with few columns: from `dq.matmul` to PTX, run in the executor on packed weights and quantized activations,
// against double precision.
#include "test/unit/GPU/CompileOps.h"

#include "quern/Codegen/GpuLayout.h"
#include "quern/Formats/Decoder.h"
#include "quern/Formats/Encoder.h"
#include "quern/Reference/Rows.h"

#include <random>

namespace quern {
namespace {

using codegen::GpuLayout;

const formats::FormatSpec &specOf(mlir::MLIRContext &context, const std::string &name) {
  return context.getOrLoadDialect<dq::DQDialect>()->getFormats().lookup(name).getSpec();
}

struct Case {
  std::string format;
  int64_t rows, width, columns;
  bool epilogue = false; ///< bias and residual
  std::string chip = "sm_80";
};

std::ostream &operator<<(std::ostream &out, const Case &c) {
  return out << c.format << " " << c.rows << "x" << c.width << " t" << c.columns << " " << c.chip;
}

/// A module with one matmul, as the quantize phase leaves it.
std::string matmulText(const Case &c, int64_t storedBytes) {
  auto tensor = [](int64_t a, int64_t b, const std::string &element) {
    return "tensor<" + std::to_string(a) + "x" + std::to_string(b) + "x" + element + ">";
  };
  std::string weight = tensor(c.rows, c.width, "!dq.block<" + c.format + ">");
  std::string x = tensor(c.columns, c.width, "!dq.act8<32>"), y = tensor(c.columns, c.rows, "f32");
  std::string bias = "tensor<" + std::to_string(c.rows) + "xf32>";
  return "dq.source @w : " + weight + " in 0 at 0 bytes " + std::to_string(storedBytes) + "\nfunc.func @f(%x: " + x +
         ", %b: " + bias + ", %r: " + y + ") -> " + y + " {\n%w = dq.weight @w : " + weight +
         "\n%y = dq.matmul %x, [%w]" + (c.epilogue ? " bias(%b) residual(%r : " + y + ")" : "") + " : " + x + ", [" +
         weight + "]" + (c.epilogue ? ", (" + bias + ")" : "") + " -> " + y + "\nreturn %y : " + y + "\n}\n";
}

std::vector<float> randomNumbers(int64_t count, std::mt19937 &random) {
  std::normal_distribution<float> normal;
  std::vector<float> numbers(count);
  for (float &number : numbers)
    number = normal(random);
  return numbers;
}

/// A weight and activations, and what the kernel is to make of them.
struct Problem {
  Problem(const Case &c, const formats::FormatSpec &spec) : c(c), spec(spec) {
    std::mt19937 random(11);
    formats::Encoder encoder(spec);
    int64_t rowBytes = c.width / spec.block * spec.bytes;
    stored.resize(c.rows * rowBytes);
    for (int64_t n = 0; n < c.rows; ++n)
      encoder.encodeRow(randomNumbers(c.width, random).data(), c.width, stored.data() + n * rowBytes);
    reference::Rows rows(c.columns, c.width);
    std::vector<float> numbers = randomNumbers(c.columns * c.width, random);
    rows.values.assign(numbers.begin(), numbers.end());
    x = reference::quantize(rows);
    bias = randomNumbers(c.rows, random);
    residual = randomNumbers(c.columns * c.rows, random);
  }

  /// y[t, n] and the sum of the magnitudes of all terms.
  std::pair<double, double> expected(int64_t t, int64_t n) const {
    std::vector<float> weights(c.width);
    formats::Decoder(spec).decodeRow(stored.data() + n * (c.width / spec.block * spec.bytes), c.width, weights.data());
    double sum = c.epilogue ? double(bias[n]) + residual[t * c.rows + n] : 0, magnitude = std::abs(sum);
    for (int64_t k = 0; k < c.width; ++k) {
      double term = double(weights[k]) * x.codes[t * c.width + k] * x.scales[t * x.groups() + k / 32];
      sum += term;
      magnitude += std::abs(term);
    }
    return {sum, magnitude};
  }

  Case c;
  const formats::FormatSpec &spec;
  std::vector<uint8_t> stored;
  reference::Act8Rows x;
  std::vector<float> bias, residual;
};

/// Rows of `per` numbers a row of activations, filled up with zeros to `padded`.
template <typename To, typename From>
std::vector<To> padRows(const std::vector<From> &rows, int64_t count, int64_t per, int64_t padded) {
  std::vector<To> out(count * padded);
  for (int64_t t = 0; t < count; ++t)
    std::copy_n(rows.begin() + t * per, per, out.begin() + t * padded);
  return out;
}

std::vector<uint8_t> packedWeight(const Problem &problem) {
  auto layout = GpuLayout::get(problem.spec);
  EXPECT_TRUE(layout);
  std::vector<uint8_t> packed(layout->bytes(problem.c.rows, problem.c.width));
  codegen::packGpuWeight(*layout, problem.spec, problem.c.rows, problem.c.width, problem.stored, packed);
  return packed;
}

/// Pointers to codes, scales and sums.
std::vector<uint64_t> uploadActivations(GpuProgram &program, const reference::Act8Rows &x) {
  int64_t padded = (x.width + 127) / 128 * 128;
  return {program.upload(padRows<int8_t>(x.codes, x.count, x.width, padded)),
          program.upload(padRows<float>(x.scales, x.count, x.groups(), padded / 32)),
          program.upload(padRows<int16_t>(x.sums, x.count, x.sumsOfRow(), padded / 16))};
}

/// Uploads the problem, with its weight as packed, and runs its kernel; y [T, N].
std::vector<float> runMatvec(const Problem &problem, const CompiledOps &compiled, uint32_t seed,
                             const std::vector<uint8_t> &weight) {
  const Case &c = problem.c;
  GpuProgram program(compiled.ptx);
  uint64_t y = program.upload(std::vector<float>(c.columns * c.rows, NAN));
  std::vector<uint64_t> arguments = {program.upload(weight)};
  std::ranges::copy(uploadActivations(program, problem.x), std::back_inserter(arguments));
  if (c.epilogue)
    arguments.insert(arguments.end(), {program.upload(problem.bias), program.upload(problem.residual)});
  arguments.push_back(y);
  std::string name = "matvec_" + c.format + "_" + std::to_string(c.rows) + "x" + std::to_string(c.width) + "_t" +
                     std::to_string(c.columns) + (c.epilogue ? "_bias_residual" : "");
  auto status = program.launch(name, {compiled.blocks.at(name), 1, 1}, 128, arguments, seed);
  EXPECT_TRUE(status) << status.error().message;
  return program.download<float>(y, c.columns * c.rows);
}

/// A lane adds width / 32 / 16 scaled pieces at the most, then five shuffles and the epilogue; three roundings make the
/// scale of a piece, and minimums double all that.
double roundingsOf(int64_t width) { return 2 * (double(width) / 512 + 12); }

/// How far y[t, n] is off, as a share of what those roundings allow.
double errorOf(const Problem &problem, const std::vector<float> &y, int64_t t, int64_t n) {
  auto [expected, magnitude] = problem.expected(t, n);
  double error = std::abs(y[t * problem.c.rows + n] - expected);
  return error / (roundingsOf(problem.c.width) * 0x1p-24 * magnitude);
}

class GpuMatvec : public testing::TestWithParam<Case> {};

TEST_P(GpuMatvec, AgreesWithDoublePrecision) {
  const Case &c = GetParam();
  mlir::MLIRContext context;
  Problem problem(c, specOf(context, c.format));
  CompiledOps compiled = compileOps(matmulText(c, int64_t(problem.stored.size())), c.chip);
  auto weight = packedWeight(problem);
  auto y = runMatvec(problem, compiled, 1, weight);
  EXPECT_EQ(y, runMatvec(problem, compiled, 2, weight)) << "does not depend on the order of threads";
  for (int64_t t = 0; t < c.columns; ++t)
    for (int64_t n = 0; n < c.rows; ++n)
      EXPECT_LE(errorOf(problem, y, t, n), 1) << "column " << t << ", row " << n;
}

INSTANTIATE_TEST_SUITE_P(Formats, GpuMatvec,
                         testing::Values(Case{"q8_0", 10, 896, 1}, Case{"q8_0", 8, 896, 3, true, "sm_90"},
                                         Case{"q8_0", 5, 1024, 8, false, "sm_75"}, Case{"q4_0", 6, 896, 2},
                                         Case{"q4_1", 6, 896, 3}, Case{"q5_1", 6, 96, 1, true},
                                         Case{"q5_0", 6, 96, 2, true}, Case{"q4_K", 6, 768, 1},
                                         Case{"q4_K", 4, 1536, 8, true}, Case{"q5_K", 6, 768, 2},
                                         Case{"q3_K", 6, 768, 2}, Case{"q5_K", 37, 1536, 1},
                                         Case{"q8_0", 7, 480, 6, true}, Case{"q5_1", 5, 800, 5},
                                         Case{"q4_1", 3, 224, 7, false, "sm_75"}, Case{"q6_K", 6, 768, 1},
                                         Case{"q6_K", 4, 1536, 8, true, "sm_75"}),
                         [](const auto &info) {
                           const Case &c = info.param;
                           return c.format + "_" + std::to_string(c.width) + "_t" + std::to_string(c.columns);
                         });

/// A gate of one format and values of another.
TEST(GpuSwiglu, AgreesWithDoublePrecision) {
  Case first{"q5_0", 9, 896, 2}, second{"q8_0", 9, 896, 2};
  mlir::MLIRContext context;
  Problem gate(first, specOf(context, first.format)), up(second, specOf(context, second.format));
  ASSERT_EQ(gate.x.codes, up.x.codes);
  std::string x = "tensor<2x896x!dq.act8<32>>", a = "tensor<9x896x!dq.block<q5_0>>",
              b = "tensor<9x896x!dq.block<q8_0>>";
  CompiledOps compiled = compileOps("dq.source @a : " + a + " in 0 at 0 bytes 5544\ndq.source @b : " + b +
                                        " in 0 at 5544 bytes 8568\nfunc.func @f(%x: " + x +
                                        ") -> tensor<2x9xf32> {\n%a = dq.weight @a : " + a +
                                        "\n%b = dq.weight @b : " + b + "\n%y = dq.matmul swiglu %x, [%a, %b] : " + x +
                                        ", [" + a + ", " + b + "] -> tensor<2x9xf32>\nreturn %y : tensor<2x9xf32>\n}",
                                    "sm_80");
  GpuProgram program(compiled.ptx);
  std::vector<uint64_t> arguments = {program.upload(packedWeight(gate)), program.upload(packedWeight(up))};
  std::ranges::copy(uploadActivations(program, gate.x), std::back_inserter(arguments));
  arguments.push_back(program.upload(std::vector<float>(18)));
  std::string name = "swiglu_q5_0_q8_0_9x896_t2";
  auto status = program.launch(name, {compiled.blocks.at(name), 1, 1}, 128, arguments, 1);
  ASSERT_TRUE(status) << status.error().message;
  auto y = program.download<float>(arguments.back(), 18);
  double unit =
      roundingsOf(896) * 0x1p-24; // of each sum, by the magnitudes of its terms; silu has a slope of at most 1.1
  for (int64_t t = 0; t < 2; ++t)
    for (int64_t n = 0; n < 9; ++n) {
      auto [g, gMagnitude] = gate.expected(t, n);
      auto [u, uMagnitude] = up.expected(t, n);
      double silu = g / (1 + std::exp(-g));
      double error =
          unit * (1.1 * gMagnitude * std::abs(u) + uMagnitude * std::abs(silu)) + 8 * 0x1p-24 * std::abs(silu * u);
      EXPECT_NEAR(y[t * 9 + n], silu * u, error) << "column " << t << ", row " << n;
    }
}

TEST(GpuFaults, WrongLayout) {
  Case c{"q4_0", 4, 256, 1};
  mlir::MLIRContext context;
  Problem problem(c, specOf(context, c.format));
  CompiledOps compiled = compileOps(matmulText(c, int64_t(problem.stored.size())), c.chip);
  // Two words of the first row's first unit change places, by which quads of codes meet each other's activations.
  auto weight = packedWeight(problem);
  std::swap_ranges(weight.begin(), weight.begin() + 4, weight.begin() + 4);
  auto wrong = runMatvec(problem, compiled, 1, weight);
  EXPECT_GT(errorOf(problem, wrong, 0, 0), 1);
  for (int64_t n = 1; n < c.rows; ++n)
    EXPECT_LE(errorOf(problem, wrong, 0, n), 1) << "row " << n;
}

/// The code of a weight as the header says where its bits lie.
unsigned codeAt(const GpuLayout &layout, const std::vector<uint8_t> &packed, int64_t rows, int64_t width, int64_t n,
                int64_t k) {
  unsigned code = 0, below = 0;
  for (size_t plane = 0; plane < layout.planes.size(); ++plane) {
    int64_t b = layout.planes[plane], q = k % layout.unit() / 4;
    int64_t byte = layout.regions(rows, width)[plane] + n * layout.rowBytes(width)[plane] +
                   (q / (32 / b) * layout.units(width) + k / layout.unit()) * 16 + q % 4 * 4 + k % 4;
    code |= (packed[byte] >> (b * (q % (32 / b) / 4)) & ((1 << b) - 1)) << below;
    below += b;
  }
  return code;
}

TEST(GpuLayouts, CodesLieWhereTheHeaderSays) {
  mlir::MLIRContext context;
  for (std::string name : {"q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q3_K", "q4_K", "q5_K", "q6_K"}) {
    const formats::FormatSpec &spec = specOf(context, name);
    auto layout = GpuLayout::get(spec);
    ASSERT_TRUE(layout) << layout.error().message;
    int64_t rows = 3, width = 768, blocks = width / spec.block;
    std::mt19937 random(5);
    std::vector<uint8_t> stored(rows * blocks * spec.bytes), packed(layout->bytes(rows, width));
    for (uint8_t &byte : stored)
      byte = uint8_t(random());
    codegen::packGpuWeight(*layout, spec, rows, width, stored, packed);
    formats::DecodedBlock block;
    for (int64_t n = 0; n < rows; ++n)
      for (int64_t b = 0; b < blocks; ++b) {
        formats::Decoder(spec).decodeBlock(stored.data() + (n * blocks + b) * spec.bytes, block);
        for (int64_t i = 0; i < spec.block; ++i)
          ASSERT_EQ(codeAt(*layout, packed, rows, width, n, b * spec.block + i), block.code[i]) << name << " " << i;
      }
  }
}

TEST(GpuLayouts, TakeTheBytesOfTheStoredRows) {
  mlir::MLIRContext context;
  for (std::string name : {"q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q4_K", "q5_K", "q6_K"}) {
    const formats::FormatSpec &spec = specOf(context, name);
    EXPECT_EQ(GpuLayout::get(spec)->bytes(64, 4096), 64 * 4096 / spec.block * spec.bytes) << name;
  }
  // But for scales of six bits, which take a byte.
  const formats::FormatSpec &spec = specOf(context, "q3_K");
  EXPECT_EQ(GpuLayout::get(spec)->bytes(64, 4096), 64 * 4096 / spec.block * (spec.bytes + 4));
}

TEST(GpuLayouts, RefuseWhatKernelsDoNotRead) {
  mlir::MLIRContext context;
  auto table = GpuLayout::get(specOf(context, "iq4_nl")), nibbles = GpuLayout::get(specOf(context, "q2_K"));
  ASSERT_FALSE(table);
  ASSERT_FALSE(nibbles);
  EXPECT_EQ(table.error().message, "format iq4_nl: codes of a table have no GPU kernel yet");
  EXPECT_EQ(nibbles.error().message, "format q2_K: scales of this kind have no GPU kernel yet");
}

} // namespace
} // namespace quern

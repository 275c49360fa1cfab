// Matmuls with few columns compiled to PTX or SPIR-V, the weights and activations that they read, and what comes out.
#ifndef QUERN_TEST_UNIT_GPU_COMPILEMATVEC_H
#define QUERN_TEST_UNIT_GPU_COMPILEMATVEC_H

#include "test/unit/GPU/EmitKernels.h"

#include "dialects/DQ/DQ.h"
#include "lib/Codegen/GPU/Matvec.h"
#include "quern/Formats/Decoder.h"
#include "quern/Formats/Encoder.h"
#include "quern/Reference/Rows.h"
#include "quern/Support/Half.h"

#include <cmath>
#include <map>
#include <random>

namespace quern {

using codegen::GpuLayout;
using codegen::Matvec;
using codegen::RowKind;

struct CompiledMatvec {
  std::string code, name;
  uint32_t blocks, threads;
};

inline CompiledMatvec compileMatvec(const Matvec &matvec, const std::string &chip) {
  auto possible = matvec.check();
  EXPECT_TRUE(possible) << possible.error().message;
  CompiledMatvec compiled{"", matvec.name(), 0, 0};
  compiled.code = emitCode(chip, [&](mlir::gpu::GPUModuleOp kernels, const codegen::GpuTarget &target) {
    auto kernel = codegen::emitMatvec(kernels, matvec, target);
    compiled.blocks = uint32_t(matvec.more ? matvec.blocks(target) : kernel.getKnownGridSize()->front());
    compiled.threads = uint32_t(kernel.getKnownBlockSize()->front());
    EXPECT_EQ(compiled.blocks, matvec.blocks(target));
    EXPECT_EQ(compiled.threads, matvec.threads(target));
  });
  return compiled;
}

inline std::vector<float> randomNumbers(size_t count, std::mt19937 &random) {
  std::normal_distribution<float> normal;
  std::vector<float> numbers(count);
  for (float &number : numbers)
    number = normal(random);
  return numbers;
}

/// "uneven": MXFP6 E3M2 with greatest entries that are no floats of its kind, and need two digits all the same.
inline formats::FormatSpec specOf(const std::string &name) {
  if (name == "uneven") {
    formats::FormatSpec spec = specOf("mxfp6_e3m2");
    spec.name = name;
    std::ranges::replace(spec.table, 448, 436);
    std::ranges::replace(spec.table, -448, -436);
    return spec;
  }
  mlir::MLIRContext context;
  return context.getOrLoadDialect<dq::DQDialect>()->getFormats().lookup(name).getSpec();
}

/// A random weight, stored and packed, and its numbers.
class TestWeight {
public:
  TestWeight(const std::string &format, int64_t rows, int64_t width, std::mt19937 &random) : rows(rows), width(width) {
    std::vector<float> wanted = randomNumbers(rows * width, random);
    numbers.resize(wanted.size());
    if (format == "f32" || format == "f16" || format == "bf16") {
      makeFloats(format, wanted);
      return;
    }
    formats::FormatSpec spec = specOf(format);
    auto made = codegen::matvecSegment(spec, rows);
    EXPECT_TRUE(made) << made.error().message;
    segment = *made;
    int64_t rowBytes = width / spec.block * spec.bytes;
    stored.resize(rows * rowBytes);
    for (int64_t n = 0; n < rows; ++n) {
      formats::Encoder(spec).encodeRow(wanted.data() + n * width, width, stored.data() + n * rowBytes);
      formats::Decoder(spec).decodeRow(stored.data() + n * rowBytes, width, numbers.data() + n * width);
    }
    pack(&spec);
  }

  int64_t rows, width;
  Matvec::Segment segment;
  std::vector<uint8_t> stored, packed;
  std::vector<float> numbers; ///< [rows, width]

private:
  void makeFloats(const std::string &format, const std::vector<float> &wanted) {
    bool bfloat = format == "bf16";
    unsigned bytes = format == "f32" ? 4 : 2;
    segment = codegen::matvecSegment(bytes, bfloat, rows);
    stored.resize(wanted.size() * bytes);
    for (size_t i = 0; i < wanted.size(); ++i) {
      uint16_t half = bfloat ? floatToBfloat(wanted[i]) : floatToHalf(wanted[i]);
      numbers[i] = bytes == 4 ? wanted[i] : bfloat ? bfloatToFloat(half) : halfToFloat(half);
      std::memcpy(stored.data() + i * bytes, bytes == 4 ? (const void *)&wanted[i] : &half, bytes);
    }
    pack(nullptr);
  }

  void pack(const formats::FormatSpec *spec) {
    packed.resize(segment.layout.bytes(rows, width));
    codegen::packGpuWeight(segment.layout, spec, rows, width, stored, packed);
  }
};

/// Rows of activations as weights of some kind take them.
class TestActivations {
public:
  TestActivations(RowKind kind, int64_t columns, int64_t width, std::span<const float> floats)
      : kind(kind), columns(columns), width(width), rows(columns, width) {
    rows.values.assign(floats.begin(), floats.end());
    if (kind == RowKind::Act8)
      quantized = reference::quantize(rows);
    else if (kind == RowKind::BFloat)
      rows = reference::roundToBfloat(rows);
  }

  double value(int64_t t, int64_t k) const {
    if (kind != RowKind::Act8)
      return rows.values[t * width + k];
    return double(quantized.codes[t * width + k]) * quantized.scales[t * quantized.groups() + k / 32];
  }

  /// Codes, scales and sums; or the rows.
  std::vector<uint64_t> upload(GpuProgram &program) const {
    if (kind == RowKind::Float)
      return {program.upload(std::vector<float>(rows.values.begin(), rows.values.end()))};
    if (kind == RowKind::BFloat) {
      std::vector<uint16_t> bits;
      for (double number : rows.values)
        bits.push_back(floatToBfloat(float(number)));
      return {program.upload(bits)};
    }
    int64_t padded = codegen::gpuRowWidth(width);
    return {program.upload(padRows<int8_t>(quantized.codes, width, padded)),
            program.upload(padRows<float>(quantized.scales, quantized.groups(), padded / 32)),
            program.upload(padRows<int16_t>(quantized.sums, quantized.sumsOfRow(), padded / 16))};
  }

  /// Rows of `per` numbers, filled up with zeros to `padded`.
  template <typename To, typename From>
  std::vector<To> padRows(const std::vector<From> &from, int64_t per, int64_t padded) const {
    std::vector<To> out(columns * padded);
    for (int64_t t = 0; t < columns; ++t)
      std::copy_n(from.begin() + t * per, per, out.begin() + t * padded);
    return out;
  }

  RowKind kind;
  int64_t columns, width;
  reference::Rows rows;
  reference::Act8Rows quantized;
};

/// A kernel, its weights, and what its epilogue reads.
class MatvecTest {
public:
  /// Weights of `formats` and `rows`; the rest of `matvec` is as given.
  MatvecTest(Matvec matvec, const std::vector<std::pair<std::string, int64_t>> &formats, std::string chip,
             uint32_t seed = 11)
      : matvec(std::move(matvec)), chip(std::move(chip)), random(seed) {
    tokens = this->matvec.columns + (this->matvec.more ? 5 : 0);
    for (auto &[format, rows] : formats) {
      weights.emplace_back(format, rows, this->matvec.width, random);
      this->matvec.segments.push_back(weights.back().segment);
      biases.push_back(randomNumbers(rows, random));
    }
    residual = randomNumbers(tokens * formats.front().second, random);
    x = randomNumbers(tokens * this->matvec.width, random);
    gain = randomNumbers(this->matvec.width, random);
  }

  TestActivations activations() const { return {matvec.takes(), tokens, matvec.width, x}; }

  /// Results of f32, of each segment [T, N]. A residual lies where the result is to be, as in a model's arena.
  std::vector<std::vector<float>> run(uint32_t seed) const {
    GpuProgram program(compiled().code);
    std::vector<uint64_t> results;
    size_t count = matvec.swiglu ? 1 : weights.size();
    for (size_t i = 0; i < count; ++i)
      results.push_back(program.upload(matvec.residual ? residual : std::vector<float>(tokens * weights[i].rows, NAN)));
    launch(program, results, seed);
    std::vector<std::vector<float>> values;
    for (size_t i = 0; i < count; ++i)
      values.push_back(program.download<float>(results[i], tokens * weights[i].rows));
    return values;
  }

  void launch(GpuProgram &program, const std::vector<uint64_t> &results, uint32_t seed) const {
    std::vector<uint64_t> arguments;
    for (const TestWeight &weight : weights)
      arguments.push_back(program.upload(weight.packed, /*areWeights=*/true));
    if (matvec.prologue == Matvec::Prologue::None)
      std::ranges::copy(activations().upload(program), std::back_inserter(arguments));
    else
      arguments.push_back(program.upload(x));
    if (matvec.prologue == Matvec::Prologue::Norm)
      arguments.push_back(program.upload(gain));
    for (size_t i = 0; matvec.bias && i < biases.size(); ++i)
      arguments.push_back(program.upload(biases[i]));
    if (matvec.residual)
      arguments.push_back(matvec.output == RowKind::Float ? results[0] : program.upload(residual));
    arguments.insert(arguments.end(), results.begin(), results.end());
    const CompiledMatvec &kernel = compiled();
    std::array<uint32_t, 3> grid = {kernel.blocks, 1, 1};
    if (matvec.more) {
      arguments.push_back(uint64_t(tokens));
      grid = {uint32_t((tokens + matvec.columns - 1) / matvec.columns), kernel.blocks, 1};
    }
    auto status = program.launch(kernel.name, grid, kernel.threads, arguments, seed);
    EXPECT_TRUE(status) << status.error().message;
  }

  const CompiledMatvec &compiled() const {
    if (kernel.code.empty())
      kernel = compileMatvec(matvec, chip);
    return kernel;
  }

  /// The product of segment i, with its epilogue, and the sum of the magnitudes of all terms.
  std::pair<double, double> expected(const TestActivations &a, size_t i, int64_t t, int64_t n) const {
    double sum = 0;
    if (matvec.bias)
      sum += biases[i][n];
    if (matvec.residual)
      sum += residual[t * weights[i].rows + n];
    double magnitude = std::abs(sum);
    for (int64_t k = 0; k < matvec.width; ++k) {
      double term = double(weights[i].numbers[n * matvec.width + k]) * a.value(t, k);
      sum += term;
      magnitude += std::abs(term);
    }
    return {sum, magnitude};
  }

  /// What roundings make of a sum, relative to the magnitudes of its terms. Of quantized products a lane adds
  /// width / 32 / 16 scaled pieces at the most, then five shuffles and the epilogue; three roundings make the scale of
  /// a piece, and minimums double all that. Of floats at least eight lanes share the terms.
  double tolerance() const {
    double pieces = matvec.takes() == RowKind::Act8 ? double(matvec.width) / 512 : double(matvec.width) / 8;
    return 2 * (pieces + 12) * 0x1p-24;
  }

  void expectSums(const std::vector<std::vector<float>> &y) const {
    TestActivations a = activations();
    for (size_t i = 0; i < y.size(); ++i)
      for (int64_t t = 0; t < tokens; ++t)
        for (int64_t n = 0; n < weights[i].rows; ++n) {
          auto [sum, magnitude] = expected(a, i, t, n);
          EXPECT_NEAR(y[i][t * weights[i].rows + n], sum, tolerance() * magnitude)
              << "segment " << i << ", column " << t << ", row " << n;
        }
  }

  Matvec matvec;
  std::string chip;
  std::mt19937 random;
  std::vector<TestWeight> weights;
  std::vector<std::vector<float>> biases;
  std::vector<float> residual, x, gain;
  int64_t tokens; ///< T

private:
  mutable CompiledMatvec kernel;
};

} // namespace quern

#endif // QUERN_TEST_UNIT_GPU_COMPILEMATVEC_H

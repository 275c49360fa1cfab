// Compiled kernels against the exact fold, bit for bit: every format and float type, all targets, each epilogue, odd
// sizes, one to many tokens, one and three threads. Activations reach a matmul as rows of an f32 embedding; what only a
// later op can bring out is multiplied by the identity, which leaves every bit but the sign of zero.
#include "CompiledModule.h"

#include "dialects/DQ/DQ.h"
#include "quern/Formats/Decoder.h"
#include "quern/Formats/Encoder.h"
#include "quern/Reference/ExactFold.h"
#include "quern/Support/Half.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <numeric>
#include <random>

using namespace quern;
using reference::MultiplyAdd;

namespace {

constexpr int64_t kTokens = 25, kN = 37, kSwigluN = 32;
/// Tokens and threads: none, tiles of each size, several tiles of one size and of two, each thread with and without
/// work.
constexpr std::pair<int64_t, int64_t> kCalls[] = {{0, 1}, {1, 1}, {1, 3}, {2, 1}, {3, 1}, {4, 1},
                                                   {5, 3}, {6, 1}, {7, 3}, {8, 1}, {9, 1}, {9, 3},
                                                   {10, 1}, {11, 3}, {12, 1}, {13, 3}, {25, 1}};
/// `q3_plain` is a user's: known from its file alone.
constexpr const char *kFormats[] = {"q4_0", "q4_1", "q5_0",   "q5_1",   "q8_0",  "q2_K", "q3_K", "q4_K",    "q5_K",
                                    "q6_K", "iq4_nl", "iq4_xs", "mxfp4", "mxfp6_e2m3", "mxfp6_e3m2", "f32",
                                    "f16", "bf16", "q3_plain"};

std::vector<float> randomValues(size_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0f, 1.0f);
  std::vector<float> values(count);
  for (float &x : values)
    x = normal(generator);
  return values;
}

/// A stored weight of n rows of k, and its exact product with activations.
struct Weight {
  int64_t n, k;
  std::string element; ///< as in the tensor's type
  const formats::FormatSpec *spec = nullptr;
  std::vector<uint8_t> bytes;
  std::vector<float> widened; ///< [n, k]

  std::string type() const {
    return "tensor<" + std::to_string(n) + "x" + std::to_string(k) + "x" + element + ">";
  }
  float product(int64_t row, std::span<const float> x, const reference::Act8Row &x8, MultiplyAdd kind) const {
    size_t rowBytes = bytes.size() / size_t(n);
    if (spec)
      return reference::foldExact(*spec, std::span(bytes).subspan(size_t(row) * rowBytes, rowBytes), x8, kind);
    std::span<const float> weights = std::span(widened).subspan(size_t(row * k), size_t(k));
    if (element != "bf16")
      return reference::foldExact(weights, x, kind);
    std::vector<float> rounded;
    for (float value : x)
      rounded.push_back(bfloatToFloat(floatToBfloat(value)));
    return reference::foldExactPairs(weights, rounded);
  }
};

template <typename IntT> void append(std::vector<uint8_t> &bytes, IntT value) {
  auto *from = reinterpret_cast<const uint8_t *>(&value);
  bytes.insert(bytes.end(), from, from + sizeof value);
}

Weight floatWeight(const std::string &type, int64_t n, int64_t k, const std::vector<float> &values) {
  Weight weight{n, k, type, nullptr, {}, {}};
  for (float value : values) {
    if (type == "f32")
      append(weight.bytes, value);
    else
      append(weight.bytes, type == "f16" ? floatToHalf(value) : floatToBfloat(value));
    weight.widened.push_back(type == "f32"   ? value
                             : type == "f16" ? halfToFloat(floatToHalf(value))
                                             : bfloatToFloat(floatToBfloat(value)));
  }
  return weight;
}

class KernelTest : public testing::TestWithParam<const char *> {
protected:
  void SetUp() override {
    auto &formats = context.getOrLoadDialect<dq::DQDialect>()->getFormats();
    ASSERT_TRUE(formats.addFile(QUERN_SOURCE_DIR "/test/lit/DQ/Inputs/q3_plain.mlir"));
  }

  Weight weight(int64_t n, int64_t k, unsigned seed) {
    std::vector<float> values = randomValues(size_t(n * k), seed);
    std::string name = GetParam();
    if (name == "f32" || name == "f16" || name == "bf16")
      return floatWeight(name, n, k, values);
    Weight weight{n, k, "!dq.block<" + name + ">", spec(), {}, std::vector<float>(values.size())};
    weight.bytes.resize(values.size() / spec()->block * spec()->bytes);
    formats::Encoder(*spec()).encodeRow(values.data(), n * k, weight.bytes.data());
    formats::Decoder(*spec()).decodeRow(weight.bytes.data(), n * k, weight.widened.data());
    return weight;
  }

  const formats::FormatSpec *spec() {
    dq::FormatAttr format = context.getOrLoadDialect<dq::DQDialect>()->getFormats().lookup(GetParam());
    return format ? &format.getSpec() : nullptr;
  }
  /// A width that is no multiple of 64, where the format allows one, and one of several super-blocks.
  int64_t oddK() { return !spec() ? 80 : spec()->block == 32 ? 96 : 256; }
  int64_t longK() { return !spec() ? 336 : 768; }

  void addEntry(const std::string &name, int64_t k, int64_t width, const std::string &body);
  void declare(const std::string &name, const Weight &weight) { module.source(name, weight.type(), weight.bytes); }
  void declareFloats(const std::string &name, int64_t n, int64_t k, const std::vector<float> &values) {
    declare(name, floatWeight("f32", n, k, values));
  }
  std::string matmul(const std::vector<std::string> &names, const Weight &like, const std::string &epilogue,
                     bool swiglu = false);

  /// Compiles for each target and compares an entry with `expect(token, column, kind)`.
  template <typename ExpectT>
  void compare(const std::string &entry, int64_t width, ExpectT expect, float tolerance = 0);
  void compileAll();

  mlir::MLIRContext context;
  ModuleText module;
  std::string activationGroup = "32"; ///< of quantized rows
  std::vector<std::pair<const codegen::Target *, std::unique_ptr<CompiledModule>>> compiled;
};

void KernelTest::addEntry(const std::string &name, int64_t k, int64_t width, const std::string &body) {
  std::string x = "tensor<" + std::to_string(kTokens) + "x" + std::to_string(k) + "xf32>";
  std::string rows = "tensor<?x" + std::to_string(k) + "xf32>";
  module.text += "func.func @" + name +
                 "(%ids: tensor<?xi32> {lm.name = \"token_ids\", lm.size = \"tokens\"}) -> (tensor<?x" +
                 std::to_string(width) + "xf32> {lm.name = \"out\"}) {\n" +
                 "  %xs = dq.weight @x" + std::to_string(k) + " : " + x + "\n" +
                 "  %x = lm.embedding %ids, %xs : tensor<?xi32>, " + x + " -> " + rows + "\n" + body +
                 "  return %y : tensor<?x" + std::to_string(width) + "xf32>\n}\n";
}

/// `%y = dq.matmul` of %x by the named weights, all like one another, with `epilogue` between list and types.
std::string KernelTest::matmul(const std::vector<std::string> &names, const Weight &like, const std::string &epilogue,
                               bool swiglu) {
  std::string k = std::to_string(like.k), n = std::to_string(like.n), text, list, types;
  std::string rows = "tensor<?x" + k + "xf32>", operand = "%x";
  if (like.spec) {
    std::string codes = "tensor<?x" + k + "x!dq.act8<" + activationGroup + ">>";
    text += "  %x8 = dq.quantize %x : " + rows + " -> " + codes + "\n";
    rows = codes, operand = "%x8";
  }
  if (like.element == "bf16") {
    text += "  %xb = dq.quantize %x : " + rows + " -> tensor<?x" + k + "xbf16>\n";
    rows = "tensor<?x" + k + "xbf16>", operand = "%xb";
  }
  for (const std::string &name : names) {
    text += "  %" + name + " = dq.weight @" + name + " : " + like.type() + "\n";
    list += (list.empty() ? "%" : ", %") + name;
    types += (types.empty() ? "" : ", ") + like.type();
  }
  std::string biases = epilogue.starts_with("bias") ? ", (tensor<" + n + "xf32>)" : "";
  return text + "  " + (swiglu ? "%h = dq.matmul swiglu " : "%y = dq.matmul ") + operand + ", [" + list + "] " +
         epilogue + " : " + rows + ", [" + types + "]" + biases + " -> tensor<?x" + n + "xf32>\n";
}

/// The AVX-VNNI target's kernels with vpdpbusd in its older encoding: the same dot products of 256 bits, on processors
/// that have AVX512-VNNI alone. The passes see the target's own name and row, but for a cache so small that tokens are
/// taken in chunks of two tiles.
const codegen::Target &vnniIn256Bits() {
  static const codegen::Target target = [] {
    codegen::Target out = **codegen::findTarget("x86-64-avxvnni");
    out.cacheBytes = 1;
    out.features = "+avx512f,+avx512vl,+avx512vnni";
    std::replace(out.required.begin(), out.required.end(), std::string("avxvnni"), std::string("avx512vnni"));
    out.required.insert(out.required.end(), {"avx512f", "avx512vl"});
    return out;
  }();
  return target;
}

void KernelTest::compileAll() {
  if (runsHere(vnniIn256Bits()))
    if (auto made = CompiledModule::make(context, module, vnniIn256Bits()))
      compiled.emplace_back(&vnniIn256Bits(), std::move(made));
  for (const codegen::Target &target : codegen::cpuTargets())
    if (runsHere(target) && (!target.bfloatDot || GetParam() == std::string("bf16")))
      if (auto made = CompiledModule::make(context, module, target))
        compiled.emplace_back(&target, std::move(made));
  ASSERT_FALSE(compiled.empty());
}

template <typename ExpectT>
void KernelTest::compare(const std::string &entry, int64_t width, ExpectT expect, float tolerance) {
  for (auto &[target, code] : compiled) {
    MultiplyAdd kind = target->fusedMultiplyAdd ? MultiplyAdd::Fused : MultiplyAdd::Separate;
    std::vector<float> want;
    for (int64_t i = 0; i < kTokens * width; ++i)
      want.push_back(expect(i / width, i % width, kind));
    for (auto [tokens, threads] : kCalls) {
      SCOPED_TRACE(entry + " on " + target->name + ", " + std::to_string(tokens) + " tokens, " +
                   std::to_string(threads) + " threads");
      std::vector<float> got = code->call(entry, tokens, width, threads);
      for (int64_t i = 0; i < tokens * width; ++i)
        if (tolerance == 0)
          ASSERT_EQ(got[i], want[i]) << "token " << i / width << ", column " << i % width;
        else
          ASSERT_NEAR(got[i], want[i], tolerance * std::fabs(want[i]) + 1e-30f)
              << "token " << i / width << ", column " << i % width;
    }
  }
}

std::vector<float> identity(int64_t n) {
  std::vector<float> values(size_t(n * n), 0.0f);
  for (int64_t i = 0; i < n; ++i)
    values[size_t(i * n + i)] = 1.0f;
  return values;
}

/// %y = %h, through the identity.
std::string throughIdentity(int64_t n) {
  std::string s = std::to_string(n), type = "tensor<" + s + "x" + s + "xf32>", rows = "tensor<?x" + s + "xf32>";
  return "  %one = dq.weight @one" + s + " : " + type + "\n  %y = dq.matmul %h, [%one] : " + rows + ", [" + type +
         "] -> " + rows + "\n";
}

reference::Rows rowsOf(const std::vector<float> &values, int64_t k) {
  reference::Rows rows(kTokens, k);
  std::copy(values.begin(), values.end(), rows.values.begin());
  return rows;
}

reference::Act8Rows quantized(const std::vector<float> &values, int64_t k) {
  return reference::quantize(rowsOf(values, k));
}

reference::Act8Rows quantizedByRow(const std::vector<float> &values, int64_t k) {
  return reference::quantizeByRow(rowsOf(values, k));
}

} // namespace

TEST_P(KernelTest, MatmulIsTheExactFold) {
  int64_t k = longK(), odd = oddK();
  std::vector<float> x = randomValues(size_t(kTokens * k), 1), xOdd = randomValues(size_t(kTokens * odd), 2);
  std::vector<float> bias = randomValues(kN, 3), residual = randomValues(size_t(kTokens * kN), 4);
  Weight w = weight(kN, k, 5), wOdd = weight(kN, odd, 6);
  declareFloats("x" + std::to_string(k), kTokens, k, x);
  declareFloats("x" + std::to_string(odd), kTokens, odd, xOdd);
  module.source("b", "tensor<37xf32>", bias);
  declareFloats("r", kTokens, kN, residual);
  std::string residuals = "tensor<" + std::to_string(kTokens) + "x37xf32>";
  declare("w", w), declare("w_odd", wOdd);
  addEntry("plain", k, kN, matmul({"w"}, w, ""));
  addEntry("odd", odd, kN, matmul({"w_odd"}, wOdd, ""));
  addEntry("bias", k, kN, "  %b = dq.weight @b : tensor<37xf32>\n" + matmul({"w"}, w, "bias(%b)"));
  addEntry("residual", k, kN,
           "  %rs = dq.weight @r : " + residuals + "\n" +
           "  %r = lm.embedding %ids, %rs : tensor<?xi32>, " + residuals + " -> tensor<?x37xf32>\n" +
               matmul({"w"}, w, "residual(%r : tensor<?x37xf32>)"));
  compileAll();
  reference::Act8Rows x8 = quantized(x, k), x8Odd = quantized(xOdd, odd);
  auto fold = [&](int64_t t, int64_t n, MultiplyAdd kind) {
    return w.product(n, std::span(x).subspan(size_t(t * k), size_t(k)), x8.row(t), kind);
  };
  compare("plain", kN, fold);
  compare("odd", kN, [&](int64_t t, int64_t n, MultiplyAdd kind) {
    return wOdd.product(n, std::span(xOdd).subspan(size_t(t * odd), size_t(odd)), x8Odd.row(t), kind);
  });
  compare("bias", kN, [&](int64_t t, int64_t n, MultiplyAdd kind) { return fold(t, n, kind) + bias[n]; });
  compare("residual", kN,
          [&](int64_t t, int64_t n, MultiplyAdd kind) { return fold(t, n, kind) + residual[t * kN + n]; });
}

TEST_P(KernelTest, SwigluGatesTheExactFolds) {
  int64_t k = longK();
  std::vector<float> x = randomValues(size_t(kTokens * k), 1);
  Weight gate = weight(kSwigluN, k, 2), up = weight(kSwigluN, k, 3);
  declareFloats("x" + std::to_string(k), kTokens, k, x);
  declareFloats("one32", kSwigluN, kSwigluN, identity(kSwigluN));
  declare("gate", gate), declare("up", up);
  addEntry("swiglu", k, kSwigluN, matmul({"gate", "up"}, gate, "", true) + throughIdentity(kSwigluN));
  compileAll();
  reference::Act8Rows x8 = quantized(x, k);
  // The exponential of compiled code is a polynomial, good to 2 units in the last place (2^-23 each); the division and
  // the products round once each.
  compare("swiglu", kSwigluN, [&](int64_t t, int64_t n, MultiplyAdd kind) {
    std::span<const float> row = std::span(x).subspan(size_t(t * k), size_t(k));
    double a = gate.product(n, row, x8.row(t), kind), b = up.product(n, row, x8.row(t), kind);
    return float(a / (1 + std::exp(-a)) * b);
  }, 5 * 0x1p-23f);
}

/// Rows about other numbers than zero, some on one side of it, one of zeros.
std::vector<float> unevenRows(int64_t k, unsigned seed) {
  std::vector<float> x = randomValues(size_t(kTokens * k), seed);
  for (size_t i = 0; i < x.size(); ++i) {
    size_t row = i / size_t(k);
    x[i] = row == 3 ? 0.0f : x[i] + 2 * (float(row % 5) - 2);
  }
  return x;
}

float multiplyAdd(float a, float b, float c, MultiplyAdd kind) {
  if (kind == MultiplyAdd::Fused)
    return std::fmaf(a, b, c);
  float product = a * b;
  return product + c;
}

/// Of formats whose folds differ: whole bytes, minimums, pieces of 16, a table.
class ZeroPointTest : public KernelTest {};

TEST_P(ZeroPointTest, RowsTakeTheSumsOfWeights) {
  activationGroup = "row";
  int64_t k = longK(), odd = oddK();
  std::vector<float> x = unevenRows(k, 1), xOdd = unevenRows(odd, 2), bias = randomValues(kN, 3);
  Weight w = weight(kN, k, 5), wOdd = weight(kN, odd, 6);
  declareFloats("x" + std::to_string(k), kTokens, k, x);
  declareFloats("x" + std::to_string(odd), kTokens, odd, xOdd);
  module.source("b", "tensor<37xf32>", bias);
  declare("w", w), declare("w_odd", wOdd);
  addEntry("odd", odd, kN, matmul({"w_odd"}, wOdd, ""));
  addEntry("bias", k, kN, "  %b = dq.weight @b : tensor<37xf32>\n" + matmul({"w"}, w, "bias(%b)"));
  compileAll();
  auto product = [](const Weight &weight, const reference::Act8Row &row, int64_t n, MultiplyAdd kind) {
    auto first = weight.widened.begin() + n * weight.k;
    auto sum = float(std::accumulate(first, first + weight.k, 0.0));
    return multiplyAdd(-(row.scales[0] * float(row.zero)), sum, weight.product(n, {}, row, kind), kind);
  };
  reference::Act8Rows x8 = quantizedByRow(x, k), x8Odd = quantizedByRow(xOdd, odd);
  compare("odd", kN, [&](int64_t t, int64_t n, MultiplyAdd kind) { return product(wOdd, x8Odd.row(t), n, kind); });
  compare("bias", kN, [&](int64_t t, int64_t n, MultiplyAdd kind) {
    return product(w, x8.row(t), n, kind) + bias[size_t(n)];
  });
}

INSTANTIATE_TEST_SUITE_P(Formats, ZeroPointTest, testing::Values("q8_0", "q4_K", "q6_K", "iq4_nl"),
                         [](const auto &info) { return std::string(info.param); });

class WidenedRowsTest : public KernelTest {};

TEST_P(WidenedRowsTest, AreWhatRowsWithZeroPointsStandFor) {
  int64_t k = 48 + 5; // neither whole units nor whole vectors
  std::string size = std::to_string(k), rows = "tensor<?x" + size + "xf32>", codes = "tensor<?x" + size;
  codes += "x!dq.act8<row>>";
  std::vector<float> x = unevenRows(k, 1);
  declareFloats("x" + size, kTokens, k, x);
  declareFloats("one" + size, k, k, identity(k));
  addEntry("widened", k, k,
           "  %q = dq.quantize %x : " + rows + " -> " + codes + "\n  %h = dq.dequantize %q : " + codes + " -> " + rows +
               "\n" + throughIdentity(k));
  compileAll();
  reference::Rows wide = reference::dequantize(quantizedByRow(x, k));
  compare("widened", k, [&](int64_t t, int64_t n, MultiplyAdd) { return float(wide.row(t)[size_t(n)]); });
}

INSTANTIATE_TEST_SUITE_P(Formats, WidenedRowsTest, testing::Values("f32"),
                         [](const auto &info) { return std::string(info.param); });

TEST_P(KernelTest, EmbeddingWidensRowsExactly) {
  int64_t k = longK();
  Weight table = weight(kTokens, k, 1);
  std::string size = std::to_string(k);
  declareFloats("x" + size, kTokens, k, randomValues(size_t(kTokens * k), 2));
  declareFloats("one" + size, k, k, identity(k));
  declare("table", table);
  addEntry("embedding", k, k,
           "  %table = dq.weight @table : " + table.type() + "\n  %h = lm.embedding %ids, %table : tensor<?xi32>, " +
               table.type() + " -> tensor<?x" + size + "xf32>\n" + throughIdentity(k));
  compileAll();
  compare("embedding", k, [&](int64_t t, int64_t n, MultiplyAdd) { return table.widened[size_t(t * k + n)]; });
}

INSTANTIATE_TEST_SUITE_P(Formats, KernelTest, testing::ValuesIn(kFormats),
                         [](const auto &info) { return std::string(info.param); });

// Compiled kernels against the exact fold, bit for bit: every format and float type, all targets, each epilogue, odd
// sizes, one to many tokens, one and three threads. Activations reach a matmul as rows of an f32 embedding; what only a
// later op can bring out is multiplied by the identity, which leaves every bit but the sign of zero.
#include "KernelTest.h"

#include <cmath>

using namespace quern;
using namespace quern::kernels;
using reference::MultiplyAdd;

constexpr int64_t kSwigluN = 32;
/// `q3_plain` is a user's: known from its file alone.
constexpr const char *kFormats[] = {"q4_0", "q4_1", "q5_0",   "q5_1",   "q8_0",  "q2_K", "q3_K", "q4_K",    "q5_K",
                                    "q6_K", "iq4_nl", "iq4_xs", "mxfp4", "mxfp6_e2m3", "mxfp6_e3m2", "f32",
                                    "f16", "bf16", "q3_plain"};

static reference::Act8Rows quantized(const std::vector<float> &values, int64_t k) {
  return reference::quantize(rowsOf(values, k));
}

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

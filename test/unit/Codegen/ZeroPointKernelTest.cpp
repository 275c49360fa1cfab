// Compiled kernels over activations with one scale and zero point a row, against the exact fold, bit for bit.
#include "KernelTest.h"

#include <cmath>
#include <numeric>

using namespace quern;
using namespace quern::kernels;
using reference::MultiplyAdd;

static reference::Act8Rows quantizedByRow(const std::vector<float> &values, int64_t k) {
  return reference::quantizeByRow(rowsOf(values, k));
}

/// Rows about other numbers than zero, some on one side of it, one of zeros.
static std::vector<float> unevenRows(int64_t k, unsigned seed) {
  std::vector<float> x = randomValues(size_t(kTokens * k), seed);
  for (size_t i = 0; i < x.size(); ++i) {
    size_t row = i / size_t(k);
    x[i] = row == 3 ? 0.0f : x[i] + 2 * (float(row % 5) - 2);
  }
  return x;
}

static float multiplyAdd(float a, float b, float c, MultiplyAdd kind) {
  if (kind == MultiplyAdd::Fused)
    return std::fmaf(a, b, c);
  float product = a * b;
  return product + c;
}

/// Of formats whose folds differ: whole bytes, minimums, pieces of 16, a table.
namespace {
class ZeroPointTest : public KernelTest {};
} // namespace

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

namespace {
class WidenedRowsTest : public KernelTest {};
} // namespace

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

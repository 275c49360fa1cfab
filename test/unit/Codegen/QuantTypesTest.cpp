// Constants of upstream's `quant` types, converted, compiled and run, against scale * (integer - zero point) in double
// precision. An embedding of the matrix, and a product with 127 times the identity, bring out its rows; a linear layer
// on 127 times the identity, which int8 activations hold exactly, its columns.
#include "CompiledModule.h"

#include "quern/Pipelines/Phases.h"

#include <cmath>
#include <gtest/gtest.h>

namespace {

constexpr int64_t kN = 40, kK = 64;

/// A quantized type, as text, and what it gives each integer.
struct Case {
  std::string name, storage; ///< of the constant
  std::string type;
  int low, high; ///< of the storage integers
  std::function<float(int64_t n, int64_t k)> scale;
  std::function<int(int64_t n, int64_t k)> zero;

  int value(int64_t n, int64_t k) const { return low + int((n * 37 + k * 11) % (high - low + 1)); }
  double weight(int64_t n, int64_t k) const { return double(scale(n, k)) * (value(n, k) - zero(n, k)); }
};

std::string number(float value) {
  char text[32];
  snprintf(text, sizeof text, "%.9e", double(value));
  return text;
}

Case perTensor() {
  return {"per_tensor", "i8", "!quant.uniform<i8:f32, 0.5:3>", -120, 127, [](auto, auto) { return 0.5f; },
          [](auto, auto) { return 3; }};
}

Case perRow() {
  auto scale = [](int64_t n, int64_t) { return 0.1f + 0.01f * float(n); };
  auto zero = [](int64_t n, int64_t) { return int(n % 16); };
  std::string list;
  for (int64_t n = 0; n < kN; ++n)
    list += (n ? ", " : "") + number(scale(n, 0)) + ":" + std::to_string(zero(n, 0));
  return {"per_row", "i4", "!quant.uniform<u4:f32:0, {" + list + "}>", 0, 15, scale, zero};
}

Case blocks() {
  auto scale = [](int64_t n, int64_t k) { return 0.25f + float(n / 10) + 0.125f * float(k / 32); };
  auto zero = [](int64_t n, int64_t k) { return int(n / 10 - 2 * (k / 32)); };
  std::string list;
  for (int64_t n = 0; n < kN; n += 10) {
    list += n ? ", {" : "{";
    for (int64_t k = 0; k < kK; k += 32)
      list += (k ? ", " : "") + number(scale(n, k)) + ":" + std::to_string(zero(n, k));
    list += "}";
  }
  return {"blocks", "i8", "!quant.uniform<i8:f32:{0:10, 1:32}, {" + list + "}>", -20, 20, scale, zero};
}

Case shifted() {
  return {"shifted", "i8", "!quant.uniform<u8:f32, 3.0e-3:100>", 105, 120, [](auto, auto) { return 3.0e-3f; },
          [](auto, auto) { return 100; }};
}

class QuantTypesTest : public testing::TestWithParam<Case> {};

void PrintTo(const Case &c, std::ostream *out) { *out << c.name; }

std::string graph(const Case &c) {
  std::string shape = std::to_string(kN) + "x" + std::to_string(kK) + "x", list;
  for (int64_t n = 0; n < kN; ++n) {
    list += n ? ", [" : "[";
    for (int64_t k = 0; k < kK; ++k)
      list += (k ? ", " : "") + std::to_string(c.value(n, k));
    list += "]";
  }
  std::string weight = "  %c = arith.constant dense<[" + list + "]> : tensor<" + shape + c.storage + ">\n" +
                       "  %q = quant.scast %c : tensor<" + shape + c.storage + "> to tensor<" + shape + c.type + ">\n" +
                       "  %w = quant.dcast %q : tensor<" + shape + c.type + "> to tensor<" + shape + "f32>\n";
  std::string ids = "(%ids: tensor<?xi32> {lm.name = \"token_ids\", lm.size = \"tokens\"}) -> (tensor<?x";
  return "func.func @rows" + ids + "64xf32> {lm.name = \"out\"}) {\n" + weight +
         "  %r = lm.embedding %ids, %w : tensor<?xi32>, tensor<40x64xf32> -> tensor<?x64xf32>\n" +
         "  %id = dq.weight @x : tensor<64x64xf32>\n" +
         "  %y = lm.linear %r, %id : tensor<?x64xf32>, tensor<64x64xf32> -> tensor<?x64xf32>\n" +
         "  return %y : tensor<?x64xf32>\n}\nfunc.func @columns" + ids + "40xf32> {lm.name = \"out\"}) {\n" + weight +
         "  %xs = dq.weight @x : tensor<64x64xf32>\n" +
         "  %x = lm.embedding %ids, %xs : tensor<?xi32>, tensor<64x64xf32> -> tensor<?x64xf32>\n" +
         "  %y = lm.linear %x, %w : tensor<?x64xf32>, tensor<40x64xf32> -> tensor<?x40xf32>\n" +
         "  return %y : tensor<?x40xf32>\n}\n";
}

TEST_P(QuantTypesTest, CompiledWeightsAreTheTypesNumbers) {
  const Case &c = GetParam();
  ModuleText text;
  std::vector<float> identity(kK * kK);
  for (int64_t k = 0; k < kK; ++k)
    identity[k * kK + k] = 127;
  text.source("x", "tensor<64x64xf32>", identity);
  text.text += graph(c);
  mlir::MLIRContext context;
  for (const quern::codegen::Target &target : quern::codegen::cpuTargets()) {
    if (!runsHere(target))
      continue;
    SCOPED_TRACE(target.name);
    auto code = CompiledModule::make(context, text, target, quern::pipelines::buildQuantizePipeline);
    ASSERT_TRUE(code);
    std::vector<float> rows = code->call("rows", kN, kK, 1), columns = code->call("columns", kK, kN, 2);
    for (int64_t n = 0; n < kN; ++n)
      for (int64_t k = 0; k < kK; ++k) {
        EXPECT_EQ(rows[n * kK + k], 127 * float(c.weight(n, k))) << n << ", " << k;
        EXPECT_NEAR(columns[k * kN + n], 127 * c.weight(n, k), 1e-6 * std::fabs(127 * c.weight(n, k)))
            << n << ", " << k;
      }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, QuantTypesTest, testing::Values(perTensor(), perRow(), blocks(), shifted()),
                         [](const auto &info) { return info.param.name; });

} // namespace

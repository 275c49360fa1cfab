#include "KernelTest.h"

#include "dialects/DQ/DQ.h"
#include "quern/Formats/Decoder.h"
#include "quern/Formats/Encoder.h"
#include "quern/Support/Half.h"

#include <algorithm>
#include <cmath>
#include <random>

using namespace quern;
using namespace quern::kernels;
using reference::MultiplyAdd;

/// Tokens and threads: none, tiles of each size, several tiles of one size and of two, each thread with and without
/// work.
constexpr std::pair<int64_t, int64_t> kCalls[] = {{0, 1}, {1, 1}, {1, 3}, {2, 1}, {3, 1}, {4, 1},
                                                   {5, 3}, {6, 1}, {7, 3}, {8, 1}, {9, 1}, {9, 3},
                                                   {10, 1}, {11, 3}, {12, 1}, {13, 3}, {25, 1}};

std::vector<float> kernels::randomValues(size_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0f, 1.0f);
  std::vector<float> values(count);
  for (float &x : values)
    x = normal(generator);
  return values;
}

float Weight::product(int64_t row, std::span<const float> x, const reference::Act8Row &x8, MultiplyAdd kind) const {
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

template <typename IntT> static void append(std::vector<uint8_t> &bytes, IntT value) {
  auto *from = reinterpret_cast<const uint8_t *>(&value);
  bytes.insert(bytes.end(), from, from + sizeof value);
}

Weight kernels::floatWeight(const std::string &type, int64_t n, int64_t k, const std::vector<float> &values) {
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

void KernelTest::SetUp() {
  auto &formats = context.getOrLoadDialect<dq::DQDialect>()->getFormats();
  ASSERT_TRUE(formats.addFile(QUERN_SOURCE_DIR "/test/lit/DQ/Inputs/q3_plain.mlir"));
}

Weight KernelTest::weight(int64_t n, int64_t k, unsigned seed) {
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

const formats::FormatSpec *KernelTest::spec() {
  dq::FormatAttr format = context.getOrLoadDialect<dq::DQDialect>()->getFormats().lookup(GetParam());
  return format ? &format.getSpec() : nullptr;
}

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
static const codegen::Target &vnniIn256Bits() {
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

void KernelTest::compare(const std::string &entry, int64_t width, const Expect &expect, float tolerance) {
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

std::vector<float> kernels::identity(int64_t n) {
  std::vector<float> values(size_t(n * n), 0.0f);
  for (int64_t i = 0; i < n; ++i)
    values[size_t(i * n + i)] = 1.0f;
  return values;
}

std::string kernels::throughIdentity(int64_t n) {
  std::string s = std::to_string(n), type = "tensor<" + s + "x" + s + "xf32>", rows = "tensor<?x" + s + "xf32>";
  return "  %one = dq.weight @one" + s + " : " + type + "\n  %y = dq.matmul %h, [%one] : " + rows + ", [" + type +
         "] -> " + rows + "\n";
}

reference::Rows kernels::rowsOf(const std::vector<float> &values, int64_t k) {
  reference::Rows rows(kTokens, k);
  std::copy(values.begin(), values.end(), rows.values.begin());
  return rows;
}

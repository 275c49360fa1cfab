// What tests of compiled kernels share: weights of each format, functions of one op, and their comparison with what is
// expected, on all targets, for many numbers of tokens and threads.
#ifndef QUERN_TEST_UNIT_CODEGEN_KERNELTEST_H
#define QUERN_TEST_UNIT_CODEGEN_KERNELTEST_H

#include "CompiledModule.h"

#include "quern/Reference/ExactFold.h"

#include <functional>
#include <gtest/gtest.h>

namespace quern::kernels {

constexpr int64_t kTokens = 25, kN = 37;

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
  float product(int64_t row, std::span<const float> x, const reference::Act8Row &x8, reference::MultiplyAdd kind) const;
};

std::vector<float> randomValues(size_t count, unsigned seed);
Weight floatWeight(const std::string &type, int64_t n, int64_t k, const std::vector<float> &values);
std::vector<float> identity(int64_t n); ///< [n, n]
/// %y = %h, through the identity.
std::string throughIdentity(int64_t n);
/// kTokens rows of k.
reference::Rows rowsOf(const std::vector<float> &values, int64_t k);

class KernelTest : public testing::TestWithParam<const char *> {
protected:
  void SetUp() override;
  Weight weight(int64_t n, int64_t k, unsigned seed);
  const formats::FormatSpec *spec();
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
  using Expect = std::function<float(int64_t token, int64_t column, reference::MultiplyAdd kind)>;
  void compare(const std::string &entry, int64_t width, const Expect &expect, float tolerance = 0);
  void compileAll();

  mlir::MLIRContext context;
  ModuleText module;
  std::string activationGroup = "32"; ///< of quantized rows
  std::vector<std::pair<const codegen::Target *, std::unique_ptr<CompiledModule>>> compiled;
};

} // namespace quern::kernels

#endif // QUERN_TEST_UNIT_CODEGEN_KERNELTEST_H

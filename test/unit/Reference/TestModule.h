// A module of one function and its weights, written as text, with the weights' bytes in memory.
#ifndef QUERN_TEST_UNIT_REFERENCE_TESTMODULE_H
#define QUERN_TEST_UNIT_REFERENCE_TESTMODULE_H

#include "quern/Reference/Evaluator.h"

#include "dialects/DQ/DQ.h"
#include "dialects/LM/LM.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>

namespace quern::reference {

class TestModule {
public:
  TestModule() {
    context.loadDialect<dq::DQDialect, lm::LMDialect, mlir::func::FuncDialect, mlir::arith::ArithDialect>();
  }

  std::vector<dq::FormatAttr> formats() { return context.getLoadedDialect<dq::DQDialect>()->getFormats().list(); }

  /// Declares weight `name` of `type`, stored as `elements` lie in memory.
  template <typename T>
  void addWeight(const std::string &name, const std::string &type, const std::vector<T> &elements) {
    size_t bytes = elements.size() * sizeof(T);
    text += "dq.source @" + name + " : " + type + " in 0 at " + std::to_string(stored.size()) + " bytes " +
            std::to_string(bytes) + "\n";
    stored.resize(stored.size() + bytes);
    std::memcpy(stored.data() + stored.size() - bytes, elements.data(), bytes);
  }

  /// Parses the function, runs passes on it if there are any, and makes the evaluator ready.
  Evaluator &load(const std::string &function, Options options = {},
                  void (*addPasses)(mlir::OpPassManager &) = nullptr) {
    module = mlir::parseSourceString<mlir::ModuleOp>(text + function, &context);
    EXPECT_TRUE(module) << "the test's own text does not parse";
    mlir::PassManager passes(&context);
    if (addPasses)
      addPasses(passes);
    EXPECT_TRUE(mlir::succeeded(passes.run(*module)));
    WeightSource source = [this](int64_t, int64_t offset, int64_t bytes, auto &) -> Result<std::span<const uint8_t>> {
      return std::span<const uint8_t>(stored.data() + offset, bytes);
    };
    evaluator.emplace(*module, source, options);
    return *evaluator;
  }

  /// Loads and runs @f of one result.
  Rows run(const std::string &function, std::vector<Evaluator::Argument> arguments, Options options = {}) {
    auto results = load(function, options).call("f", std::move(arguments));
    EXPECT_TRUE(results) << results.error().message;
    return results && !results->empty() ? results->front() : Rows();
  }

private:
  mlir::MLIRContext context{mlir::MLIRContext::Threading::DISABLED};
  std::string text;
  std::vector<uint8_t> stored;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  std::optional<Evaluator> evaluator;
};

/// Rows of the given width.
inline Rows makeRows(int64_t width, const std::vector<double> &values) {
  Rows rows(values.size() / width, width);
  rows.values = values;
  return rows;
}

/// Expects the values within `tolerance`, absolute.
inline void expectNear(const Rows &rows, const std::vector<double> &expected, double tolerance = 1e-12) {
  ASSERT_EQ(rows.values.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(rows.values[i], expected[i], tolerance) << "at " << i;
}

} // namespace quern::reference

#endif // QUERN_TEST_UNIT_REFERENCE_TESTMODULE_H

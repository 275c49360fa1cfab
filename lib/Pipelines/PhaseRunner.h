// What each phase of a compilation does around its passes.
#ifndef QUERN_LIB_PIPELINES_PHASERUNNER_H
#define QUERN_LIB_PIPELINES_PHASERUNNER_H

#include "quern/Pipelines/Compile.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"

namespace quern::pipelines {

class PhaseRunner {
public:
  /// Keeps both references.
  PhaseRunner(const CompileOptions &options, mlir::MLIRContext &context) : options(options), context(context) {}

  /// Runs a pipeline on a module; its first error becomes the result, warnings go to the options' `warning`.
  Status run(mlir::ModuleOp module, llvm::function_ref<void(mlir::OpPassManager &)> build);
  /// An importer's slip must not reach the passes.
  Status verify(mlir::ModuleOp module);
  /// Dumps the IR if asked to; true if the phase is the last one wanted.
  Result<bool> endPhase(const std::string &phase, mlir::ModuleOp module, const std::string &target = "");

  /// The same for a phase whose product is no IR: the bytes of a file with that ending.
  Result<bool> endPhase(const std::string &phase, std::string_view bytes, const std::string &target,
                        const std::string &ending);
  /// Does `work`; if it fails, gives the first error that it told of.
  Status collect(llvm::function_ref<mlir::LogicalResult()> work, const char *otherwise);

private:
  Status dump(const std::string &name, llvm::function_ref<void(llvm::raw_ostream &)> print);

  const CompileOptions &options;
  mlir::MLIRContext &context;
  int dumps = 0; ///< written so far
};

} // namespace quern::pipelines

#endif // QUERN_LIB_PIPELINES_PHASERUNNER_H

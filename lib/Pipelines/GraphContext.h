// The MLIR context of a graph's compilation, and what each phase does around its passes.
#ifndef QUERN_LIB_PIPELINES_GRAPHCONTEXT_H
#define QUERN_LIB_PIPELINES_GRAPHCONTEXT_H

#include "quern/Pipelines/Compile.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Pass/PassManager.h"

namespace quern::pipelines {

class GraphContext {
public:
  explicit GraphContext(const CompileOptions &options);

  /// Runs a pipeline; its first error becomes the result.
  Status run(mlir::ModuleOp module, llvm::function_ref<void(mlir::OpPassManager &)> build);
  /// An importer's slip must not reach the passes.
  Status verify(mlir::ModuleOp module);
  /// Dumps the IR if asked to; true if the phase is the last one wanted.
  Result<bool> endPhase(const std::string &phase, mlir::ModuleOp module, const std::string &target = "");

private:
  const CompileOptions &options;
  int phase = 0; ///< number of the next dump

public:
  mlir::MLIRContext context;
};

} // namespace quern::pipelines

#endif // QUERN_LIB_PIPELINES_GRAPHCONTEXT_H

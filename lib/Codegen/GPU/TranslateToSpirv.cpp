// quern-translate --gpu-to-spirv: the SPIR-V of a gpu.module, as bytes.
#include "quern/Codegen/Spirv.h"

#include "dialects/DQ/DQ.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Tools/mlir-translate/Translation.h"

using namespace mlir;
using namespace quern;

void codegen::registerSpirvTranslation() {
  auto translate = [](Operation *op, llvm::raw_ostream &output) -> LogicalResult {
    auto module = dyn_cast<ModuleOp>(op);
    FailureOr<std::string> bytes = module ? emitSpirv(module) : op->emitError("expected a module");
    if (succeeded(bytes))
      output << *bytes;
    return bytes;
  };
  TranslateFromMLIRRegistration registration("gpu-to-spirv", "the SPIR-V of a gpu.module for OpenCL", translate,
                                             [](DialectRegistry &registry) {
                                               registry.insert<dq::DQDialect, func::FuncDialect>(); // beside kernels
                                               registerPtxDialects(registry);
                                             });
}

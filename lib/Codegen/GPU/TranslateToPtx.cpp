// quern-translate --gpu-to-ptx: the PTX of a gpu.module as text.
#include "quern/Codegen/GPU.h"

#include "dialects/DQ/DQ.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Tools/mlir-translate/Translation.h"
#include "llvm/Support/CommandLine.h"

using namespace mlir;
using namespace quern;

void codegen::registerPtxTranslation() {
  static llvm::cl::opt<std::string> chip("gpu-target", llvm::cl::init("sm_80"),
                                         llvm::cl::desc("what --gpu-to-ptx makes code for: sm_75, sm_80, sm_86 or sm_90"));
  auto translate = [](Operation *op, llvm::raw_ostream &output) -> LogicalResult {
    auto target = findGpuTarget(chip);
    if (!target)
      return op->emitError(target.error().message);
    auto module = dyn_cast<ModuleOp>(op);
    FailureOr<std::string> text = module ? emitPtx(module, **target) : op->emitError("expected a module");
    if (succeeded(text))
      output << *text;
    return text;
  };
  TranslateFromMLIRRegistration registration("gpu-to-ptx", "the PTX of a gpu.module", translate,
                                             [](DialectRegistry &registry) {
                                               registry.insert<dq::DQDialect, func::FuncDialect>(); // beside kernels
                                               registerPtxDialects(registry);
                                             });
}

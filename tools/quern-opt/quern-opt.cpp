// quern-opt: mlir-opt with our dialects and passes.
#include "dialects/DQ/DQ.h"
#include "dialects/LM/LM.h"
#include "quern/Codegen/Passes.h"
#include "quern/Transforms/Passes.h"

#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "llvm/Support/CommandLine.h"

using namespace mlir;

static llvm::cl::list<std::string> formatFiles("dq-format", llvm::cl::desc("Also know the block formats of this file"),
                                               llvm::cl::value_desc("file"));

/// Loads the user's format files as soon as the dialect is there; a bad file ends the program.
static void loadFormats(MLIRContext *, quern::dq::DQDialect *dialect) {
  for (const std::string &path : formatFiles)
    if (quern::Status added = dialect->getFormats().addFile(path); !added) {
      llvm::errs() << "quern-opt: " << added.error().message << "\n";
      std::exit(1);
    }
}

int main(int argc, char **argv) {
  registerAllPasses();
  quern::transforms::registerTransformsPasses();
  quern::codegen::registerCodegenPasses();
  DialectRegistry registry;
  registerAllDialects(registry);
  registerAllExtensions(registry);
  registry.insert<quern::dq::DQDialect, quern::lm::LMDialect>();
  registry.addExtension(+loadFormats);
  return asMainReturnCode(MlirOptMain(argc, argv, "Quern's optimizer driver\n", registry));
}

#include "GraphContext.h"

#include "mlir/Dialect/Arith/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Bufferization/Transforms/FuncBufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/ControlFlow/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Linalg/Transforms/AllInterfaces.h"
#include "mlir/Dialect/SCF/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Tensor/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"

#include <cstdio>

using namespace quern;
using namespace quern::pipelines;

static mlir::DialectRegistry interfaces() {
  mlir::DialectRegistry registry;
  mlir::arith::registerBufferizableOpInterfaceExternalModels(registry);
  mlir::bufferization::func_ext::registerBufferizableOpInterfaceExternalModels(registry);
  mlir::cf::registerBufferizableOpInterfaceExternalModels(registry);
  mlir::linalg::registerAllDialectInterfaceImplementations(registry);
  mlir::scf::registerBufferizableOpInterfaceExternalModels(registry);
  mlir::tensor::registerBufferizableOpInterfaceExternalModels(registry);
  return registry;
}

GraphContext::GraphContext(const CompileOptions &options)
    : options(options), context(interfaces(), mlir::MLIRContext::Threading::DISABLED) {}

/// The message, and the node or tensor of the file that it is about.
static std::string sentence(mlir::Diagnostic &diagnostic) {
  auto name = mlir::dyn_cast<mlir::NameLoc>(diagnostic.getLocation());
  return (name ? "at '" + name.getName().str() + "': " : std::string()) + diagnostic.str();
}

Status GraphContext::run(mlir::ModuleOp module, llvm::function_ref<void(mlir::OpPassManager &)> build) {
  std::string first;
  mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic &diagnostic) {
    if (first.empty() && diagnostic.getSeverity() == mlir::DiagnosticSeverity::Error)
      first = sentence(diagnostic);
    return mlir::success();
  });
  mlir::PassManager passes(&context);
  passes.enableVerifier(false); // the importer's module was verified; the passes are upstream's and tested
  build(passes);
  if (mlir::failed(passes.run(module)))
    return fail("'" + options.input + "': " + (first.empty() ? "a compiler pass failed" : first));
  return {};
}

Status GraphContext::verify(mlir::ModuleOp module) {
  std::string first;
  mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic &diagnostic) {
    if (first.empty())
      first = sentence(diagnostic);
    return mlir::success();
  });
  if (mlir::failed(mlir::verify(module)))
    return fail("'" + options.input + "': the imported graph is not valid IR: " + first);
  return {};
}

Result<bool> GraphContext::endPhase(const std::string &name, mlir::ModuleOp module, const std::string &target) {
  if (!options.dumpPhases.empty()) {
    if (std::error_code error = llvm::sys::fs::create_directories(options.dumpPhases))
      return fail("cannot create the folder '" + options.dumpPhases + "': " + error.message());
    char number[8];
    std::snprintf(number, sizeof number, "%02d", ++phase);
    std::string path = options.dumpPhases + "/" + number + "-" + name + (target.empty() ? "" : "-" + target) + ".mlir";
    std::error_code error;
    llvm::raw_fd_ostream out(path, error);
    if (error)
      return fail("cannot write '" + path + "': " + error.message());
    module.print(out);
  }
  return options.stopAfter == name;
}

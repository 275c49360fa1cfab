#include "PhaseRunner.h"
#include "quern/Transforms/Names.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"

#include <algorithm>
#include <cstdio>

using namespace quern;
using namespace quern::pipelines;

/// The message, and the node or tensor of the model's file that it is about.
static std::string sentence(mlir::Diagnostic &diagnostic) {
  std::string names = transforms::describe(diagnostic.getLocation());
  return (names.empty() ? "" : "at " + names + ": ") + diagnostic.str();
}

Status PhaseRunner::collect(llvm::function_ref<mlir::LogicalResult()> work, const char *otherwise) {
  std::string first;
  mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic &diagnostic) {
    if (first.empty() && diagnostic.getSeverity() == mlir::DiagnosticSeverity::Error)
      first = sentence(diagnostic);
    if (options.warning && diagnostic.getSeverity() == mlir::DiagnosticSeverity::Warning)
      options.warning("'" + options.input + "': " + sentence(diagnostic));
    return mlir::success();
  });
  if (mlir::failed(work()))
    return fail("'" + options.input + "': " + (first.empty() ? otherwise : first));
  return {};
}

Status PhaseRunner::run(mlir::ModuleOp module, llvm::function_ref<void(mlir::OpPassManager &)> build) {
  mlir::PassManager passes(&context);
  build(passes);
  return collect([&] { return passes.run(module); }, "a compiler pass failed");
}

Status PhaseRunner::verify(mlir::ModuleOp module) {
  return collect([&] { return mlir::verify(module); }, "the imported graph is not valid IR");
}

Status PhaseRunner::dump(const std::string &name, llvm::function_ref<void(llvm::raw_ostream &)> print) {
  if (options.dumpPhases.empty())
    return {};
  if (std::error_code error = llvm::sys::fs::create_directories(options.dumpPhases))
    return fail("cannot create the folder '" + options.dumpPhases + "': " + error.message());
  char number[8];
  std::snprintf(number, sizeof number, "%02d", ++dumps);
  std::string path = options.dumpPhases + "/" + number + "-" + name;
  std::error_code error;
  llvm::raw_fd_ostream out(path, error);
  if (!error) {
    print(out);
    out.close();
    error = out.error();
    out.clear_error(); // which would end the process
  }
  if (error)
    return fail("cannot write '" + path + "': " + error.message());
  return {};
}

/// The dump's name, less its number and ending; a target's colon is no part of it.
static std::string dumpName(const std::string &phase, std::string target) {
  std::ranges::replace(target, ':', '-');
  return phase + (target.empty() ? "" : "-" + target);
}

Result<bool> PhaseRunner::endPhase(const std::string &phase, mlir::ModuleOp module, const std::string &target) {
  QUERN_TRY(dump(dumpName(phase, target) + ".mlir", [&](llvm::raw_ostream &out) {
    module.print(out, mlir::OpPrintingFlags().enableDebugInfo());
  }));
  return options.stopAfter == phase;
}

Result<bool> PhaseRunner::endPhase(const std::string &phase, std::string_view bytes, const std::string &target,
                                   const std::string &ending) {
  QUERN_TRY(dump(dumpName(phase, target) + ending, [&](llvm::raw_ostream &out) { out << bytes; }));
  return options.stopAfter == phase;
}

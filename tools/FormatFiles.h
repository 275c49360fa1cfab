// --dq-format: block formats of the user's, for the tools that are driven by mlir's command line.
#ifndef QUERN_TOOLS_FORMATFILES_H
#define QUERN_TOOLS_FORMATFILES_H

#include "dialects/DQ/DQ.h"

#include "mlir/IR/DialectRegistry.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/raw_ostream.h"

namespace quern::tools {

inline llvm::cl::list<std::string> formatFiles("dq-format", llvm::cl::desc("Also know the block formats of this file"),
                                               llvm::cl::value_desc("file"));

/// Loads the user's format files as soon as the dialect is there; a bad file ends the program.
inline void addFormatFiles(mlir::DialectRegistry &registry) {
  registry.addExtension(+[](mlir::MLIRContext *, dq::DQDialect *dialect) {
    for (const std::string &path : formatFiles)
      if (Status added = dialect->getFormats().addFile(path); !added) {
        llvm::errs() << "error: " << added.error().message << "\n";
        std::exit(1);
      }
  });
}

} // namespace quern::tools

#endif // QUERN_TOOLS_FORMATFILES_H

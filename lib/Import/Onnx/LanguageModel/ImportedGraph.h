#ifndef QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_IMPORTEDGRAPH_H
#define QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_IMPORTEDGRAPH_H

#include "Graph.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"

namespace quern::import::language {

/// A file's graph in a context of its own, ready for the recogniser. What is read from its constants is good as long as
/// it is there.
class ImportedGraph {
public:
  static Result<std::shared_ptr<ImportedGraph>> make(std::shared_ptr<OnnxFile> file);
  /// Replaces what is recognised by parts, as the passes do.
  void raise();

  const std::string &path() const { return file->path(); }
  const Graph &graph() const { return *view; }

private:
  std::shared_ptr<OnnxFile> file;
  mlir::MLIRContext context{mlir::MLIRContext::Threading::DISABLED};
  mlir::OwningOpRef<mlir::ModuleOp> module;
  mlir::func::FuncOp function;
  std::optional<Graph> view;
};

} // namespace quern::import::language

#endif // QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_IMPORTEDGRAPH_H

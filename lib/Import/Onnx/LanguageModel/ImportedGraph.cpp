#include "ImportedGraph.h"

#include "quern/Import/Onnx/ImportOnnxGraph.h"

using namespace quern;
using namespace quern::import;
using namespace quern::import::language;

Result<std::shared_ptr<ImportedGraph>> ImportedGraph::make(std::shared_ptr<OnnxFile> file) {
  auto out = std::make_shared<ImportedGraph>();
  out->file = file;
  QUERN_ASSIGN(out->module, importOnnxGraph(out->context, std::move(file)));
  auto function = *out->module->getOps<mlir::func::FuncOp>().begin();
  decompose(function);
  out->view.emplace(function);
  return out;
}

#include "ImportedGraph.h"
#include "Raise.h"

#include "quern/Import/Onnx/ImportOnnxGraph.h"

using namespace quern;
using namespace quern::import;
using namespace quern::import::language;

Result<std::shared_ptr<ImportedGraph>> ImportedGraph::make(std::shared_ptr<OnnxFile> file) {
  auto out = std::make_shared<ImportedGraph>();
  out->file = file;
  QUERN_ASSIGN(out->module, importOnnxGraph(out->context, std::move(file)));
  out->function = *out->module->getOps<mlir::func::FuncOp>().begin();
  decompose(out->function);
  out->view.emplace(out->function);
  return out;
}

void ImportedGraph::raise() {
  view.reset();
  for (auto *raisePart : {raiseEmbedding, raiseNorms, raiseFeedForward, raiseAttention})
    raisePart(function);
  view.emplace(function);
}

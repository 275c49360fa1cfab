#include "../LanguageModel/ModelFile.h"
#include "quern/Import/ImportGGUF.h"
#include "quern/Import/Onnx/Passes.h"

using namespace quern;

namespace quern::import {
#define GEN_PASS_DEF_CONVERTONNXTOLM
#include "lib/Import/Onnx/Raise/Passes.h.inc"
} // namespace quern::import

namespace {
class ConvertOnnxToLM : public import::impl::ConvertOnnxToLMBase<ConvertOnnxToLM> {
public:
  explicit ConvertOnnxToLM(import::ConvertedOnnx *out = nullptr) : out(out) {}

  void runOnOperation() override {
    if (Status status = convert(); !status) {
      getOperation().emitError() << status.error().message;
      if (out)
        out->error = status.error();
      signalPassFailure();
    }
  }

private:
  Status convert();

  import::ConvertedOnnx *out; ///< null: the file goes when the pass ends
};
} // namespace

Status ConvertOnnxToLM::convert() {
  mlir::ModuleOp module = getOperation();
  mlir::MLIRContext &context = getContext();
  auto function = module.lookupSymbol<mlir::func::FuncOp>(onnxir::kGraphName);
  if (!function || function.isExternal())
    return fail("the module has no function @" + std::string(onnxir::kGraphName) + " of onnx ops");
  auto graph = std::make_shared<const import::language::Graph>(function);
  QUERN_ASSIGN(import::language::LanguageModel model, import::language::recognise(*graph));
  QUERN_ASSIGN(gguf::File file,
               import::language::makeModelFile(graph->path(), std::move(model), graph, import::typeTable(context),
                                               /*withTokenizer=*/out != nullptr));
  QUERN_ASSIGN(mlir::OwningOpRef<mlir::ModuleOp> made, import::importGGUF(context, file));
  module->setDiscardableAttrs(mlir::DictionaryAttr::get(&context));
  module->setLoc(made->getLoc());
  module.getBody()->clear();
  module.getBody()->getOperations().splice(module.getBody()->end(), made->getBody()->getOperations());
  if (out)
    out->file = std::move(file);
  return {};
}

std::unique_ptr<mlir::Pass> import::createConvertOnnxToLM(ConvertedOnnx &out) {
  return std::make_unique<::ConvertOnnxToLM>(&out);
}

void import::buildRaiseOnnxPipeline(mlir::OpPassManager &pm) {
  mlir::OpPassManager &function = pm.nest<mlir::func::FuncOp>();
  function.addPass(createOnnxDecompose());
  function.addPass(createOnnxRaiseEmbedding());
  function.addPass(createOnnxRaiseRmsNorm());
  function.addPass(createOnnxRaiseSwiglu());
  function.addPass(createOnnxRaiseAttention());
}

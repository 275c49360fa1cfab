// quern-translate --import-onnx, --import-onnx-graph and --import-hugging-face: what the compiler's first phases make
// of a model, as text.
#include "quern/Import/HuggingFace.h"
#include "quern/Import/ImportGGUF.h"
#include "quern/Import/Onnx/ImportOnnx.h"
#include "quern/Import/Onnx/ImportOnnxGraph.h"
#include "quern/Import/Onnx/OnnxModel.h"

#include "dialects/DQ/DQ.h"
#include "dialects/LM/LM.h"
#include "dialects/Onnx/Onnx.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Tools/mlir-translate/Translation.h"
#include "llvm/Support/SourceMgr.h"

#include <filesystem>

using namespace mlir;
using namespace quern;

using Module = Result<OwningOpRef<ModuleOp>>;

/// A language model as its raised graph, any other as the graph that it is.
static Module importOnnxFile(MLIRContext &context, const std::string &path) {
  QUERN_ASSIGN(import::OnnxFile onnx, import::OnnxFile::open(path));
  if (!import::isOnnxLanguageModel(onnx)) {
    QUERN_ASSIGN(import::OnnxGraph graph, import::importOnnx(context, onnx));
    return std::move(graph.module);
  }
  QUERN_ASSIGN(gguf::File file,
               import::openOnnxModel(std::move(onnx), import::typeTable(context), /*withTokenizer=*/false));
  return import::importGGUF(context, file);
}

/// The graph as the file has it, but for large constants.
static Module importOnnxNodes(MLIRContext &context, const std::string &path) {
  QUERN_ASSIGN(import::OnnxFile file, import::OnnxFile::open(path));
  QUERN_ASSIGN(OwningOpRef<ModuleOp> module,
               import::importOnnxGraph(context, std::make_shared<import::OnnxFile>(std::move(file))));
  return import::withoutLargeConstants(*module);
}

/// `path`: a file of the folder, as translations read files.
static Module importHuggingFaceFolder(MLIRContext &context, const std::string &path) {
  std::string folder = std::filesystem::path(path).parent_path().string();
  QUERN_ASSIGN(gguf::File file, import::openHuggingFace(folder.empty() ? "." : folder, import::typeTable(context)));
  return import::importGGUF(context, file);
}

/// Translations get a file's text; what lies beside it is found by its name.
static OwningOpRef<Operation *> translate(llvm::SourceMgr &sources, MLIRContext *context,
                                          Module (*importFile)(MLIRContext &, const std::string &)) {
  std::string name = sources.getMemoryBuffer(sources.getMainFileID())->getBufferIdentifier().str();
  Module module = name == "<stdin>" ? Module(fail("give the file by its name; files beside it are read too"))
                                    : importFile(*context, name);
  if (module)
    return std::move(*module);
  emitError(UnknownLoc::get(context), module.error().message);
  return {};
}

void import::registerModelTranslations(void (*more)(DialectRegistry &)) {
  auto dialects = [more](DialectRegistry &registry) {
    registry.insert<dq::DQDialect, lm::LMDialect, onnxir::OnnxDialect, func::FuncDialect, arith::ArithDialect>();
    more(registry);
  };
  TranslateToMLIRRegistration onnx(
      "import-onnx", "import an ONNX file: a language model as a model graph, any other as a graph of tensors",
      [](llvm::SourceMgr &sources, MLIRContext *context) { return translate(sources, context, importOnnxFile); },
      dialects);
  TranslateToMLIRRegistration onnxGraph(
      "import-onnx-graph", "import an ONNX file as the nodes that it has, without constants of more than 64 KiB",
      [](llvm::SourceMgr &sources, MLIRContext *context) { return translate(sources, context, importOnnxNodes); },
      dialects);
  TranslateToMLIRRegistration huggingFace(
      "import-hugging-face", "import the Hugging Face folder that the file (its config.json) lies in",
      [](llvm::SourceMgr &sources, MLIRContext *context) {
        return translate(sources, context, importHuggingFaceFolder);
      },
      dialects);
}

// quern-translate --import-gguf: the model graph of a GGUF file as text.
#include "quern/Import/ImportGGUF.h"

#include "dialects/DQ/DQ.h"
#include "dialects/LM/LM.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Tools/mlir-translate/Translation.h"
#include "llvm/Support/SourceMgr.h"

using namespace mlir;
using namespace quern;

/// Opens the file again by its name, if it has one: only so are the parts of a split file found.
static Result<gguf::File> openBuffer(const llvm::MemoryBuffer &buffer, const gguf::TypeTable &types) {
  std::string name = buffer.getBufferIdentifier().str();
  if (name != "<stdin>")
    return gguf::File::open(name, types);
  llvm::StringRef text = buffer.getBuffer();
  return gguf::File::fromBytes(std::as_bytes(std::span(text.data(), text.size())), name, types);
}

static OwningOpRef<Operation *> translate(llvm::SourceMgr &sources, MLIRContext *context) {
  const llvm::MemoryBuffer &buffer = *sources.getMemoryBuffer(sources.getMainFileID());
  gguf::TypeTable types = import::typeTable(*context);
  auto module =
      openBuffer(buffer, types).and_then([&](const gguf::File &file) { return import::importGGUF(*context, file); });
  if (module)
    return std::move(*module);
  emitError(UnknownLoc::get(context), module.error().message);
  return {};
}

void import::registerGGUFTranslation(void (*more)(DialectRegistry &)) {
  TranslateToMLIRRegistration registration(
      "import-gguf", "import a GGUF model (qwen2, llama) as a model graph", translate,
      [more](DialectRegistry &registry) {
        registry.insert<dq::DQDialect, lm::LMDialect, func::FuncDialect, arith::ArithDialect>();
        more(registry);
      });
}

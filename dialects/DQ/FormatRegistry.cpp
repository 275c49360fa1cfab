#include "dialects/DQ/FormatRegistry.h"

#include "dialects/DQ/FormatVerify.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace mlir;
using namespace quern;
using namespace quern::dq;

FormatRegistry::FormatRegistry(MLIRContext *context) : context(context) {}
FormatRegistry::~FormatRegistry() = default;

namespace {
struct EmbeddedFile {
  const char *name;
  const char *text;
};
constexpr EmbeddedFile embeddedFiles[] = {
#include "dialects/DQ/EmbeddedFormats.inc"
};
} // namespace

void FormatRegistry::loadEmbedded() {
  std::call_once(embedded, [this] {
    for (const EmbeddedFile &file : embeddedFiles) {
      ParserConfig config(context);
      OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(file.text, config, file.name);
      // The files are part of the compiler and the tests load each, so a failure here is a broken build.
      if (!module || !addModule(*module, file.name))
        llvm::report_fatal_error(llvm::Twine("broken embedded format file ") + file.name);
    }
  });
}

FormatAttr FormatRegistry::find(StringRef name) const {
  for (FormatAttr format : known)
    if (format.getName() == name)
      return format;
  return {};
}

FormatAttr FormatRegistry::lookup(StringRef name) {
  loadEmbedded();
  std::lock_guard<std::mutex> lock(mutex);
  return find(name);
}

std::vector<FormatAttr> FormatRegistry::list() {
  loadEmbedded();
  std::lock_guard<std::mutex> lock(mutex);
  return known;
}

Status FormatRegistry::addModule(ModuleOp module, StringRef origin) {
  std::lock_guard<std::mutex> lock(mutex);
  std::vector<FormatAttr> added = known;
  for (Operation &op : module.getOps()) {
    auto declaration = dyn_cast<FormatOp>(op);
    if (!declaration)
      return fail(origin.str() + ": a format file holds only dq.format ops, got " + op.getName().getStringRef().str());
    FormatAttr format = declaration.getFormat();
    for (FormatAttr other : added) {
      if (other.getName() == format.getName())
        return fail(origin.str() + ": there is already a format called '" + format.getName().str() + "'");
      if (format.getGgufType() >= 0 && other.getGgufType() == format.getGgufType())
        return fail(origin.str() + ": GGUF type id " + std::to_string(format.getGgufType()) + " of format '" +
                    format.getName().str() + "' belongs to '" + other.getName().str() + "'");
    }
    added.push_back(format);
  }
  if (added.size() == known.size())
    return fail(origin.str() + ": the file declares no format (expected dq.format ops)");
  known = std::move(added);
  return {};
}

Status FormatRegistry::addFile(StringRef path) {
  loadEmbedded();
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/true);
  if (!buffer)
    return fail(path.str() + ": " + buffer.getError().message());
  ParserConfig config(context);
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>((*buffer)->getBuffer(), config, path);
  if (!module)
    return fail(path.str() + ": not a format file");
  return addModule(*module, path);
}

const formats::FormatSpec &FormatRegistry::spec(FormatAttr format) {
  std::lock_guard<std::mutex> lock(mutex);
  std::unique_ptr<formats::FormatSpec> &slot = specs[format.getAsOpaquePointer()];
  if (!slot) {
    // The attribute exists, so it has passed the verifier and evaluation does not fail.
    auto emitError = [&] { return mlir::emitError(UnknownLoc::get(context)); };
    slot = std::make_unique<formats::FormatSpec>(*evaluateFormat(
        emitError, {format.getName(), format.getGgufType(), format.getBlock(), format.getBytes(), format.getGroup(),
                    format.getCodes(), format.getTable(), format.getUnit(), format.getScale(), format.getMinimum(),
                    format.getMinimumAdded()}));
  }
  return *slot;
}

// The block formats of a context: the embedded ones (dialects/DQ/formats), parsed when first asked for, and those of
// the user's files. Owned by the dialect: `context->getLoadedDialect<DQDialect>()->getFormats()`.
#ifndef QUERN_DIALECTS_DQ_FORMATREGISTRY_H
#define QUERN_DIALECTS_DQ_FORMATREGISTRY_H

#include "quern/Formats/FormatSpec.h"
#include "quern/Support/Result.h"

#include "mlir/IR/MLIRContext.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringRef.h"

#include <memory>
#include <mutex>
#include <vector>

namespace mlir {
class ModuleOp;
}

namespace quern::dq {
class FormatAttr;

/// Safe to use from several threads.
class FormatRegistry {
public:
  explicit FormatRegistry(mlir::MLIRContext *context);
  ~FormatRegistry();

  /// The format of that name ("q4_K"), or null.
  FormatAttr lookup(llvm::StringRef name);
  /// All formats: the embedded ones in the order of their names, then the user's in the order of loading.
  std::vector<FormatAttr> list();

  /// Adds the formats of a file of `dq.format` ops. Fails on syntax (then the parser has also reported where), on an
  /// op of another kind, and on a name or GGUF id that is taken.
  Status addFile(llvm::StringRef path);

  /// The evaluated description of a format, made once; lives as long as the context.
  const formats::FormatSpec &spec(FormatAttr format);

private:
  void loadEmbedded();
  Status addModule(mlir::ModuleOp module, llvm::StringRef origin);
  FormatAttr find(llvm::StringRef name) const;

  mlir::MLIRContext *context;
  std::once_flag embedded;
  std::mutex mutex; ///< guards the two below
  std::vector<FormatAttr> known;
  llvm::DenseMap<const void *, std::unique_ptr<formats::FormatSpec>> specs; ///< by the attribute's opaque pointer
};

} // namespace quern::dq

#endif // QUERN_DIALECTS_DQ_FORMATREGISTRY_H

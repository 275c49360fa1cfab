// From an opened GGUF file to the model graph: ops of `lm`, weights as `dq.source` symbols that say where in the file
// they lie. The file's bytes never enter the IR. Afterwards nothing needs to know GGUF but who reads those bytes.
#ifndef QUERN_IMPORT_IMPORTGGUF_H
#define QUERN_IMPORT_IMPORTGGUF_H

#include "dialects/DQ/DQ.h"
#include "quern/Import/GGUF.h"
#include "quern/Import/ModelConfig.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace quern::import {

/// Name of the entry function: one step over any rows of any sequences.
inline constexpr char kEntryName[] = "step";

/// The plain types, and every block format that the context's `dq` dialect knows.
gguf::TypeTable typeTable(mlir::MLIRContext &context);

/// Fails on weights whose scales or values are infinite or no numbers, in any format that the context knows.
Status checkNumbers(mlir::MLIRContext &context, const gguf::File &file, unsigned threads);

/// Builds the module of a model whose description was read from the same file:
///
///   func @step(token_ids, positions: tensor<?xi32> [tokens], !lm.cache, output_rows: tensor<?xi32> [outputs])
///     -> logits: tensor<?xVxf32>
///
/// Locations carry the GGUF tensor names, and below them what the model's own file calls the same. The module verifies.
mlir::OwningOpRef<mlir::ModuleOp> importModel(mlir::MLIRContext &context, const gguf::File &file,
                                              const ModelConfig &config);

/// What gives the weights of that module their bytes. The file must outlive it.
dq::SourceReader sourceReader(const gguf::File &file);

/// Reads the model's description and builds the module; fails as readModelConfig does.
Result<mlir::OwningOpRef<mlir::ModuleOp>> importGGUF(mlir::MLIRContext &context, const gguf::File &file);

/// Registers `--import-gguf` with the translation registry (quern-translate). `more` may add to the dialect registry.
void registerGGUFTranslation(void (*more)(mlir::DialectRegistry &));
/// The same for `--import-onnx` and `--import-hugging-face`.
void registerModelTranslations(void (*more)(mlir::DialectRegistry &));

} // namespace quern::import

#endif // QUERN_IMPORT_IMPORTGGUF_H

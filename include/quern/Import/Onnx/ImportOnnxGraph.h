// ONNX file -> IR of the `onnx` dialect: the graph as the file has it, before anything is known of what it computes.
#ifndef QUERN_IMPORT_ONNX_IMPORTONNXGRAPH_H
#define QUERN_IMPORT_ONNX_IMPORTONNXGRAPH_H

#include "quern/Import/Onnx/OnnxFile.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace quern::import {

/// A module with the function @graph, as the dialect's description says. Constants are not copied: the module's context
/// keeps the file. Fails on tensors of nodes whose bytes are not there; all others were checked when the file was
/// opened.
Result<mlir::OwningOpRef<mlir::ModuleOp>> importOnnxGraph(mlir::MLIRContext &context, std::shared_ptr<OnnxFile> file);

/// The same module without the bytes of constants of more than 64 KiB, whose resources are names only: as text, each
/// byte would be two letters.
mlir::OwningOpRef<mlir::ModuleOp> withoutLargeConstants(mlir::ModuleOp module);

} // namespace quern::import

#endif // QUERN_IMPORT_ONNX_IMPORTONNXGRAPH_H

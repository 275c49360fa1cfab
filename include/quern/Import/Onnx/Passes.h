// Passes from the nodes of an ONNX file to the model graph; lib/Import/Onnx/Raise/Passes.td describes each.
#ifndef QUERN_IMPORT_ONNX_PASSES_H
#define QUERN_IMPORT_ONNX_PASSES_H

#include "dialects/DQ/DQ.h"
#include "dialects/LM/LM.h"
#include "dialects/Onnx/Onnx.h"
#include "quern/Import/GGUF.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"

namespace quern::import {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "lib/Import/Onnx/Raise/Passes.h.inc"

/// What the last pass makes beside the module.
struct ConvertedOnnx {
  std::optional<gguf::File> file; ///< holds the module's weights; it reads what the ONNX module's constants lay in
  std::optional<Error> error;     ///< why there is no language model
};

/// The last pass, with tokenizer.json from beside the ONNX file. `out` must outlive it, and the context `out->file`.
std::unique_ptr<mlir::Pass> createConvertOnnxToLM(ConvertedOnnx &out);

/// All passes before the last one. Afterwards each part of a language model is one op.
void buildRaiseOnnxPipeline(mlir::OpPassManager &pm);

} // namespace quern::import

#endif // QUERN_IMPORT_ONNX_PASSES_H

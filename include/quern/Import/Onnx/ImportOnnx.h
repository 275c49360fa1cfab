// ONNX graph -> IR: one function of linalg, tensor, arith and math ops, whose arguments are the graph's inputs and then
// its large constants. Each op's location is the name of its node.
#ifndef QUERN_IMPORT_ONNX_IMPORTONNX_H
#define QUERN_IMPORT_ONNX_IMPORTONNX_H

#include "quern/Import/Onnx/OnnxFile.h"
#include "quern/Runtime/Manifest.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace quern::import {

/// Name of the function.
inline constexpr char kGraphName[] = "graph";

struct OnnxGraph {
  mlir::OwningOpRef<mlir::ModuleOp> module;
  /// Named inputs and outputs. A size that an output shares with an input has that input's name; one that only running
  /// can tell is -1 without a name.
  std::vector<Manifest::Tensor> inputs, outputs;
  std::vector<std::string> sizes; ///< of inputs: the file's names, or "input.axis"
  /// Constants in the order of the function's arguments behind the inputs; see OnnxFile::data.
  std::vector<const onnx::TensorProto *> weights;
};

/// Imports the graph. Operators that are not supported are one error that lists them all, with how often they occur.
Result<OnnxGraph> importOnnx(mlir::MLIRContext &context, OnnxFile &file);

/// An operator in a file: its name (those of other domains as "domain.name"), the number of its nodes, graphs inside of
/// nodes included, and whether it can be imported.
struct OnnxOperatorUse {
  std::string name;
  int64_t count;
  bool supported;
};

/// The operators of a file, sorted by name.
std::vector<OnnxOperatorUse> operatorsOf(const OnnxFile &file);

/// The operators that can be imported, sorted.
std::vector<std::string> onnxOperators();

} // namespace quern::import

#endif // QUERN_IMPORT_ONNX_IMPORTONNX_H

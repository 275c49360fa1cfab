// The `onnx` dialect: ONNX graphs as files have them. See Onnx.td for what it means, README.md for why it is as it is.
#ifndef QUERN_DIALECTS_ONNX_ONNX_H
#define QUERN_DIALECTS_ONNX_ONNX_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/Onnx/OnnxDialect.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/Onnx/OnnxAttrs.h.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/Onnx/OnnxTypes.h.inc"
#define GET_OP_CLASSES
#include "dialects/Onnx/OnnxOps.h.inc"

namespace quern::onnxir { // `onnx` is the namespace of the protobuf classes
/// Attributes of a graph's function and module; see the dialect's description.
inline constexpr char kNameAttr[] = "onnx.name";
inline constexpr char kDimsAttr[] = "onnx.dims";
inline constexpr char kOpsetsAttr[] = "onnx.opsets";
/// Name of a graph's function.
inline constexpr char kGraphName[] = "graph";

/// The type of ONNX's number (`TensorProto::DataType`); null if the number means nothing to us.
mlir::Type elementType(mlir::MLIRContext *context, int32_t number);
/// The number of a type; 0 if ONNX has none.
int32_t elementNumber(mlir::Type type);
/// Bits of one element in a resource: 8 for booleans; 0: of no fixed size (strings).
unsigned elementBits(mlir::Type type);
/// Bytes of a tensor's elements in a resource; none beyond what 64 bits count.
std::optional<int64_t> byteSize(mlir::ShapedType type);

/// The elements of a constant as ONNX's `raw_data` has them: those of a resource where they lie, others in `room`. None
/// if it is one of strings, or a resource whose bytes are not there.
std::optional<llvm::ArrayRef<char>> rawBytes(mlir::ElementsAttr value, llvm::SmallVectorImpl<char> &room);
/// The elements as `dense<...>`, from such bytes. The elements have at least 8 bits, or are booleans.
mlir::DenseElementsAttr denseElements(mlir::ShapedType type, llvm::ArrayRef<char> bytes);
} // namespace quern::onnxir

#endif // QUERN_DIALECTS_ONNX_ONNX_H

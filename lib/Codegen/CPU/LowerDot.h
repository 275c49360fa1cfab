// Lowering of dq.dot, and what the lowerings of target ops share.
#ifndef QUERN_LIB_CODEGEN_CPU_LOWERDOT_H
#define QUERN_LIB_CODEGEN_CPU_LOWERDOT_H

#include "quern/Codegen/Target.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace quern::codegen {

mlir::Value callIntrinsic(mlir::OpBuilder &b, mlir::Location loc, llvm::StringRef name, mlir::Type result,
                          mlir::ValueRange operands);

/// Elements [part * lanes, (part + 1) * lanes) of a vector.
mlir::Value extractPart(mlir::OpBuilder &b, mlir::Location loc, mlir::Value vector, int64_t part, int64_t lanes);

/// The vector of type `type` whose consecutive elements are `parts`.
mlir::Value joinParts(mlir::OpBuilder &b, mlir::Location loc, llvm::ArrayRef<mlir::Value> parts, mlir::VectorType type);

/// Replaces every dq.dot below `root` by instructions of `target`, in registers of target.vectorBits.
void lowerDots(mlir::Operation *root, const Target &target);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_CPU_LOWERDOT_H

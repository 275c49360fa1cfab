// What the memory plan and the lowering that follows it share: the sizes of rows and the dynamic sizes of an entry.
#ifndef QUERN_CODEGEN_MEMORYPLAN_H
#define QUERN_CODEGEN_MEMORYPLAN_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinTypes.h"

#include <string>
#include <vector>

namespace quern::codegen {

/// Bytes from one row of a tensor to the next in the arena.
int64_t rowBytes(mlir::RankedTensorType type);

/// The same in a device's arena, where rows lie as GpuLayout.h says; a multiple of kGpuRegionBytes.
int64_t gpuRowBytes(mlir::RankedTensorType type);

/// Names of the dynamic sizes of an entry, in the order of its arguments (their `lm.size`).
std::vector<std::string> sizeNames(mlir::func::FuncOp entry);

/// Index of the dynamic size that is the value's first dimension; -1 if it is none of the entry's.
int64_t sizeIndex(mlir::func::FuncOp entry, mlir::Value value);

/// True for `[rows, N]` tensors, which live in the arena.
bool isIntermediate(mlir::Value value);

/// True for a result that a matmul writes straight into the driver's output buffer.
bool isDirectOutput(mlir::Value value);

} // namespace quern::codegen

#endif // QUERN_CODEGEN_MEMORYPLAN_H

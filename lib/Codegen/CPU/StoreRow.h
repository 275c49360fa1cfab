// How kernels over rows write what they have made.
#ifndef QUERN_LIB_CODEGEN_CPU_STOREROW_H
#define QUERN_LIB_CODEGEN_CPU_STOREROW_H

#include "KernelBody.h"
#include "lib/Codegen/Common/RowKind.h"

namespace quern::codegen {

/// Gives 16 elements of a row at a byte offset in f32. It may be asked for each more than once.
using RowValue = llvm::function_ref<mlir::Value(mlir::Value)>;

/// Stores a row of n elements at `y`, in the form of `kind`.
void storeRow(KernelBody &k, RowKind kind, mlir::Value n, mlir::Value y, RowValue value);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_CPU_STOREROW_H

// What an op is called in the model's file.
#ifndef QUERN_LIB_CODEGEN_COMMON_SOURCENAME_H
#define QUERN_LIB_CODEGEN_COMMON_SOURCENAME_H

#include "mlir/IR/Location.h"

namespace quern::codegen {

/// The name that the model's file gave to an op, or nothing.
llvm::StringRef sourceName(mlir::Location location);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_COMMON_SOURCENAME_H

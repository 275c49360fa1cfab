// The `dq` dialect: block formats, quantized tensors, and their arithmetic. See DQ.td and README.md.
#ifndef QUERN_DIALECTS_DQ_DQ_H
#define QUERN_DIALECTS_DQ_DQ_H

#include "dialects/DQ/FormatRegistry.h"
#include "quern/Formats/FormatSpec.h"
#include "quern/Support/Result.h"

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/AffineMap.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include <functional>
#include <span>
#include <vector>

namespace quern::dq {
/// Gives `bytes` bytes at `offset` of a part of the source: where they lie, or made in `room`. Where rows are made when
/// they are read, only whole ones. Several threads may call it at once, each with its own room.
using SourceReader = std::function<Result<std::span<const uint8_t>>(int64_t part, int64_t offset, int64_t bytes,
                                                                    std::vector<std::byte> &room)>;
} // namespace quern::dq

#include "dialects/DQ/DQDialect.h.inc"
#include "dialects/DQ/DQEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/DQ/DQAttrs.h.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/DQ/DQTypes.h.inc"
#define GET_OP_CLASSES
#include "dialects/DQ/DQOps.h.inc"

#endif // QUERN_DIALECTS_DQ_DQ_H

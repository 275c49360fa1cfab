// The `lm` dialect: the model graph. See LM.td for what it means and README.md for why it is as it is.
#ifndef QUERN_DIALECTS_LM_LM_H
#define QUERN_DIALECTS_LM_LM_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/LM/LMDialect.h.inc"
#include "dialects/LM/LMEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/LM/LMAttrs.h.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/LM/LMTypes.h.inc"
#define GET_OP_CLASSES
#include "dialects/LM/LMOps.h.inc"

namespace quern::lm {
/// Argument and result attributes of an entry function: the name a driver uses, and the name of a dynamic first size.
inline constexpr char kNameAttr[] = "lm.name";
inline constexpr char kSizeAttr[] = "lm.size";
} // namespace quern::lm

#endif // QUERN_DIALECTS_LM_LM_H

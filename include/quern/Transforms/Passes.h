// Graph passes on the `lm` and `dq` dialects; lib/Transforms/Passes.td describes each.
#ifndef QUERN_TRANSFORMS_PASSES_H
#define QUERN_TRANSFORMS_PASSES_H

#include "dialects/DQ/DQ.h"
#include "dialects/LM/LM.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Quant/IR/Quant.h"
#include "mlir/Pass/Pass.h"

namespace quern::transforms {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "lib/Transforms/Passes.h.inc"

} // namespace quern::transforms

#endif // QUERN_TRANSFORMS_PASSES_H

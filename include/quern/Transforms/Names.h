// What a diagnostic calls an op: by the names of the user's file.
#ifndef QUERN_TRANSFORMS_NAMES_H
#define QUERN_TRANSFORMS_NAMES_H

#include "dialects/DQ/DQ.h"

#include "mlir/IR/Location.h"

#include <string>

namespace quern::transforms {

/// The name of a location; of one below which stand names of the model's own file, those, and then ours:
/// "'lm_head.weight' (output.weight)". Of several the first three; empty if there is none.
std::string describe(mlir::Location location);
/// The same of a weight, which has its symbol if nothing else.
std::string describe(dq::SourceOp source);

} // namespace quern::transforms

#endif // QUERN_TRANSFORMS_NAMES_H

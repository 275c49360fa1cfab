// Evaluates the description of a format: the affine places become tables of bytes and shifts, and every constraint
// (F1 to F12 of DQAttrs.td) is checked on the way.
#ifndef QUERN_DIALECTS_DQ_FORMATVERIFY_H
#define QUERN_DIALECTS_DQ_FORMATVERIFY_H

#include "dialects/DQ/DQ.h"

namespace quern::dq {

using EmitError = llvm::function_ref<mlir::InFlightDiagnostic()>;

/// The parameters of a FormatAttr, of which there may be no attribute yet.
struct FormatParameters {
  llvm::StringRef name;
  int64_t ggufType, block, bytes, group;
  PackedIntsAttr codes;
  llvm::ArrayRef<int16_t> table;
  mlir::FloatAttr unit;
  ScaleAttr scale, minimum;
  bool minimumAdded;
};

/// The evaluated format, or failure after emitting the first constraint that does not hold.
mlir::FailureOr<formats::FormatSpec> evaluateFormat(EmitError emitError, const FormatParameters &format);

} // namespace quern::dq

#endif // QUERN_DIALECTS_DQ_FORMATVERIFY_H

// A row of a weight times the columns of quantized activations.
#ifndef QUERN_LIB_CODEGEN_GPU_ROWDOT_H
#define QUERN_LIB_CODEGEN_GPU_ROWDOT_H

#include "lib/Codegen/Common/Emitter.h"
#include "quern/Codegen/GpuLayout.h"

namespace quern::codegen {

/// A row of a weight [rows, width] in device memory.
struct WeightRow {
  mlir::Value weight, row;
  int64_t rows, width;
};

/// Activations as `Matvec.h` says; `sums` is read where the layout has a zero point or minimums.
struct ActivationPointers {
  mlir::Value codes, scales, sums;
  int64_t columns;
};

/// The sums, one for each column, of what lane `lane` of `lanes` takes of a row: every unit after as many as there are
/// lanes, in ascending order.
Emitter::Values emitRowDot(Emitter &e, const GpuLayout &layout, const WeightRow &w, const ActivationPointers &x,
                           mlir::Value lane, int64_t lanes);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_ROWDOT_H

// A row of a weight times the columns of activations.
#ifndef QUERN_LIB_CODEGEN_GPU_ROWDOT_H
#define QUERN_LIB_CODEGEN_GPU_ROWDOT_H

#include "QuantizeGroup.h"
#include "UnitReader.h"

namespace quern::codegen {

/// Activations, in device memory or in a block's: quantized ones for weights of block formats (`sums` is read where the
/// layout has a zero point or minimums), else rows of f32, or of bf16 for such weights, dense.
struct ActivationPointers {
  QuantizedRows quantized;
  mlir::Value rows;
  int64_t columns;
};

/// What lane `lane` of `lanes` makes of a row: every unit after as many as there are lanes, in ascending order. Floats
/// need a width of whole units.
class RowDot {
public:
  /// `x` is read by `finish`; its number of columns is known before.
  RowDot(Emitter &e, const GpuTarget &target, const GpuLayout &layout, const WeightRow &w, const ActivationPointers &x,
         mlir::Value lane, int64_t lanes)
      : e(e), target(target), layout(layout), w(w), x(x), lane(lane), lanes(lanes) {}

  /// Loads the row's first units.
  Emitter::Values begin();
  /// The sums, one for each column. `beforeLast` emits what is to be on its way while the last units are worked on.
  Emitter::Values finish(mlir::ValueRange begun, llvm::function_ref<void()> beforeLast);

private:
  Emitter &e;
  const GpuTarget &target;
  const GpuLayout &layout;
  WeightRow w;
  const ActivationPointers &x;
  mlir::Value lane;
  int64_t lanes;
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_ROWDOT_H

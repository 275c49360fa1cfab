// What the kernels of Sample.h know of a row: its logits, how it is drawn from, and sums over a block.
#ifndef QUERN_LIB_CODEGEN_GPU_SAMPLEROW_H
#define QUERN_LIB_CODEGEN_GPU_SAMPLEROW_H

#include "EmitKernel.h"
#include "Sample.h"

namespace quern::codegen {

class SampleRow {
public:
  SampleRow(Emitter &e, const Sample &sample, mlir::ValueRange arguments, mlir::Value row);

  /// Whether a token is to be drawn; else the likeliest one stays.
  mlir::Value isDrawn();
  /// Whether tokens are cut or drawn by rank; else they are drawn in their order, from all.
  mlir::Value isRanked();

  mlir::Value logit(mlir::Value token); ///< -infinity where it is no number
  /// How far below the largest a logit is, divided by the temperature.
  mlir::Value distance(mlir::Value logit);
  mlir::Value weight(mlir::Value distance);
  /// The weight that counts where tokens are drawn in their order.
  mlir::Value keptWeight(mlir::Value distance);
  mlir::Value cutByMinP(mlir::Value weight);

  /// Address of sum `value` of a part: of a bound's logits their number, and kBounds behind it their weights.
  mlir::Value sumAt(mlir::Value part, mlir::Value value);

  mlir::Value list, count, token; ///< addresses
  mlir::Value topP, minP, random;
  mlir::Value topK; ///< f32, at most as many as there are
  mlir::Value hasTopK, hasTopP;
  mlir::Value zero, one; ///< f32

private:
  mlir::Value setting(mlir::Type type, size_t at);

  Emitter &e;
  mlir::Value logits, work, draw, inverse, largest, likeliest;
};

/// The distance within which the logits of a bound lie: from 0.1 to 88 in steps of about a quarter, and no end.
mlir::Value sampleBound(Emitter &e, mlir::Value bound);

/// The sum over the lanes up to this one, and of all.
mlir::Value sumUpTo(Emitter &e, mlir::Value own, mlir::Value lane);

/// Sums over the threads of a block.
struct RunningSum {
  mlir::Value before, upTo, all;
};
/// `room` is shared memory for 32 f32. Ends with a barrier.
RunningSum runningSum(Emitter &e, mlir::Value own, mlir::Value thread, int64_t warps, mlir::Value room);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_SAMPLEROW_H

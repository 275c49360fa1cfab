// A group of activations quantized by a warp, in the arithmetic of `dq.quantize`: every kernel that writes
// `!dq.act8<32>` rows does it here, so that all write the same bits.
#ifndef QUERN_LIB_CODEGEN_GPU_QUANTIZEGROUP_H
#define QUERN_LIB_CODEGEN_GPU_QUANTIZEGROUP_H

#include "lib/Codegen/Common/Emitter.h"

namespace quern::codegen {

/// Where quantized activations lie, in device memory or in a block's: the codes of Kp numbers a row as i8, Kp/32 scales
/// as f32, and Kp/16 sums of codes as i16, with Kp = gpuRowWidth(width).
struct QuantizedRows {
  mlir::Value codes, scales, sums;
};

/// Quantizes the 32 numbers `x` (f32) of which each lane of the warp has one, and stores them as group `group`, counted
/// over all rows. All lanes take part.
void storeQuantizedGroup(Emitter &e, mlir::Value x, mlir::Value lane, mlir::Value group, const QuantizedRows &to);

/// The same of four groups, of which each lane has four neighbouring numbers: the `chunk`-th 128 over all rows.
void storeQuantizedQuads(Emitter &e, mlir::ValueRange x, mlir::Value lane, mlir::Value chunk, const QuantizedRows &to);

/// In two steps: what a lane has of four groups, and its storing, as the `quad`-th four over all rows, which is a
/// multiple of 8 for the first lane. All lanes take part in the first step only.
struct QuantizedQuad {
  mlir::Value codes;      ///< four in an i32
  mlir::Value sum, scale; ///< i32 of the four lanes' sixteen, f32 of the eight lanes' group
};
QuantizedQuad quantizeQuad(Emitter &e, mlir::ValueRange x);
void storeQuad(Emitter &e, const QuantizedQuad &made, mlir::Value lane, mlir::Value quad, const QuantizedRows &to);

/// The same of four groups, as a product of matrices leaves them: lane 4 r + c has numbers r, r + 8, r + 16 and r + 24 of
/// one, its `group` over all rows, and stores them if `isStored`.
void storeQuantizedColumns(Emitter &e, mlir::ValueRange x, mlir::Value lane, mlir::Value group, mlir::Value isStored,
                           const QuantizedRows &to);

/// The bf16 nearest to x (f32), ties to even, as i16; NaN stays NaN.
mlir::Value roundToBfloat(Emitter &e, mlir::Value x);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_QUANTIZEGROUP_H

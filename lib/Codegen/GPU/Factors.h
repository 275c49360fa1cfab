// Products of a number of each row of weights and a number of each token, added to sums by tensor cores: the numbers
// are cut into bf16 parts, whose products are exact, and a product of matrices adds those of all parts up.
//
// A weight's number has at most 17 significant bits: two parts. A token's is any f32: three. The eight k of a product
// of 16 x 8 x 8 hold w1 w1 w1 w2 w2 w2 0 0 of rows and x1 x2 x3 x1 x2 x3 0 0 of tokens.
#ifndef QUERN_LIB_CODEGEN_GPU_FACTORS_H
#define QUERN_LIB_CODEGEN_GPU_FACTORS_H

#include "lib/Codegen/Common/Emitter.h"

namespace quern::codegen {

/// The parts of a number of a row, f32, in an i32: w1 low, w2 high.
mlir::Value emitRowFactor(Emitter &e, mlir::Value number);
/// The eight k of a number of a token, f32, as four i32.
mlir::Value emitTokenFactor(Emitter &e, mlir::Value number);

/// What lane 4 r + c of a warp hands to a product, out of the parts of its row r: words 2 c and 2 c + 1. (Tokens have
/// their eight k in shared memory, where `ldmatrix` takes them.)
class FactorFragments {
public:
  FactorFragments(Emitter &e, mlir::Value lane);

  mlir::Value ofRow(mlir::Value parts) const;

private:
  Emitter &e;
  mlir::Value rowSelector;
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_FACTORS_H

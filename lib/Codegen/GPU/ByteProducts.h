// Products of bytes on tensor cores, exact in i32, and those of bf16 that go with them, each instruction in the form
// that the target has. Fragments are as the PTX ISA has them: of lane 4 r + c, with words of four bytes:
//   A [16, 16 or 32]: rows r and r + 8 of bytes 4c to 4c + 3, then of bytes 4c + 16 to 4c + 19
//   B [16 or 32, 8]: column r of the same
//   C [16, 8] of i32: columns 2c and 2c + 1 of row r, then of row r + 8
#ifndef QUERN_LIB_CODEGEN_GPU_BYTEPRODUCTS_H
#define QUERN_LIB_CODEGEN_GPU_BYTEPRODUCTS_H

#include "lib/Codegen/Common/Emitter.h"
#include "quern/Codegen/GPU.h"

namespace quern::codegen {

/// Whether the target has them: those that have tensor cores for f16 do.
inline bool hasByteProducts(const GpuTarget &target) { return target.halfProductDepth > 0; }
/// Whether the target has products of bf16.
inline bool hasBfloatProducts(const GpuTarget &target) { return target.halfProductDepth >= 16; }

/// A B + C of signed bytes: two or four words of A, one or two of B, four of C.
Emitter::Values emitByteProduct(Emitter &e, const GpuTarget &target, mlir::ValueRange a, mlir::ValueRange b,
                                mlir::ValueRange c);

/// A B + C of bf16, 16 x 8 x 8: two words of A, one of B, four f32 of C.
Emitter::Values emitBfloatProduct(Emitter &e, mlir::ValueRange a, mlir::Value b, mlir::ValueRange c);
/// The same of 16 x 8 x 16: four words of A and two of B, of 32 bits each.
Emitter::Values emitBfloatProduct(Emitter &e, mlir::ValueRange a, mlir::ValueRange b, mlir::ValueRange c);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_BYTEPRODUCTS_H

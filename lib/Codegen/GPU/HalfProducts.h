// Products of f16 on tensor cores, summed up in f32, and what feeds them, each instruction in the form that the target
// has. Fragments are as the PTX ISA has them: of lane 4 r + c, with words of two halves:
//   A [16, 16]: rows r and r + 8 of columns 2c and 2c + 1, then of columns 2c + 8 and 2c + 9
//   B [16, 8]: column r of rows 2c and 2c + 1, then of rows 2c + 8 and 2c + 9
//   C [16, 8] of f32: columns 2c and 2c + 1 of row r, then of row r + 8
#ifndef QUERN_LIB_CODEGEN_GPU_HALFPRODUCTS_H
#define QUERN_LIB_CODEGEN_GPU_HALFPRODUCTS_H

#include "lib/Codegen/Common/Emitter.h"
#include "quern/Codegen/GPU.h"

namespace quern::codegen {

/// A B + C by the tensor cores' instruction of m x 8 x k for A and B of `type`, in the fragments that it takes.
Emitter::Values emitMma(Emitter &e, mlir::NVVM::MMATypes type, int64_t m, int64_t k, mlir::ValueRange a,
                        mlir::ValueRange b, mlir::ValueRange c);

/// A B + C: four words of A, two of B (vector<2xf16>), four f32 of C.
Emitter::Values emitHalfProduct(Emitter &e, const GpuTarget &target, mlir::ValueRange a, mlir::ValueRange b,
                                mlir::ValueRange c);

/// Four matrices of 8 rows of 8 halves out of shared memory: lane 8 i + r gives the address of row r of matrix i, which
/// is a multiple of 16, and lane 4 r + c gets, as vector<2xf16>, halves 2c and 2c + 1 of row r of each; `transposed`:
/// half r of rows 2c and 2c + 1.
Emitter::Values loadMatrices(Emitter &e, mlir::Value address, bool transposed);

/// Two f32 rounded to halves, as vector<2xf16>.
mlir::Value packHalves(Emitter &e, mlir::Value low, mlir::Value high);

/// Copies 16 bytes from device memory (address space 1) to shared memory. Where the target can, the thread does not
/// wait for them: they belong to the group that the next `endCopies` ends. With `bytes` (i32), which is for such
/// targets, only so many are read, and zeros follow.
void copyToShared(Emitter &e, const GpuTarget &target, mlir::Value from, mlir::Value to, mlir::Value bytes = {});
void endCopies(Emitter &e, const GpuTarget &target);
/// Waits for this thread's groups but for the last `pending`. Other threads see them after a barrier.
void waitForCopies(Emitter &e, const GpuTarget &target, int32_t pending);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_HALFPRODUCTS_H

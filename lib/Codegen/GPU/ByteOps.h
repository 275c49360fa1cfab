// Four bytes of a 32-bit word at a time: dot products, and codes replaced by entries of a table. The places where
// kernels ask what instructions a target has for bytes.
#ifndef QUERN_LIB_CODEGEN_GPU_BYTEOPS_H
#define QUERN_LIB_CODEGEN_GPU_BYTEOPS_H

#include "lib/Codegen/Common/Emitter.h"
#include "quern/Codegen/GPU.h"

namespace quern::codegen {

/// sum + the products of the four bytes of `codes`, signed or not, and the four signed bytes of `x`; all are i32.
mlir::Value emitByteDot(Emitter &e, mlir::Value codes, bool codesSigned, mlir::Value x, mlir::Value sum);

/// The bytes table[low nibbles of `word`], and table[high nibbles]; the table has 16 entries.
std::pair<mlir::Value, mlir::Value> emitNibbleLookup(Emitter &e, const GpuTarget &target, mlir::Value word,
                                                     llvm::ArrayRef<int8_t> table);

/// The four bytes, of `low` (0 to 3) and `high` (4 to 7), that the nibbles of `selector` name. Not on every target.
mlir::Value emitBytePermute(Emitter &e, mlir::Value low, mlir::Value high, mlir::Value selector);

/// The four signed bytes of `word` as f16: bytes 0 and 2, then 1 and 3, vectors of two each; times `factor`, a power of
/// two from 2^-14 to 1.
Emitter::Values emitHalvesOfBytes(Emitter &e, mlir::Value word, double factor = 1);
/// The same of unsigned bytes, less `zero`.
Emitter::Values emitHalvesAbove(Emitter &e, mlir::Value word, int64_t zero, double factor = 1);

/// For each byte: a where bit `bit` of `bits` is 0, b where it is 1.
mlir::Value emitByteSelect(Emitter &e, mlir::Value bits, unsigned bit, mlir::Value a, mlir::Value b);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_BYTEOPS_H

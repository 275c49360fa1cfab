// x of one token made ready in a block's memory: normalized, quantized.
#ifndef QUERN_LIB_CODEGEN_GPU_MATVECPROLOGUE_H
#define QUERN_LIB_CODEGEN_GPU_MATVECPROLOGUE_H

#include "Matvec.h"
#include "RowDot.h"

namespace quern::codegen {

class MatvecPrologue {
public:
  /// Takes room in the block's memory.
  MatvecPrologue(Emitter &e, const Matvec &matvec, int64_t warps);

  /// Reads the row of f32 at `x`, and with a norm the `gain`. All threads of the block take part, and may read `rows`
  /// afterwards.
  void emit(mlir::Value x, mlir::Value gain);
  const ActivationPointers &rows() const { return made; }

private:
  Emitter &e;
  const Matvec &matvec;
  int64_t warps;
  ActivationPointers made;
  mlir::Value squares; ///< room for a sum of each warp
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_MATVECPROLOGUE_H

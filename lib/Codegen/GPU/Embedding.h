// The kernel that looks up a row of the table for each token.
#ifndef QUERN_LIB_CODEGEN_GPU_EMBEDDING_H
#define QUERN_LIB_CODEGEN_GPU_EMBEDDING_H

#include "Matvec.h"

namespace quern::codegen {

/// out[t, :] = table[ids[t], :], widened to f32 as `dq.dequantize` does.
struct Embedding {
  Matvec::Segment table;
  int64_t width; ///< K

  static constexpr int64_t kWarps = 4; ///< of a block; a thread takes a unit of the row
  int64_t blocks() const;
  std::string name() const;
};

/// Arguments: ids (i32 [T]), the table in its layout, out (f32 [T, width]). Grid: x = blocks(), y = T.
mlir::gpu::GPUFuncOp emitEmbedding(mlir::gpu::GPUModuleOp module, const Embedding &embedding, const GpuTarget &target);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_EMBEDDING_H

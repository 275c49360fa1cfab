// The kernels that choose the token with the largest logit of each row.
#ifndef QUERN_LIB_CODEGEN_GPU_ARGMAX_H
#define QUERN_LIB_CODEGEN_GPU_ARGMAX_H

#include "quern/Codegen/GPU.h"

namespace quern::codegen {

/// tokens[o] is the least token whose logit is the largest of row o; what is no number counts for nothing, and -1 says
/// that there was none above -infinity. Blocks look at parts of a row, and a second kernel compares what they found.
struct Argmax {
  int64_t vocabulary; ///< tokens to choose among
  int64_t width = 0;  ///< of a row of logits, which may end in padding; 0: `vocabulary`

  static constexpr int64_t kParts = 64, kWarps = 8;
  /// Bytes for each row of what the first kernel hands to the second: a logit and a token of each part.
  static constexpr int64_t kPartBytes = kParts * 8;
  int64_t rowWidth() const { return width ? width : vocabulary; }
  std::string partsName() const {
    return "argmax_parts_" + std::to_string(vocabulary) + (width ? "_of_" + std::to_string(width) : "");
  }
  std::string mergeName() const { return "argmax_merge_" + std::to_string(vocabulary); }
};

/// Arguments: logits (f32 [O, rowWidth()]), parts (kPartBytes for each row). Grid: x = kParts, y = O.
mlir::gpu::GPUFuncOp emitArgmaxParts(mlir::gpu::GPUModuleOp module, const Argmax &argmax, const GpuTarget &target);

/// Arguments: parts, tokens (i32 [O]). Grid: x = O.
mlir::gpu::GPUFuncOp emitArgmaxMerge(mlir::gpu::GPUModuleOp module, const Argmax &argmax, const GpuTarget &target);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_ARGMAX_H

// What a block of a prompt's matmul does.
#ifndef QUERN_LIB_CODEGEN_GPU_PROMPTBLOCK_H
#define QUERN_LIB_CODEGEN_GPU_PROMPTBLOCK_H

#include "PromptTile.h"

namespace quern::codegen {

struct PromptArguments {
  mlir::ValueRange weights, activations; ///< of the part's segments; codes, scales and sums
  mlir::Value bias, residual; ///< null where there are none
  mlir::ValueRange y;         ///< first of all the part's own: one, or codes, scales and sums
  mlir::Value tokens;
};

/// The tile of a part (PromptMatmul::part).
PromptTile promptTile(const PromptMatmul &part, const GpuTarget &target);
/// What a block needs of shared memory: its tiles, in which warps that share a part of them hand half of their sums
/// over at the end.
int64_t promptMemoryBytes(const PromptTile &tile);

/// `block`: in y, among those of the part. `memory`: shared, promptMemoryBytes of it, aligned to 16.
void emitPromptBlock(Emitter &e, const GpuTarget &target, const PromptMatmul &part, const PromptArguments &arguments,
                     mlir::Value block, mlir::Value memory);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_PROMPTBLOCK_H

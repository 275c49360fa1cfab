// The kernels that draw a token of each row by temperature, top-k, top-p and min-p.
#ifndef QUERN_LIB_CODEGEN_GPU_SAMPLE_H
#define QUERN_LIB_CODEGEN_GPU_SAMPLE_H

#include "quern/Codegen/GPU.h"
#include "quern/Runtime/DeviceProgram.h"

namespace quern::codegen {

/// Does what the host's Sampler does with a RowDraw, for each row that has one; sums are of f32, in an order of their
/// own. Three kernels: parts of a row are counted, by how far logits lie below the largest; those that can be drawn are
/// gathered; and one block sorts and draws. All take: logits (f32 [O, rowWidth()]), tokens (i32 [O]: the likeliest one
/// before, the drawn one behind), RowDraw [O], and room (kRowBytes for each row).
struct Sample {
  int64_t vocabulary; ///< tokens to draw from; below 2^24, so that counts are exact in f32
  int64_t width = 0;  ///< of a row of logits, which may end in padding; 0: `vocabulary`

  static constexpr int64_t kParts = 64, kWarps = 8; ///< of a row, and of their blocks
  static constexpr int64_t kDrawWarps = 32;         ///< of the block that draws
  /// Tokens that are gathered at most. Rows that need more give RowDraw::kNotDrawn.
  static constexpr int64_t kMost = 2048;
  static constexpr int64_t kBounds = 32;
  /// Of a row: how many logits of each part lie within each bound, and the sums of their weights (f32 [kParts, 2,
  /// kBounds]); the gathered ones (i64 [kMost]); their number (i32).
  static constexpr int64_t kListAt = kParts * 2 * kBounds * 4, kCountAt = kListAt + kMost * 8;
  static constexpr int64_t kRowBytes = kCountAt + 256;

  int64_t rowWidth() const { return width ? width : vocabulary; }
  int64_t partSize() const { return (vocabulary + kParts - 1) / kParts; }
  std::string name(const std::string &step) const {
    return "sample_" + step + "_" + std::to_string(vocabulary) + (width ? "_of_" + std::to_string(width) : "");
  }
  std::string partsName() const { return name("parts"); }
  std::string gatherName() const { return name("gather"); }
  std::string drawName() const { return name("draw"); }
};

/// Grid: x = kParts, y = O.
mlir::gpu::GPUFuncOp emitSampleParts(mlir::gpu::GPUModuleOp module, const Sample &sample, const GpuTarget &target);
/// Grid: x = kParts, y = O.
mlir::gpu::GPUFuncOp emitSampleGather(mlir::gpu::GPUModuleOp module, const Sample &sample, const GpuTarget &target);
/// Grid: x = O.
mlir::gpu::GPUFuncOp emitSampleDraw(mlir::gpu::GPUModuleOp module, const Sample &sample, const GpuTarget &target);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_SAMPLE_H

// The kernels that scale rows, or heads of them, to unit root mean square.
#ifndef QUERN_LIB_CODEGEN_GPU_RMSNORM_H
#define QUERN_LIB_CODEGEN_GPU_RMSNORM_H

#include "lib/Codegen/Common/Emitter.h"
#include "quern/Codegen/GPU.h"

namespace quern::codegen {

/// A row x[width] becomes x / sqrt(mean(x^2) + eps) * gain.
struct RmsNorm {
  int64_t width;
  double eps;
  bool quantized = false; ///< the result is codes, scales and sums as `Matvec.h` says, otherwise f32

  std::string name() const;
  /// Of a block, which takes a row: so many that a thread has four numbers, or more in rows beyond 4,096.
  int64_t warps() const;
};

/// Arguments: x (f32 [T, width]), gain (f32 [width]), then out (f32), or codes, scales and sums. Grid: x = T.
mlir::gpu::GPUFuncOp emitRmsNorm(mlir::gpu::GPUModuleOp module, const RmsNorm &norm, const GpuTarget &target);

/// The same for each head of a row, with one gain for all heads.
struct HeadNorm {
  int64_t heads, headDim;
  double eps;

  static constexpr int64_t kWarps = 4; ///< of a block; each takes a head
  std::string name() const;
};

/// Arguments: x (f32 [T, heads * headDim]), gain (f32 [headDim]), out (f32), which may be x. Grid: x = heads / kWarps,
/// rounded up; y = T.
mlir::gpu::GPUFuncOp emitHeadNorm(mlir::gpu::GPUModuleOp module, const HeadNorm &norm, const GpuTarget &target);

/// 1 / sqrt(sum / width + eps), each step rounded as on the CPU.
mlir::Value emitNormFactor(Emitter &e, mlir::Value sum, int64_t width, double eps);

/// The bits of a number as f32, for names of kernels.
std::string floatName(double number);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_RMSNORM_H

// One kernel of a matmul with few columns: what it is made for, and how it is emitted.
#ifndef QUERN_LIB_CODEGEN_GPU_MATVEC_H
#define QUERN_LIB_CODEGEN_GPU_MATVEC_H

#include "quern/Codegen/GPU.h"
#include "quern/Codegen/GpuLayout.h"

namespace quern::codegen {

/// y[t, n] = sum over k of x[t, k] w[n, k], plus bias[n], plus residual[t, n]; of two segments silu(y_0) * y_1 instead.
struct Matvec {
  struct Segment {
    GpuLayout layout;
    std::string format;
  };
  std::vector<Segment> segments; ///< one or two
  int64_t rows, width;           ///< of each weight: N and K
  int64_t columns;               ///< T, at most kMostColumns
  bool bias = false, residual = false;

  static constexpr int64_t kMostColumns = 8;
  static constexpr int64_t kFewestLanes = 8; ///< whose loads of 16 bytes fill a line of 128

  /// Lanes that share a row: as few as take as many steps as a whole warp would.
  int64_t lanes() const;
  int64_t blocks(const GpuTarget &target) const;

  /// Says all of the above: equal kernels have equal names.
  std::string name() const;
};

/// Appends the kernel to `module`. Its arguments are pointers to device memory: each weight in its layout; the codes
/// [T, Kp] as signed bytes, their scales [T, Kp/32] as f32 and the sums [T, Kp/16] of 16 codes each as i16, with Kp the
/// width filled up to a multiple of kGpuRowMultiple; bias and residual, where there are, and y, as f32. The function's
/// `known_grid_size` and `known_block_size` say how to launch it.
mlir::gpu::GPUFuncOp emitMatvec(mlir::gpu::GPUModuleOp module, const Matvec &matvec, const GpuTarget &target);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_MATVEC_H

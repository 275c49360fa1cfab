// One kernel of a matmul with few columns: what it is made for, and how it is emitted.
#ifndef QUERN_LIB_CODEGEN_GPU_MATVEC_H
#define QUERN_LIB_CODEGEN_GPU_MATVEC_H

#include "lib/Codegen/Common/RowKind.h"
#include "quern/Codegen/GPU.h"
#include "quern/Codegen/GpuLayout.h"

namespace quern::codegen {

/// For each segment i: y_i[t, n] = sum over k of x[t, k] w_i[n, k], plus bias_i[n], plus residual[t, n]; with `swiglu`,
/// of two segments, silu(y_0) * y_1 alone.
struct Matvec {
  /// A weight. Blocks are divided between the segments.
  struct Segment {
    GpuLayout layout;
    std::string format; ///< its name: of a block format, or f32, f16, bf16
    int64_t rows;       ///< N
  };
  /// Where x comes from.
  enum class Prologue {
    None,     ///< it is there as `takes` says
    Quantize, ///< f32: each block quantizes the row, or rounds it to bf16
    Norm      ///< f32: each block makes the root-mean-square norm of the row, times a gain, and quantizes that
  };
  std::vector<Segment> segments;
  int64_t width = 0;   ///< K
  int64_t columns = 0; ///< T, at most kMostColumns; one with a prologue
  bool more = false;   ///< T is an argument, at least `columns`, of which a block makes so many
  bool swiglu = false, bias = false, residual = false;
  Prologue prologue = Prologue::None;
  float eps = 0;                   ///< of the norm
  RowKind output = RowKind::Float; ///< of the one result; Act8: a block quantizes the rows that it makes

  static constexpr int64_t kMostColumns = 8;
  static constexpr int64_t kMostBlocks = 65535;      ///< in y
  static constexpr int64_t kFewestLanes = 8;         ///< whose loads of 16 bytes fill a line of 128
  static constexpr int64_t kWarpsOfWideBlock = 8;    ///< of blocks that prepare x or quantize their results
  static constexpr int64_t kMostRowBytes = 46 << 10; ///< of a prepared row: 48 KB are there without asking for more

  /// Fails where there is no such kernel; the message ends a sentence "... has no GPU kernel: ".
  Status check() const;

  /// The activations that the weights are multiplied by.
  RowKind takes() const;
  /// Bytes of a row of those in a block's memory.
  int64_t rowBytes() const;
  /// The dimensions of the launch: blocks in x, and threads of a block. With `more`, T / columns blocks, rounded up, in
  /// x, and these in y: neighbours read one weight, which the cache then has.
  int64_t blocks(const GpuTarget &target) const;
  int64_t threads(const GpuTarget &target) const;

  /// Says all of the above: equal kernels have equal names.
  std::string name() const;
};

/// The segment for weights of a block format, or of f32, f16 or bf16 (`spec` null). Fails as GpuLayout::get.
Result<Matvec::Segment> matvecSegment(const formats::FormatSpec &spec, int64_t rows);
Matvec::Segment matvecSegment(unsigned floatBytes, bool bfloat, int64_t rows);

/// The activations that a weight is multiplied by.
RowKind takenBy(const Matvec::Segment &segment);
/// Fails where one kernel does not multiply these weights of rows of `width` numbers, or makes no swiglu of them.
Status checkSegments(const std::vector<Matvec::Segment> &segments, int64_t width, bool swiglu);

/// Appends the kernel, for which `check` succeeds, to `module`. Its arguments are pointers to device memory:
///   the weight of each segment in its layout
///   x: without a prologue, quantized: codes, scales and sums (QuantizedRows, QuantizeGroup.h); or rows of f32 or bf16,
///      dense; with one, a row of f32; then, for a norm, the gain as f32
///   the bias of each segment, where there are; the residual [T, N], where there is; as f32
///   the result of each segment [T, N_i] as f32; or the one result as codes, scales and sums; or as bf16, dense
/// With `more`, T follows as i64. The function's `known_grid_size`, without `more`, and `known_block_size` say how to
/// launch it.
mlir::gpu::GPUFuncOp emitMatvec(mlir::gpu::GPUModuleOp module, const Matvec &matvec, const GpuTarget &target);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_MATVEC_H

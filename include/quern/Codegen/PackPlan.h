// Sizes of packed weights, and the execution of the packer's plan that `dq-pack-weights` leaves in the IR.
#ifndef QUERN_CODEGEN_PACKPLAN_H
#define QUERN_CODEGEN_PACKPLAN_H

#include "dialects/DQ/DQ.h"
#include "quern/Codegen/GpuLayout.h"
#include "quern/Codegen/PanelLayout.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/BuiltinTypes.h"

#include <functional>
#include <span>

namespace quern::codegen {

/// The panel layout of weights of that element type; fails for types that kernels cannot read.
Result<PanelLayout> layoutFor(mlir::Type element);

/// The same for the layout of GPU kernels.
Result<GpuLayout> gpuLayoutFor(mlir::Type element);

/// Bytes that a packed weight takes: panels for a matrix, f32 filled up to 16 elements for a vector.
Result<int64_t> packedBytes(mlir::RankedTensorType type);

/// The same in the section of GPU kernels: the layout of GpuLayout.h for a matrix, f32 or i32 for a vector.
Result<int64_t> gpuPackedBytes(mlir::RankedTensorType type);

/// Bytes of the sums of n rows behind a weight's panels: f32, filled up to whole panels.
inline int64_t rowSumsBytes(int64_t n) { return (n + kPanelRows - 1) / kPanelRows * kLineBytes; }

/// Bytes of the weights section that the module's plan describes.
int64_t packedSectionBytes(mlir::ModuleOp module);

/// Where the packer reads and writes: bytes of the source files, and places in the section, where several threads may
/// write at once.
struct PackStreams {
  dq::SourceReader source;
  std::function<Status(int64_t offset, std::span<const uint8_t> bytes)> write;
  std::function<void(double fraction)> progress; ///< called now and then, from one thread; may be empty
};

/// Which plan a module holds: that of `dq-pack-weights`, or that of the same with `gpu`.
enum class PackedFor { Cpu, Gpu };

/// Packs every planned weight, on `threads` threads, holding a few rows in memory at a time. Errors name the weight.
Status packWeights(mlir::ModuleOp module, PackedFor packedFor, unsigned threads, const PackStreams &streams);

} // namespace quern::codegen

#endif // QUERN_CODEGEN_PACKPLAN_H

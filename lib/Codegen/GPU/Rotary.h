// The rotary embedding on the device: the table of cosines and sines that the compiler makes, how kernels read it, and
// the kernel that rotates queries and keys and writes keys and values into the cache.
#ifndef QUERN_LIB_CODEGEN_GPU_ROTARY_H
#define QUERN_LIB_CODEGEN_GPU_ROTARY_H

#include "DeviceCache.h"
#include "quern/Codegen/GPU.h"

#include <optional>
#include <span>

namespace quern::codegen {

/// A position is 256 a + b: the first 256 rows of the table are those of b, the others those of 256 a.
inline constexpr int64_t kFinePositions = 256;

/// Cosine and sine of p * f[i] with f[i] = theta^(-2i/D) / factors[i] (1 where there are none), made in double
/// precision and rounded to f32: [256 + ceil(positions / 256), D/2, 2]. Kernels add the two angles of a position, by
/// which a cosine is off by less than 2^-22 at any position below `positions`.
std::vector<float> makeRotaryTable(double theta, std::span<const float> factors, int64_t headDim, int64_t positions);

struct Angle {
  mlir::Value cos, sin;
};

/// The angles of pairs i to i + count - 1 at `position` (i64), all as f32. More than one need an even i.
std::vector<Angle> loadAngles(Emitter &e, mlir::Value table, mlir::Value position, mlir::Value i, int64_t count,
                              int64_t headDim);

/// (a, b) turned by the angle.
std::pair<mlir::Value, mlir::Value> rotate(Emitter &e, mlir::Value a, mlir::Value b, Angle angle);

/// Rotates the heads of queries and keys by the row's position, after the norm of heads where there is one, and writes
/// keys and values into each row's cache as f16.
struct RotaryCache {
  int64_t heads, kvHeads, headDim;    ///< headDim is even
  bool interleaved = false;           ///< pairs are (2i, 2i + 1), otherwise (i, i + D/2)
  std::optional<double> headEps = {}; ///< of the norm of query and key heads

  static constexpr int64_t kWarps = 4; ///< of a block; each takes a head
  int64_t blocks() const { return (heads + 2 * kvHeads + kWarps - 1) / kWarps; }
  std::string name() const;
};

/// Arguments: query (f32 [T, A*D]), key and value (f32 [T, G*D]), the gains of query and key heads (f32 [D]) where
/// there is a norm, the table, positions (i32 [T]), caches (addresses [T]), capacities (i64 [T]), the rotated query
/// (f32 [T, A*D], which may be the query); then the layer as a number. Grid: x = blocks(), y = T.
mlir::gpu::GPUFuncOp emitRotaryCache(mlir::gpu::GPUModuleOp module, const RotaryCache &rotary, const GpuTarget &target);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_ROTARY_H

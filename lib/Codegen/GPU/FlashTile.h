// A warp's part of the attention of 16 query rows to a tile of keys in shared memory, on tensor cores: online softmax
// in f32, products in f16.
//
// Why f16 does: keys and values lie in the cache as f16 anyway. A query and a weight are each split into the sum of two
// halves, which together have its f32 to 22 bits: rounded to one, weights alone moved the logits of small models by as
// much as quantization does. Queries are scaled before they are rounded, as a rule by log2(e) / sqrt(D). Without norms
// of heads, keys, made likewise, overflow long before them. With such norms an element of either is at most sqrt(D)
// times the largest gain, so that f16 does for gains up to thousands.
#ifndef QUERN_LIB_CODEGEN_GPU_FLASHTILE_H
#define QUERN_LIB_CODEGEN_GPU_FLASHTILE_H

#include "HalfProducts.h"

namespace quern::codegen {

/// Rows of keys, or of values, in shared memory: pieces of 16 bytes, of which those of eight neighbouring rows lie in
/// different banks.
class SharedRows {
public:
  SharedRows(Emitter &e, int64_t headDim) : e(e), pieces((headDim / 8 + 7) / 8 * 8) {}

  int64_t rowBytes() const { return pieces * 16; }
  mlir::Value address(mlir::Value base, mlir::Value row, mlir::Value piece) {
    Value place = mlir::arith::XOrIOp::create(e, piece, e.bitAnd(row, 7));
    return e.at(base, e.add(e.mul(row, rowBytes()), e.mul(place, 16)));
  }

private:
  using Value = mlir::Value;
  Emitter &e;
  int64_t pieces;
};

class FlashTile {
public:
  /// `keys` of a tile, a multiple of 16.
  FlashTile(Emitter &e, const GpuTarget &target, int64_t headDim, int64_t keys);

  static constexpr int64_t kRows = 16;
  mlir::Value lane;
  mlir::Value rows[2]; ///< the lane's rows of the warp's 16

  /// Loads the queries (f32) at `from[0]` and `from[1]`, the vectors of the lane's two rows, times `factor`.
  void loadQueries(mlir::Value first, mlir::Value second, double factor);

  /// Maximum and sum of each of the lane's rows (the sum is that of the lane's keys), then its elements of the weighted
  /// values: four for each eight elements of a head, as C's fragments.
  Emitter::Values begin();
  /// `firstKey` is the tile's; row i sees keys below `ends[i]`.
  Emitter::Values fold(mlir::ValueRange state, mlir::Value keys, mlir::Value values, mlir::Value firstKey,
                       llvm::ArrayRef<mlir::Value> ends);
  /// Stores what the rows for which `stores` holds have come to, as f32.
  void store(mlir::ValueRange state, llvm::ArrayRef<mlir::Value> to, llvm::ArrayRef<mlir::Value> stores);

private:
  std::vector<Emitter::Values> scores(mlir::Value keys);
  std::pair<mlir::Value, mlir::Value> splitHalves(mlir::Value a, mlir::Value b);
  Emitter::Values softmax(std::vector<Emitter::Values> &scores, Emitter::Values &state);
  void mask(std::vector<Emitter::Values> &scores, mlir::Value firstKey, llvm::ArrayRef<mlir::Value> ends);

  Emitter &e;
  const GpuTarget &target;
  int64_t headDim, keyCount;
  SharedRows shared;
  mlir::Value column;                     ///< twice the lane's number among the four of its rows
  std::vector<Emitter::Values> high, low; ///< of the queries: A's fragments, one for each 16 elements
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_FLASHTILE_H

// A head's vector over the lanes of a warp, eight neighbouring elements in each: 16 bytes of the cache. A warp has room
// for several keys at once where heads are short.
#ifndef QUERN_LIB_CODEGEN_GPU_HEADLANES_H
#define QUERN_LIB_CODEGEN_GPU_HEADLANES_H

#include "Rotary.h"

namespace quern::codegen {

class HeadLanes {
public:
  HeadLanes(Emitter &e, int64_t headDim);

  /// Lanes of a key, a power of two; those beyond the head's end have copies of its last elements.
  int64_t lanes() const { return lanesOfKey; }
  int64_t keys() const { return 32 / lanesOfKey; } ///< at once

  mlir::Value lane;     ///< of the warp
  mlir::Value inKey;    ///< the lane's number among those of its key
  mlir::Value group;    ///< which key
  mlir::Value element;  ///< the first of the lane's eight
  mlir::Value isInside; ///< whether they are the lane's own; null if all are

  /// Eight f32 of the vector at `from`, as scalars.
  Emitter::Values loadFloats(mlir::Value from) { return loadFloats(from, element); }
  Emitter::Values loadFloats(mlir::Value from, mlir::Value element);
  /// Eight f16 of the vector at `from`, in one load; and widened, as scalars.
  mlir::Value loadHalves(mlir::Value from);
  Emitter::Values widen(mlir::Value halves);
  /// The eight as f16, as `loadHalves` gives them; and stored, by the lanes of one key.
  mlir::Value narrow(llvm::ArrayRef<mlir::Value> numbers);
  void storeHalves(mlir::Value halves, mlir::Value to);

  /// The vector (f32) at `from`, multiplied by the factor of its norm and by the gain where there is one, and rotated.
  struct Turn {
    mlir::Value table, position;
    bool interleaved;
    std::optional<double> eps;
  };
  Emitter::Values loadTurned(mlir::Value from, mlir::Value gain, const Turn &turn);

private:
  Emitter::Values turnHalves(mlir::Value from, mlir::Value gain, mlir::Value factor, const Turn &turn);
  Emitter::Values scaled(mlir::Value from, mlir::Value element, mlir::Value gain, mlir::Value factor);

  Emitter &e;
  int64_t headDim, lanesOfKey;
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_HEADLANES_H

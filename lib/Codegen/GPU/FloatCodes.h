// Tables whose entries are floats of few bits (E2M1, E2M3, E3M2 of OCP Microscaling): bits of a code are bits of an f16.
#ifndef QUERN_LIB_CODEGEN_GPU_FLOATCODES_H
#define QUERN_LIB_CODEGEN_GPU_FLOATCODES_H

#include "lib/Codegen/Common/Emitter.h"
#include "quern/Codegen/GpuLayout.h"

#include <optional>

namespace quern::codegen {

/// A code is, from the top, a sign, an exponent and `mantissa` bits, the least numbers subnormal.
struct FloatCodes {
  unsigned bits, mantissa;

  /// Those of a layout whose table is one of such numbers, times what makes the least of them 1.
  static std::optional<FloatCodes> of(const GpuLayout &layout);

  /// The greatest power of two, at most 1, that f16 reaches all entries times that by one multiplication with.
  double factor() const;

  /// Bytes 0 and 2 of `word`, then 1 and 3, vectors of two f16 each: table entries times factor(), exact.
  Emitter::Values halves(Emitter &e, mlir::Value word) const;
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_FLOATCODES_H

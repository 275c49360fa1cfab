// The scales of a row of a weight, read as the layout keeps them.
#ifndef QUERN_LIB_CODEGEN_GPU_SCALEREADER_H
#define QUERN_LIB_CODEGEN_GPU_SCALEREADER_H

#include "UnitReader.h"

namespace quern::codegen {

/// 2^(exponent - 127) as f32, also where that is subnormal; 255 is not a number. `exponent`: i32.
mlir::Value emitPowerOfTwo(Emitter &e, mlir::Value exponent);

/// Reads in two steps, so that other work can be done while the bytes come.
class ScaleReader {
public:
  ScaleReader(Emitter &e, const GpuLayout &layout, int64_t rows, int64_t width);

  static bool hasMinimum(const GpuLayout &layout);

  /// Words (i32) that hold the scales of the `group`-th 32 k of row `row` + `more`.
  Emitter::Values load(mlir::Value weight, mlir::Value row, int64_t more, mlir::Value group) const;
  /// The one or two scales out of them.
  llvm::SmallVector<ScalePair> decode(mlir::ValueRange words, mlir::Value group) const;

private:
  /// A word of `bytes` bytes, zeros above them.
  mlir::Value word(mlir::Value pointer, int64_t bytes) const;
  mlir::Value half(mlir::Value word) const;
  /// Byte `index` of a word.
  mlir::Value byte(mlir::Value word, int64_t index, bool isSigned) const;
  ScalePair decodeSixBits(mlir::ValueRange words, mlir::Value group) const;

  Emitter &e;
  const GpuLayout &layout;
  std::vector<int64_t> regions, rowBytes;
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_SCALEREADER_H

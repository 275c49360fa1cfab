// The codes of 32 neighbouring k of a row of a weight, brought from the layout's planes of bits to signed bytes or f16.
#ifndef QUERN_LIB_CODEGEN_GPU_CODEREADER_H
#define QUERN_LIB_CODEGEN_GPU_CODEREADER_H

#include "FloatCodes.h"
#include "lib/Codegen/Common/Emitter.h"
#include "quern/Codegen/GPU.h"
#include "quern/Codegen/GpuLayout.h"

namespace quern::codegen {

class CodeReader {
public:
  CodeReader(Emitter &e, const GpuTarget &target, const GpuLayout &layout, int64_t rows, int64_t width);

  /// Whether there is a way to signed bytes. To f16 there is one for all but floats.
  static bool hasBytes(const GpuLayout &layout);

  /// Whether the layout's bytes are what is wanted, so that there is nothing to unpack.
  bool areBytes() const { return layout.signedCodes; }
  /// Where the 16 bytes of row `row` + `more` from k = 16 `sixteenth` on lie, where `areBytes`.
  mlir::Value bytesAt(mlir::Value weight, mlir::Value row, int64_t more, mlir::Value sixteenth) const;

  /// Of 16 bytes that hold the codes of 32 k: two of whole bytes, one of each plane of others.
  static int64_t pieces(const GpuLayout &layout) { return layout.signedCodes ? 2 : int64_t(layout.planes.size()); }
  /// Where these lie for the `group`-th 32 k of row `row` + `more`.
  Emitter::Values piecesAt(mlir::Value weight, mlir::Value row, int64_t more, mlir::Value group) const;
  /// Eight words (i32) of four codes each, as signed bytes: (code - zero) * 2^shift(), or entries of a table. `pieces`
  /// holds what lies at piecesAt, vectors of four i32.
  Emitter::Values unpack(mlir::ValueRange pieces, mlir::Value group) const;

  /// Sixteen pairs of f16: code - zero, or entries of a table, times halvesFactor(); in the order of
  /// `emitHalvesOfBytes`.
  Emitter::Values halves(mlir::ValueRange pieces, mlir::Value group) const;
  double halvesFactor() const { return floatCodes ? floatCodes->factor() : 1; }

  /// For `unpack`, codes about a zero point are taken times a power of two: with the code's top bit as the byte's,
  /// inverting that bit subtracts the zero point.
  unsigned shift() const { return layout.zero ? 8 - layout.bits() : 0; }

private:
  Emitter::Values planesAt(mlir::Value weight, mlir::Value row, int64_t more, mlir::Value group) const;
  /// The bits that plane `plane` has of a quad of the group, from the bytes' bit `to` on.
  mlir::Value field(mlir::ValueRange planes, size_t plane, int64_t quad, unsigned to, mlir::Value group) const;
  mlir::Value fields(mlir::ValueRange planes, int64_t quad, unsigned to, mlir::Value group) const;
  mlir::Value lookUp(mlir::ValueRange planes, int64_t quad, mlir::Value group, llvm::ArrayRef<int8_t> table) const;
  Emitter::Values halvesOfTable(mlir::ValueRange planes, int64_t quad, mlir::Value group) const;
  Emitter::Values halvesOfNibbles(mlir::Value word, bool high) const;
  /// The place of this group's bits within the bytes of a plane: which of the fields of 2 `width` bits.
  mlir::Value fieldShift(unsigned width, mlir::Value group) const;

  Emitter &e;
  const GpuTarget &target;
  const GpuLayout &layout;
  std::optional<FloatCodes> floatCodes;
  int64_t units;
  std::vector<int64_t> regions, rowBytes;
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_CODEREADER_H

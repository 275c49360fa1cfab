// What a lane takes of a row of a weight at a time (GpuLayout.h): loaded first, and taken apart later, so that several
// units may be on their way.
#ifndef QUERN_LIB_CODEGEN_GPU_UNITREADER_H
#define QUERN_LIB_CODEGEN_GPU_UNITREADER_H

#include "lib/Codegen/Common/Emitter.h"
#include "quern/Codegen/GPU.h"
#include "quern/Codegen/GpuLayout.h"

namespace quern::codegen {

/// A row of a weight [rows, width] in device memory.
struct WeightRow {
  mlir::Value weight, row;
  int64_t rows, width;
};

/// The scale of some k, and the minimum where the format has one.
struct ScalePair {
  mlir::Value scale, minimum;
};

/// Four codes of neighbouring k, as bytes; of a table the entries, with their second digits where it has some.
struct Quad {
  mlir::Value codes, digits;
};

class UnitReader {
public:
  UnitReader(Emitter &e, const GpuTarget &target, const GpuLayout &layout, const WeightRow &w);

  /// Loads the codes of a unit by 16 bytes each, and its scales: as many values for every unit.
  Emitter::Values load(mlir::Value unit);

  /// Takes apart what `load` gave.
  class Unit {
  public:
    Unit(UnitReader &reader, mlir::Value number, mlir::ValueRange loaded);

    /// Quad q: the codes of k 4q to 4q + 3 of the unit.
    Quad quad(int64_t q);
    /// Of piece p.
    ScalePair scale(int64_t p);

  private:
    mlir::Value field(size_t plane, int64_t q);
    mlir::Value lookUp(int64_t q, llvm::ArrayRef<int8_t> table);
    mlir::Value word(size_t plane, int64_t index);
    mlir::Value element(size_t value, int64_t index);
    mlir::Value byte(int64_t index, bool isSigned);
    mlir::Value groupOfSuperBlock(int64_t p);
    ScalePair sixBits(int64_t p);

    UnitReader &reader;
    Emitter &e;
    const GpuLayout &layout;
    mlir::Value number;
    Emitter::Values loaded;
    size_t firstScale;
  };

private:
  mlir::Value region(size_t number);
  void loadScales(mlir::Value unit, Emitter::Values &into);
  mlir::Value loadEach(size_t number, mlir::Value unit, mlir::Type element, int64_t share, unsigned bytes);
  mlir::Value loadBytes(mlir::Value unit);

  Emitter &e;
  const GpuTarget &target;
  const GpuLayout &layout;
  int64_t width;
  std::vector<int64_t> regions, rowBytes;
  mlir::Value weight, row;
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_UNITREADER_H

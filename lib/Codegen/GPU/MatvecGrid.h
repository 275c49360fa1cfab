// How the rows of a matmul with few columns are divided between blocks, warps and lanes.
#ifndef QUERN_LIB_CODEGEN_GPU_MATVECGRID_H
#define QUERN_LIB_CODEGEN_GPU_MATVECGRID_H

#include "Matvec.h"

namespace quern::codegen {

/// Rows that are made together: those of a segment, or of both with `swiglu`.
struct MatvecPart {
  size_t firstSegment, segments;
  int64_t rows;
  int64_t lanes;  ///< that share a row: as few as take as many steps as a whole warp would
  int64_t passes; ///< times that a block's warps take a row for each `lanes` lanes
  int64_t blocks;
};

struct MatvecGrid {
  MatvecGrid(const Matvec &matvec, const GpuTarget &target);

  int64_t warps; ///< of a block
  std::vector<MatvecPart> parts;

  int64_t blocks() const;
  int64_t rowsOfPass(const MatvecPart &part) const { return 32 / part.lanes * warps; }
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_MATVECGRID_H

#include "MatvecGrid.h"

#include <algorithm>

using namespace quern;
using namespace quern::codegen;

static int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

static int64_t fewestLanes(const GpuLayout &layout, int64_t width, int64_t least) {
  int64_t units = layout.units(width), lanes = 32;
  while (lanes > least && ceilDiv(units, lanes / 2) == ceilDiv(units, 32))
    lanes /= 2;
  return lanes;
}

// What a block prepares or quantizes is shared by more warps, and, where that is x, by more rows: no more blocks are
// made than the device keeps at once.
MatvecGrid::MatvecGrid(const Matvec &matvec, const GpuTarget &target) {
  bool quantizes = matvec.output == RowKind::Act8, prepares = matvec.prologue != Matvec::Prologue::None;
  warps = quantizes || prepares ? Matvec::kWarpsOfWideBlock : int64_t(target.matvecWarps);
  size_t together = matvec.swiglu ? 2 : 1;
  for (size_t first = 0; first < matvec.segments.size(); first += together) {
    MatvecPart part{first, together, matvec.segments[first].rows, Matvec::kFewestLanes, 1, 0};
    for (size_t i = 0; i < together; ++i)
      part.lanes = fewestLanes(matvec.segments[first + i].layout, matvec.width, part.lanes);
    if (quantizes) {
      part.passes = std::max<int64_t>(1, 32 / rowsOfPass(part));
      part.blocks = gpuRowWidth(part.rows) / 32;
    }
    parts.push_back(part);
  }
  if (quantizes)
    return;
  for (int64_t passes = 1;; ++passes) {
    for (MatvecPart &part : parts) {
      part.passes = passes;
      part.blocks = ceilDiv(part.rows, passes * rowsOfPass(part));
    }
    int64_t most = prepares ? std::max<int64_t>(target.residentBlocks, int64_t(parts.size())) : Matvec::kMostBlocks;
    if ((!prepares && !matvec.more) || blocks() <= most)
      return;
  }
}

int64_t MatvecGrid::blocks() const {
  int64_t sum = 0;
  for (const MatvecPart &part : parts)
    sum += part.blocks;
  return sum;
}

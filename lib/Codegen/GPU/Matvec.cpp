// What a matmul with few columns is made for: its checks, its name, its launch.
#include "Matvec.h"

#include "MatvecGrid.h"
#include "RmsNorm.h"

using namespace quern;
using namespace quern::codegen;

RowKind codegen::takenBy(const Matvec::Segment &segment) {
  return !segment.layout.isFloat() ? RowKind::Act8 : segment.layout.bfloat ? RowKind::BFloat : RowKind::Float;
}

RowKind Matvec::takes() const { return takenBy(segments.front()); }

int64_t Matvec::blocks(const GpuTarget &target) const { return MatvecGrid(*this, target).blocks(); }

int64_t Matvec::threads(const GpuTarget &target) const { return 32 * MatvecGrid(*this, target).warps; }

Status codegen::checkSegments(const std::vector<Matvec::Segment> &segments, int64_t width, bool swiglu) {
  for (const Matvec::Segment &segment : segments) {
    if (segment.layout.isFloat() && width % segment.layout.unit())
      return fail("rows of " + std::to_string(width) + " " + segment.format + " numbers: expected a multiple of " +
                  std::to_string(segment.layout.unit()));
    if (takenBy(segment) != takenBy(segments.front()))
      return fail("weights that take different activations");
    if (swiglu && segment.rows != segments.front().rows)
      return fail("a gate and values of different sizes");
  }
  return {};
}

Status Matvec::check() const {
  if (columns < 1 || columns > kMostColumns)
    return fail("expected 1 to " + std::to_string(kMostColumns) + " rows of activations, got " +
                std::to_string(columns));
  if (segments.empty() || (swiglu && segments.size() != 2))
    return fail("expected one weight or more, and two with swiglu, got " + std::to_string(segments.size()));
  QUERN_TRY(checkSegments(segments, width, swiglu));
  if (swiglu && (bias || residual))
    return fail("swiglu with a bias or a residual");
  if ((residual || output != RowKind::Float) && segments.size() != (swiglu ? 2 : 1))
    return fail("a residual, and results other than f32, need one result");
  if (more && (prologue != Prologue::None || output != RowKind::Float))
    return fail("norm and quantization within a matmul of any number of rows");
  if (prologue == Prologue::None)
    return {};
  if (columns != 1)
    return fail("norm and quantization within a matmul are for one row of activations, got " + std::to_string(columns));
  if (rowBytes() > kMostRowBytes)
    return fail("a row of " + std::to_string(width) + " activations is too long for a block's memory");
  return {};
}

int64_t Matvec::rowBytes() const {
  int64_t padded = gpuRowWidth(width);
  return takes() == RowKind::Act8 ? padded + padded / 32 * 4 + padded / 16 * 2
                                  : padded * (takes() == RowKind::BFloat ? 2 : 4);
}

std::string Matvec::name() const {
  std::string name = swiglu ? "swiglu" : "matvec";
  bool alone = swiglu || segments.size() == 1;
  for (const Segment &segment : segments)
    name += "_" + segment.format + (alone ? "" : "_" + std::to_string(segment.rows));
  name += "_" + (alone ? std::to_string(segments.front().rows) : std::string()) + "x" + std::to_string(width);
  name += "_t" + std::to_string(columns) + (more ? "_and_more" : "");
  if (prologue != Prologue::None)
    name += prologue == Prologue::Norm ? "_norm" + floatName(eps) : "_quantize";
  name += std::string(bias ? "_bias" : "") + (residual ? "_residual" : "");
  return name + (output == RowKind::Act8 ? "_act8" : output == RowKind::BFloat ? "_bf16" : "");
}

Result<Matvec::Segment> codegen::matvecSegment(const formats::FormatSpec &spec, int64_t rows) {
  QUERN_ASSIGN(GpuLayout layout, GpuLayout::get(spec));
  return Matvec::Segment{std::move(layout), spec.name, rows};
}

Matvec::Segment codegen::matvecSegment(unsigned floatBytes, bool bfloat, int64_t rows) {
  return {GpuLayout::getFloat(floatBytes, bfloat), floatBytes == 4 ? "f32" : bfloat ? "bf16" : "f16", rows};
}

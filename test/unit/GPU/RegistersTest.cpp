// What NVIDIA's assembler makes of the kernels of a decode step that take over a norm or a quantization: nothing is
// spilt. Prints the registers of each for docs/gpu.md. Skipped where there is no ptxas.
#include "test/unit/GPU/Assemble.h"
#include "test/unit/GPU/EmitKernels.h"

#include "dialects/DQ/DQ.h"
#include "lib/Codegen/GPU/Matvec.h"
#include "lib/Codegen/GPU/PromptMatmul.h"

namespace quern {
namespace {

using codegen::Matvec;
using codegen::RowKind;

Matvec::Segment segmentOf(const std::string &format, int64_t rows) {
  if (format == "f32" || format == "f16" || format == "bf16")
    return codegen::matvecSegment(format == "f32" ? 4 : 2, format == "bf16", rows);
  mlir::MLIRContext context;
  auto spec = context.getOrLoadDialect<dq::DQDialect>()->getFormats().lookup(format).getSpec();
  return codegen::matvecSegment(spec, rows).value();
}

/// Queries, keys and values after a norm; gate and up after a norm, quantized; the same for eight tokens, without norm.
std::vector<Matvec> kernelsOf(const std::string &format) {
  RowKind output = format == "bf16" ? RowKind::BFloat : format[0] == 'f' ? RowKind::Float : RowKind::Act8;
  auto segment = [&](int64_t rows) { return segmentOf(format, rows); };
  Matvec heads{.segments = {segment(1536), segment(256), segment(256)}, .width = 1536, .columns = 1, .bias = true};
  heads.prologue = Matvec::Prologue::Norm;
  Matvec gated{.segments = {segment(8960), segment(8960)}, .width = 1536, .columns = 8, .swiglu = true};
  gated.output = output;
  Matvec one = gated;
  one.columns = 1;
  one.prologue = Matvec::Prologue::Norm;
  return {heads, one, gated};
}

/// Of 3, 5 and 7 tokens, with which ptxas spilt some numbers of bf16.
std::vector<Matvec> kernelsOfOddColumns(const std::string &format) {
  std::vector<Matvec> made;
  for (int64_t columns : {3, 5, 7})
    for (int64_t width : {1536, 8960})
      made.push_back({.segments = {segmentOf(format, 1536)}, .width = width, .columns = columns, .residual = true});
  return made;
}

/// Emits the kernels of each format.
void emitAll(mlir::gpu::GPUModuleOp module, const codegen::GpuTarget &target) {
  for (const char *format : {"q8_0", "q4_0", "q5_0", "q3_K", "q4_K", "q5_K", "q6_K", "mxfp4", "mxfp6_e3m2", "bf16"})
    for (const Matvec &matvec : kernelsOf(format))
      codegen::emitMatvec(module, matvec, target);
  for (const char *format : {"bf16", "f16", "q8_0"})
    for (const Matvec &matvec : kernelsOfOddColumns(format))
      codegen::emitMatvec(module, matvec, target);
}

TEST(GpuRegisters, SufficeForKernelsThatTakeOverOthers) {
  if (!hasAssembler())
    GTEST_SKIP() << "no ptxas";
  for (std::string chip : {"sm_75", "sm_80", "sm_86", "sm_90"})
    expectNoSpills(emitCode(chip, [](auto module, auto &target) { emitAll(module, target); }), chip);
}

/// Those of other shapes than the 1.5B's that ptxas spilt some numbers of: residuals of planes, results of several
/// segments, the norm of a long row before bytes, down projections by tables, small matmuls of codes.
void emitLarge(mlir::gpu::GPUModuleOp module, const codegen::GpuTarget &target) {
  auto prompt = [&](std::vector<Matvec::Segment> segments, int64_t width, bool residual) {
    codegen::PromptMatmul shape;
    shape.segments = std::move(segments);
    shape.width = width;
    shape.residual = residual;
    shape.fit(target);
    codegen::emitPromptMatmul(module, shape, target);
  };
  prompt({segmentOf("q6_K", 3584)}, 3584, true);
  prompt({segmentOf("q8_0", 768)}, 768, true);
  for (const char *format : {"q4_K", "f16"})
    prompt({segmentOf(format, 4096), segmentOf(format, 1024), segmentOf(format, 1024)}, 4096, false);
  Matvec heads{.segments = {segmentOf("q8_0", 5120)}, .width = 5120, .columns = 1, .bias = true};
  heads.prologue = Matvec::Prologue::Norm;
  Matvec down{.segments = {segmentOf("mxfp4", 3584)}, .width = 18944, .columns = 1, .residual = true};
  for (const Matvec &matvec : {heads, down})
    codegen::emitMatvec(module, matvec, target);
}

TEST(GpuRegisters, SufficeForLargerModels) {
  if (!hasAssembler())
    GTEST_SKIP() << "no ptxas";
  for (std::string chip : {"sm_80", "sm_90"})
    expectNoSpills(emitCode(chip, emitLarge), chip);
}

} // namespace
} // namespace quern

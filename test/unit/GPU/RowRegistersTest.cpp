// What NVIDIA's assembler makes of the kernels that are no matmuls, in the sizes of real models: nothing is spilt.
// Skipped where there is no ptxas.
#include "test/unit/GPU/Assemble.h"
#include "test/unit/GPU/EmitKernels.h"

#include "lib/Codegen/GPU/Argmax.h"
#include "lib/Codegen/GPU/DecodeAttention.h"
#include "lib/Codegen/GPU/Gather.h"
#include "lib/Codegen/GPU/PromptAttention.h"
#include "lib/Codegen/GPU/RmsNorm.h"
#include "lib/Codegen/GPU/Rotary.h"
#include "lib/Codegen/GPU/Sample.h"

namespace quern {
namespace {

/// The sizes of Qwen2.5-0.5B, 1.5B and 7B, and of Qwen3-1.7B and 14B.
void emitAll(mlir::gpu::GPUModuleOp module, const codegen::GpuTarget &target) {
  using namespace codegen;
  for (int64_t width : {896, 1536, 8192})
    for (bool quantized : {false, true})
      emitRmsNorm(module, {width, 1e-6, quantized}, target);
  emitHeadNorm(module, {16, 128, 1e-6}, target);
  emitArgmaxParts(module, {151936}, target);
  emitArgmaxMerge(module, {151936}, target);
  emitSampleParts(module, {151936}, target);
  emitSampleGather(module, {151936}, target);
  emitSampleDraw(module, {151936}, target);
  emitGatherRows(module, 1536, target);
  emitGatherColumns(module, 1536, 1536, target);
  struct Model {
    int64_t heads, kvHeads, headDim;
    std::optional<double> eps;
  };
  for (Model m : {Model{14, 2, 64, {}},
                  {12, 2, 128, {}},
                  {28, 4, 128, {}},
                  {16, 8, 128, 1e-6},
                  {40, 8, 128, 1e-6},
                  {8, 8, 80, {}}}) {
    emitRotaryCache(module, {m.heads, m.kvHeads, m.headDim, false, m.eps}, target);
    emitPromptAttention(module, {m.heads, m.kvHeads, m.headDim, 0.125f}, target);
    DecodeAttention attention{m.heads, m.kvHeads, m.headDim, 0.125f};
    attention.merges = attention.quantized = m.headDim % 32 == 0;
    emitDecodeAttention(module, attention, target);
    attention.fused = true;
    attention.headEps = m.eps;
    emitDecodeAttention(module, attention, target);
    if (!attention.merges)
      emitMergeAttention(module, {m.heads, m.headDim, attention.splits(), true}, target);
  }
}

TEST(GpuRegisters, SufficeForRowsAttentionAndTokens) {
  if (!hasAssembler())
    GTEST_SKIP() << "no ptxas";
  for (std::string chip : {"sm_80", "sm_90"})
    expectNoSpills(emitCode(chip, [](auto module, auto &target) { emitAll(module, target); }), chip);
}

} // namespace
} // namespace quern

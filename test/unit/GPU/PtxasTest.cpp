// Where NVIDIA's assembler is installed, it takes the kernels in the sizes of real models, and spills nothing.
#include "test/unit/GPU/EmitKernels.h"

#include "lib/Codegen/GPU/Argmax.h"
#include "lib/Codegen/GPU/DecodeAttention.h"
#include "lib/Codegen/GPU/Gather.h"
#include "lib/Codegen/GPU/PromptAttention.h"
#include "lib/Codegen/GPU/RmsNorm.h"
#include "lib/Codegen/GPU/Rotary.h"
#include "lib/Codegen/GPU/Sample.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Program.h"

#include <fstream>
#include <sstream>

namespace quern {
namespace {

/// What `ptxas -v` says of the PTX.
std::string assemble(const std::string &assembler, const std::string &ptx, const std::string &chip) {
  llvm::SmallString<128> source, cubin, log;
  for (auto [path, suffix] : {std::pair{&source, "ptx"}, {&cubin, "cubin"}, {&log, "log"}})
    EXPECT_FALSE(llvm::sys::fs::createTemporaryFile("quern-kernels", suffix, *path));
  std::ofstream(source.c_str()) << ptx;
  std::string architecture = "-arch=" + chip;
  std::optional<llvm::StringRef> redirects[] = {std::nullopt, llvm::StringRef(log), llvm::StringRef(log)};
  int code = llvm::sys::ExecuteAndWait(assembler, {assembler, architecture, "-v", source, "-o", cubin}, std::nullopt,
                                       redirects);
  std::stringstream text;
  text << std::ifstream(log.c_str()).rdbuf();
  EXPECT_EQ(code, 0) << text.str();
  for (const auto *path : {&source, &cubin, &log})
    llvm::sys::fs::remove(*path);
  return text.str();
}

/// The sizes of Qwen2.5-0.5B, 1.5B and 7B, and of Qwen3-1.7B and 14B.
void emitAll(mlir::gpu::GPUModuleOp module, const codegen::GpuTarget &target) {
  using namespace codegen;
  for (int64_t width : {896, 1536, 8192})
    for (bool quantized : {false, true})
      emitRmsNorm(module, {width, 1e-6, quantized}, target);
  emitHeadNorm(module, {16, 128, 1e-6}, target);
  emitArgmaxParts(module, {151936}, target);
  emitArgmaxMerge(module, {151936}, target);
  emitSample(module, {151936}, target);
  emitGatherRows(module, 1536, target);
  emitGatherColumns(module, 1536, 1536, target);
  struct Model {
    int64_t heads, kvHeads, headDim;
    std::optional<double> eps;
  };
  for (Model m : {Model{14, 2, 64, {}}, {12, 2, 128, {}}, {28, 4, 128, {}}, {16, 8, 128, 1e-6}, {40, 8, 128, 1e-6}}) {
    emitRotaryCache(module, {m.heads, m.kvHeads, m.headDim, false, m.eps}, target);
    emitPromptAttention(module, {m.heads, m.kvHeads, m.headDim, 0.125f}, target);
    DecodeAttention attention{m.heads, m.kvHeads, m.headDim, 0.125f};
    emitDecodeAttention(module, attention, target);
    attention.fused = true;
    attention.headEps = m.eps;
    emitDecodeAttention(module, attention, target);
    if (!module.lookupSymbol(MergeAttention{m.heads, m.headDim, attention.splits(), true}.name()))
      emitMergeAttention(module, {m.heads, m.headDim, attention.splits(), true}, target);
  }
}

class GpuAssembler : public testing::TestWithParam<std::string> {};

TEST_P(GpuAssembler, SpillsNothing) {
  auto assembler = llvm::sys::findProgramByName("ptxas");
  if (!assembler)
    GTEST_SKIP() << "ptxas is not on the path";
  std::string ptx = emitToPtx(GetParam(), [](auto module, auto &target) { emitAll(module, target); });
  std::istringstream log(assemble(*assembler, ptx, GetParam()));
  std::string line, kernel;
  size_t kernels = 0;
  while (std::getline(log, line)) {
    if (line.find("Compiling entry function") != std::string::npos)
      kernel = line;
    if (line.find("spill stores") == std::string::npos)
      continue;
    ++kernels;
    EXPECT_NE(line.find(" 0 bytes spill stores, 0 bytes spill loads"), std::string::npos) << kernel << "\n" << line;
  }
  size_t emitted = 0;
  for (size_t at = ptx.find(".entry"); at != std::string::npos; at = ptx.find(".entry", at + 1))
    ++emitted;
  EXPECT_EQ(kernels, emitted);
}

INSTANTIATE_TEST_SUITE_P(Targets, GpuAssembler, testing::Values("sm_80", "sm_90"));

} // namespace
} // namespace quern

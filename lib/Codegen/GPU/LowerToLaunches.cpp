// The entry function becomes host functions that launch kernels. See Passes.td.
#include "LaunchLowering.h"
#include "quern/Codegen/Passes.h"
#include "quern/Codegen/Spirv.h"

namespace quern::codegen {
#define GEN_PASS_DEF_LOWERTOLAUNCHES
#include "lib/Codegen/GPU/Passes.h.inc"
} // namespace quern::codegen

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

/// Of a step: prompts are cut into steps of so many tokens at the most, which fill any GPU.
static constexpr int64_t kMostTokens = 512;
/// Without tensor cores, where `DecodeAttention` reads prompts too, with memory of its own for each token.
static constexpr int64_t kMostTokensOfSpirv = 64;

namespace {

struct LowerToLaunches : codegen::impl::LowerToLaunchesBase<LowerToLaunches> {
  using LowerToLaunchesBase::LowerToLaunchesBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto target = findGpuTarget(targetName);
    if (!target) {
      module.emitError(target.error().message);
      return signalPassFailure();
    }
    module->setAttr(gpu::GPUDialect::getContainerModuleAttrName(), UnitAttr::get(&getContext()));
    OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
    auto kernels = gpu::GPUModuleOp::create(builder, module.getLoc(), "kernels");
    for (func::FuncOp entry : llvm::to_vector(module.getOps<func::FuncOp>()))
      if (failed(lower(entry, kernels, **target)))
        return signalPassFailure();
    if ((*target)->overlappingLaunches)
      module->setAttr(kHostOverlaps, UnitAttr::get(&getContext()));
    // What is left of the graph level: the packer's plan has been executed from the module before this pass.
    for (auto source : llvm::make_early_inc_range(module.getOps<dq::SourceOp>()))
      source.erase();
  }

private:
  LogicalResult lower(func::FuncOp entry, gpu::GPUModuleOp kernels, const GpuTarget &target) {
    if (!entry->hasAttr(kArenaSizes))
      return entry.emitError("has no memory plan; run lm-plan-memory first");
    // Drivers of OpenCL compile all kernels when a model is opened, so that there are few.
    bool few = takesSpirv(target);
    for (int64_t count = 1; count <= (few ? 1 : Matvec::kMostColumns); ++count)
      if (failed(LaunchLowering(entry, kernels, target, {count, count}).run(tokens)))
        return failure();
    LogicalResult more = few ? LaunchLowering(entry, kernels, target, {2, kMostTokensOfSpirv}).run(tokens)
                             : lowerPrompts(entry, kernels, target);
    entry.erase();
    return more;
  }

  LogicalResult lowerPrompts(func::FuncOp entry, gpu::GPUModuleOp kernels, const GpuTarget &target) {
    if (Operation *without = LaunchLowering::findWithoutPromptKernel(entry, target)) {
      without->emitWarning("has no GPU kernel for more than ")
          << Matvec::kMostColumns << " tokens at once, so that prompts are read in steps of so many";
      return success();
    }
    constexpr int64_t kMostOfFew = LaunchLowering::kMostDecodeRows;
    for (TokenRange range : {TokenRange{Matvec::kMostColumns + 1, kMostOfFew}, {kMostOfFew + 1, kMostTokens}})
      if (failed(LaunchLowering(entry, kernels, target, range).run(tokens)))
        return failure();
    return success();
  }
};

} // namespace

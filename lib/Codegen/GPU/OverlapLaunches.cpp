// `gpu-overlap-launches`, and the wait that kernels may have at a place of their own.
#include "OverlapLaunches.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

namespace quern::codegen {
#define GEN_PASS_DEF_OVERLAPLAUNCHES
#include "lib/Codegen/GPU/Passes.h.inc"
} // namespace quern::codegen

constexpr StringLiteral kWait = "griddepcontrol.wait;";

/// LLVM takes its intrinsic for one that touches no memory, past which loads may go; not so what clobbers it.
static void emitWait(OpBuilder &builder, Location location) {
  LLVM::InlineAsmOp::create(builder, location, /*resultTypes=*/TypeRange(), /*operands=*/ValueRange(), kWait,
                            "~{memory}", /*has_side_effects=*/true, /*is_align_stack=*/false,
                            LLVM::tailcallkind::TailCallKind::None, LLVM::AsmDialectAttr(), ArrayAttr());
}

void codegen::awaitLaunchBefore(Emitter &e, const GpuTarget &target) {
  if (target.overlappingLaunches)
    emitWait(e, e.getLoc());
}

static bool waits(gpu::GPUFuncOp kernel) {
  return kernel
      .walk([](LLVM::InlineAsmOp op) {
        return op.getAsmString() == kWait ? WalkResult::interrupt() : WalkResult::advance();
      })
      .wasInterrupted();
}

namespace {

struct OverlapLaunches : codegen::impl::OverlapLaunchesBase<OverlapLaunches> {
  void runOnOperation() override {
    for (auto kernel : getOperation().getOps<gpu::GPUFuncOp>()) {
      if (!kernel.isKernel())
        continue;
      auto builder = OpBuilder::atBlockBegin(&kernel.getBody().front());
      NVVM::GriddepcontrolOp::create(builder, kernel.getLoc(), NVVM::GridDepActionKind::launch_dependents);
      if (!waits(kernel))
        emitWait(builder, kernel.getLoc());
    }
  }
};

} // namespace

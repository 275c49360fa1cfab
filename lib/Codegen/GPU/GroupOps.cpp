// Which ops may become one kernel. See Passes.td.
#include "LaunchLowering.h"
#include "quern/Codegen/Passes.h"

namespace quern::codegen {
#define GEN_PASS_DEF_GROUPOPS
#include "lib/Codegen/GPU/Passes.h.inc"
} // namespace quern::codegen

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

bool codegen::isHeadNorm(Operation *op) {
  auto norm = dyn_cast_or_null<lm::RmsNormOp>(op);
  if (!norm)
    return false;
  int64_t length = norm.getGain().getType().getDimSize(0);
  if (length != norm.getX().getType().getDimSize(1))
    return true;
  auto rotary = norm->hasOneUse() ? dyn_cast<lm::RotaryOp>(*norm->user_begin()) : lm::RotaryOp();
  return rotary && rotary.getAngles().getType().getDimSize(1) == length;
}

/// What stands before attention, and is done by the kernel that writes the cache.
static bool preparesAttention(Operation *op) { return isHeadNorm(op) || isa<lm::RotaryOp>(op); }

/// Whether an op may share a kernel with the ops of the group that ends before it.
static bool joins(Operation *op, ArrayRef<Operation *> group) {
  if (group.empty())
    return false;
  if (preparesAttention(op) || isa<lm::AttentionOp>(op))
    return llvm::all_of(group, preparesAttention);
  if (auto quantize = dyn_cast<dq::QuantizeOp>(op)) {
    Operation *made = quantize.getX().getDefiningOp();
    auto matmul = dyn_cast_or_null<dq::MatmulOp>(made);
    bool gated = matmul && matmul.getActivation() == dq::Activation::Swiglu;
    return made == group.back() && (gated || isa<lm::AttentionOp>(made));
  }
  if (auto matmul = dyn_cast<dq::MatmulOp>(op)) {
    Operation *made = matmul.getX().getDefiningOp();
    return group.size() == 1 && made == group.back() && isa<lm::RmsNormOp, dq::QuantizeOp>(made);
  }
  return false;
}

namespace {

struct GroupOps : codegen::impl::GroupOpsBase<GroupOps> {
  void runOnOperation() override {
    for (auto entry : getOperation().getOps<func::FuncOp>())
      group(entry);
  }

  void group(func::FuncOp entry) {
    Builder builder(&getContext());
    SmallVector<Operation *> current;
    int64_t number = 0;
    for (Operation &op : entry.front().without_terminator()) {
      if (isa<dq::WeightOp>(op))
        continue;
      if (!joins(&op, current)) {
        current.clear();
        ++number;
      }
      current.push_back(&op);
      op.setAttr(kGroup, builder.getI64IntegerAttr(number));
    }
  }
};

} // namespace

// Says where quantized weights are multiplied as floats, which costs many times the time. See Passes.td.
#include "quern/Transforms/Passes.h"

namespace quern::transforms {
#define GEN_PASS_DEF_LINTMATMULS
#include "lib/Transforms/Passes.h.inc"
} // namespace quern::transforms

using namespace mlir;
using namespace quern;

/// The name of the block format that `weight` is dequantized from, or nothing.
static StringRef dequantizedFormat(Value weight) {
  auto dequantize = weight.getDefiningOp<dq::DequantizeOp>();
  if (!dequantize)
    return "";
  auto block = dyn_cast<dq::BlockType>(cast<RankedTensorType>(dequantize.getIn().getType()).getElementType());
  return block ? block.getFormat().getName() : StringRef();
}

namespace {

struct LintMatmuls : transforms::impl::LintMatmulsBase<LintMatmuls> {
  using LintMatmulsBase::LintMatmulsBase;

  void runOnOperation() override {
    getOperation()->walk([&](dq::MatmulOp op) { check(op, op.getWeights()); });
    getOperation()->walk([&](lm::LinearOp op) { check(op, op.getWeight()); });
  }

private:
  void check(Operation *op, ValueRange weights) {
    for (Value weight : weights)
      if (StringRef format = dequantizedFormat(weight); !format.empty())
        report(op, format);
  }

  void report(Operation *op, StringRef format) {
    ++slow;
    InFlightDiagnostic diagnostic = forbid ? op->emitError() : op->emitWarning();
    diagnostic << "slow path: a weight in format " << format << " is dequantized to f32 before it is multiplied";
    if (forbid)
      signalPassFailure();
  }
};

} // namespace

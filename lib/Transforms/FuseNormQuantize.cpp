// A norm writes quantized rows where a matmul wants them. See Passes.td.
#include "quern/Transforms/Passes.h"

#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace quern::transforms {
#define GEN_PASS_DEF_FUSENORMQUANTIZE
#include "lib/Transforms/Passes.h.inc"
} // namespace quern::transforms

using namespace mlir;
using namespace quern;

namespace {

struct QuantizeInNorm : OpRewritePattern<dq::QuantizeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(dq::QuantizeOp op, PatternRewriter &rewriter) const override {
    auto norm = op.getX().getDefiningOp<lm::RmsNormOp>();
    if (norm && norm.getGain().getType().getDimSize(0) != norm.getX().getType().getDimSize(1))
      return rewriter.notifyMatchFailure(op, "each head is normalized on its own");
    if (!norm)
      return rewriter.notifyMatchFailure(op, "not the quantization of a norm");
    rewriter.replaceOpWithNewOp<lm::RmsNormOp>(op, op.getType(), norm.getX(), norm.getGain(), norm.getEpsAttr());
    return success();
  }
};

struct FuseNormQuantize : transforms::impl::FuseNormQuantizeBase<FuseNormQuantize> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<QuantizeInNorm>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace

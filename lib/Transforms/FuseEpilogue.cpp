// Residuals and gates move to where a matmul stores. See Passes.td.
#include "quern/Transforms/Passes.h"

#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace quern::transforms {
#define GEN_PASS_DEF_FUSEEPILOGUE
#include "lib/Transforms/Passes.h.inc"
} // namespace quern::transforms

using namespace mlir;
using namespace quern;

namespace {

struct FuseResidual : OpRewritePattern<arith::AddFOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(arith::AddFOp op, PatternRewriter &rewriter) const override {
    for (auto [product, residual] : {std::pair(op.getRhs(), op.getLhs()), std::pair(op.getLhs(), op.getRhs())}) {
      auto matmul = product.getDefiningOp<dq::MatmulOp>();
      if (!matmul || !product.hasOneUse() || matmul.getWeights().size() != 1 || !matmul.getBiases().empty() ||
          matmul.getResidual() || matmul.getActivation() != dq::Activation::None)
        continue;
      rewriter.replaceOpWithNewOp<dq::MatmulOp>(op, TypeRange(op.getType()), dq::Activation::None, matmul.getX(),
                                                matmul.getWeights(), ValueRange(), residual);
      rewriter.eraseOp(matmul);
      return success();
    }
    return rewriter.notifyMatchFailure(op, "no operand is the only use of a matmul of one segment without bias");
  }
};

struct FuseSwiglu : OpRewritePattern<lm::SwigluOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(lm::SwigluOp op, PatternRewriter &rewriter) const override {
    auto matmul = op.getGate().getDefiningOp<dq::MatmulOp>();
    if (!matmul || matmul != op.getUp().getDefiningOp<dq::MatmulOp>() || matmul.getWeights().size() != 2)
      return rewriter.notifyMatchFailure(op, "gate and up are not the two segments of one matmul");
    if (!op.getGate().hasOneUse() || !op.getUp().hasOneUse() || !matmul.getBiases().empty())
      return rewriter.notifyMatchFailure(op, "gate or up has another use, or a bias");
    if (op.getOut().getType() != op.getGate().getType())
      return rewriter.notifyMatchFailure(op, "a quantized result is no matmul's");
    SmallVector<Value> weights(matmul.getWeights());
    if (matmul.getResult(0) != op.getGate())
      std::swap(weights[0], weights[1]);
    rewriter.replaceOpWithNewOp<dq::MatmulOp>(op, TypeRange(op.getGate().getType()), dq::Activation::Swiglu,
                                              matmul.getX(), weights, ValueRange(), Value());
    rewriter.eraseOp(matmul);
    return success();
  }
};

struct FuseEpilogue : transforms::impl::FuseEpilogueBase<FuseEpilogue> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<FuseResidual, FuseSwiglu>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace

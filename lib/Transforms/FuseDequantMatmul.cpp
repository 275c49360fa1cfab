// Weights stay in their formats: dequantization moves into the ops that read them. See Passes.td.
#include "quern/Transforms/Passes.h"

#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace quern::transforms {
#define GEN_PASS_DEF_FUSEDEQUANTMATMUL
#include "lib/Transforms/Passes.h.inc"
} // namespace quern::transforms

using namespace mlir;
using namespace quern;

/// Group of activations that share a scale, for every block format.
static constexpr int64_t kActivationGroup = 32;

static bool isBlock(Value weight) {
  return isa<dq::BlockType>(cast<RankedTensorType>(weight.getType()).getElementType());
}

/// The weight as stored: what `weight` is dequantized from, or itself.
static Value storedWeight(Value weight) {
  if (auto dequantize = weight.getDefiningOp<dq::DequantizeOp>())
    return dequantize.getIn();
  return weight;
}

namespace {

struct LinearToMatmul : OpRewritePattern<lm::LinearOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(lm::LinearOp op, PatternRewriter &rewriter) const override {
    Value weight = storedWeight(op.getWeight()), x = op.getX();
    if (isBlock(weight)) {
      auto rows = cast<RankedTensorType>(x.getType());
      auto quantized = rows.clone(dq::Act8Type::get(getContext(), kActivationGroup));
      x = dq::QuantizeOp::create(rewriter, op.getLoc(), quantized, x);
    }
    SmallVector<Value> biases;
    if (op.getBias())
      biases.push_back(op.getBias());
    rewriter.replaceOpWithNewOp<dq::MatmulOp>(op, TypeRange(op.getType()), dq::Activation::None, x,
                                              ValueRange(weight), biases, Value());
    return success();
  }
};

struct EmbeddingOfStored : OpRewritePattern<lm::EmbeddingOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(lm::EmbeddingOp op, PatternRewriter &rewriter) const override {
    Value table = storedWeight(op.getTable());
    if (table == op.getTable())
      return rewriter.notifyMatchFailure(op, "the table is not dequantized");
    rewriter.modifyOpInPlace(op, [&] { op.getTableMutable().assign(table); });
    return success();
  }
};

struct FuseDequantMatmul : transforms::impl::FuseDequantMatmulBase<FuseDequantMatmul> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<LinearToMatmul, EmbeddingOfStored>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace

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

/// Elements of the rows that weights of `element` take.
static Type rowElement(Type element) {
  if (isa<dq::BlockType>(element))
    return dq::Act8Type::get(element.getContext(), kActivationGroup);
  return element.isBF16() ? element : Float32Type::get(element.getContext());
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
    auto rows = cast<RankedTensorType>(x.getType());
    Type element = rowElement(cast<RankedTensorType>(weight.getType()).getElementType());
    if (element != rows.getElementType())
      x = dq::QuantizeOp::create(rewriter, op.getLoc(), rows.clone(element), x);
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

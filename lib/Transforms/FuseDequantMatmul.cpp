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

/// The rows as a matmul of elements `element` takes them, quantized unless they are what quantized ones stand for.
static Value rowsOf(Value x, Type element, Location loc, PatternRewriter &rewriter) {
  auto rows = cast<RankedTensorType>(x.getType());
  if (element == rows.getElementType())
    return x;
  if (auto dequantize = x.getDefiningOp<dq::DequantizeOp>(); dequantize && isa<dq::Act8Type>(element))
    if (isa<dq::Act8Type>(cast<RankedTensorType>(dequantize.getIn().getType()).getElementType()))
      return dequantize.getIn();
  return dq::QuantizeOp::create(rewriter, loc, rows.clone(element), x);
}

namespace {

struct LinearToMatmul : OpRewritePattern<lm::LinearOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(lm::LinearOp op, PatternRewriter &rewriter) const override {
    Value weight = storedWeight(op.getWeight());
    Type element = rowElement(cast<RankedTensorType>(weight.getType()).getElementType());
    Value x = rowsOf(op.getX(), element, op.getLoc(), rewriter);
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

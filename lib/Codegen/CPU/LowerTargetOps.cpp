// What the upstream conversions leave to a target: the dot product of bytes and table lookups become instructions it
// has; half conversions and fused multiply-adds are expanded where it has none, so that the image calls no library.
#include "LowerDot.h"
#include "quern/Codegen/Passes.h"
#include "quern/Codegen/Target.h"

#include "dialects/DQ/DQ.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace quern::codegen {
#define GEN_PASS_DEF_LOWERTARGETOPS
#include "lib/Codegen/Passes.h.inc"
} // namespace quern::codegen

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

namespace {

/// dq.lookup -> pshufb, as wide as the target has it; a row's four codes are widened to a register.
struct LookupToShuffle : OpRewritePattern<dq::LookupOp> {
  LookupToShuffle(MLIRContext *context, unsigned vectorBits) : OpRewritePattern(context), vectorBytes(vectorBits / 8) {}

  LogicalResult matchAndRewrite(dq::LookupOp op, PatternRewriter &b) const override {
    Location loc = op.getLoc();
    VectorType type = op.getType();
    Value codes = op.getCodes();
    bool narrow = type.getNumElements() < 16;
    VectorType full = narrow ? VectorType::get(16, b.getI8Type()) : type;
    if (narrow)
      codes = vector::InsertStridedSliceOp::create(b, loc, codes,
                                                   arith::ConstantOp::create(b, loc, b.getZeroAttr(full)),
                                                   ArrayRef<int64_t>{0}, ArrayRef<int64_t>{1});
    int64_t lanes = std::min(vectorBytes, full.getNumElements());
    StringRef name = lanes == 64   ? "llvm.x86.avx512.pshuf.b.512"
                     : lanes == 32 ? "llvm.x86.avx2.pshuf.b"
                                   : "llvm.x86.ssse3.pshuf.b.128";
    llvm::SmallVector<int8_t> entries;
    for (int64_t i = 0; i < lanes; ++i)
      entries.push_back(op.getTable()[i % 16]);
    VectorType part = VectorType::get(lanes, b.getI8Type());
    Value table = arith::ConstantOp::create(b, loc, DenseElementsAttr::get(part, ArrayRef<int8_t>(entries)));
    llvm::SmallVector<Value> parts;
    for (int64_t i = 0; i < full.getNumElements() / lanes; ++i)
      parts.push_back(callIntrinsic(b, loc, name, part, {table, extractPart(b, loc, codes, i, lanes)}));
    Value out = joinParts(b, loc, parts, full);
    b.replaceOp(op, narrow ? extractPart(b, loc, out, 0, type.getNumElements()) : out);
    return success();
  }

  int64_t vectorBytes;
};

/// dq.dot_pairs -> vdpbf16ps.
struct PairsToDot : OpRewritePattern<dq::DotPairsOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(dq::DotPairsOp op, PatternRewriter &b) const override {
    b.replaceOp(op, callIntrinsic(b, op.getLoc(), "llvm.x86.avx512bf16.dpbf16ps.512", op.getType(),
                                  {op.getAcc(), op.getW(), op.getX()}));
    return success();
  }
};

/// dq.dot_pairs -> two math.fma. A bf16 number is the upper half of the f32 one.
struct PairsToFma : OpRewritePattern<dq::DotPairsOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(dq::DotPairsOp op, PatternRewriter &b) const override {
    Location loc = op.getLoc();
    VectorType floats = op.getType(), words = floats.clone(b.getI32Type());
    auto constant = [&](int32_t value) {
      return arith::ConstantOp::create(b, loc, DenseElementsAttr::get(words, b.getI32IntegerAttr(value)));
    };
    Value upper = constant(int32_t(0xffff0000)), half = constant(16);
    auto odd = [&](Value pairs) -> Value {
      Value bits = vector::BitCastOp::create(b, loc, words, pairs);
      return vector::BitCastOp::create(b, loc, floats, arith::AndIOp::create(b, loc, bits, upper));
    };
    auto even = [&](Value pairs) -> Value {
      Value bits = vector::BitCastOp::create(b, loc, words, pairs);
      return vector::BitCastOp::create(b, loc, floats, arith::ShLIOp::create(b, loc, bits, half));
    };
    Value sum = math::FmaOp::create(b, loc, odd(op.getW()), odd(op.getX()), op.getAcc());
    b.replaceOpWithNewOp<math::FmaOp>(op, even(op.getW()), even(op.getX()), sum);
    return success();
  }
};

/// math.fma -> multiply, add.
struct SplitFma : OpRewritePattern<math::FmaOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(math::FmaOp op, PatternRewriter &b) const override {
    Value product = arith::MulFOp::create(b, op.getLoc(), op.getA(), op.getB());
    b.replaceOpWithNewOp<arith::AddFOp>(op, product, op.getC());
    return success();
  }
};

/// Integer operations on vectors or scalars of 32 bits.
struct Bits {
  OpBuilder &b;
  Location loc;
  Type type;

  Value constant(int64_t value) {
    IntegerAttr scalar = b.getI32IntegerAttr(int32_t(value));
    if (auto vector = dyn_cast<VectorType>(type))
      return arith::ConstantOp::create(b, loc, DenseElementsAttr::get(vector, scalar));
    return arith::ConstantOp::create(b, loc, scalar);
  }
  Value bitAnd(Value a, int64_t mask) { return arith::AndIOp::create(b, loc, a, constant(mask)); }
  Value bitOr(Value a, Value c) { return arith::OrIOp::create(b, loc, a, c); }
  Value left(Value a, int64_t n) { return arith::ShLIOp::create(b, loc, a, constant(n)); }
  Value right(Value a, int64_t n) { return arith::ShRUIOp::create(b, loc, a, constant(n)); }
  Value add(Value a, Value c) { return arith::AddIOp::create(b, loc, a, c); }
  Value pick(Value condition, Value yes, Value no) {
    return arith::SelectOp::create(b, loc, condition, yes, no);
  }
  Value compare(arith::CmpIPredicate predicate, Value a, int64_t value) {
    return arith::CmpIOp::create(b, loc, predicate, a, constant(value));
  }
  Value toFloat(Value a) { return arith::BitcastOp::create(b, loc, like(b.getF32Type()), a); }
  Value fromFloat(Value a) { return arith::BitcastOp::create(b, loc, type, a); }
  Type like(Type element) {
    if (auto vector = dyn_cast<VectorType>(type))
      return vector.clone(element);
    return element;
  }
};

/// f16 -> f32 by moving the bits: exponent and mantissa shifted into f32's place are the value times 2^-112, so one
/// multiplication by 2^112 is exact for normal and subnormal numbers alike; infinity and NaN get their exponent back.
struct ExpandHalfToFloat : OpRewritePattern<arith::ExtFOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(arith::ExtFOp op, PatternRewriter &rewriter) const override {
    if (!getElementTypeOrSelf(op.getIn().getType()).isF16() || !getElementTypeOrSelf(op.getType()).isF32())
      return rewriter.notifyMatchFailure(op, "not f16 to f32");
    Location loc = op.getLoc();
    auto shaped = dyn_cast<VectorType>(op.getType());
    Type words = shaped ? Type(shaped.clone(rewriter.getI32Type())) : Type(rewriter.getI32Type());
    Type halves = shaped ? Type(shaped.clone(rewriter.getI16Type())) : Type(rewriter.getI16Type());
    Bits bits{rewriter, loc, words};
    Value half = arith::ExtUIOp::create(rewriter, loc, words,
                                        arith::BitcastOp::create(rewriter, loc, halves, op.getIn()));
    Value sign = bits.left(bits.bitAnd(half, 0x8000), 16);
    Value magnitude = bits.left(bits.bitAnd(half, 0x7fff), 13);
    Value scaled =
        arith::MulFOp::create(rewriter, loc, bits.toFloat(magnitude), bits.toFloat(bits.constant(0x77800000)));
    Value special = bits.compare(arith::CmpIPredicate::uge, magnitude, 0x0f800000);
    Value value = bits.pick(special, bits.bitOr(magnitude, bits.constant(0x7f800000)), bits.fromFloat(scaled));
    rewriter.replaceOp(op, bits.toFloat(bits.bitOr(sign, value)));
    return success();
  }
};

/// f32 -> f16, round to nearest even. Normal results round by adding to the bits; subnormal ones by adding 0.5, whose
/// last place is the subnormal step; what is too great becomes infinity, NaN stays one.
struct ExpandFloatToHalf : OpRewritePattern<arith::TruncFOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(arith::TruncFOp op, PatternRewriter &rewriter) const override {
    if (!getElementTypeOrSelf(op.getType()).isF16() || !getElementTypeOrSelf(op.getIn().getType()).isF32())
      return rewriter.notifyMatchFailure(op, "not f32 to f16");
    Location loc = op.getLoc();
    auto shaped = dyn_cast<VectorType>(op.getType());
    Type words = shaped ? Type(shaped.clone(rewriter.getI32Type())) : Type(rewriter.getI32Type());
    Type halves = shaped ? Type(shaped.clone(rewriter.getI16Type())) : Type(rewriter.getI16Type());
    Bits bits{rewriter, loc, words};
    Value word = bits.fromFloat(op.getIn());
    Value sign = bits.bitAnd(bits.right(word, 16), 0x8000);
    Value magnitude = bits.bitAnd(word, 0x7fffffff);
    Value half = bits.toFloat(bits.constant(0x3f000000));
    Value shifted = arith::AddFOp::create(rewriter, loc, bits.toFloat(magnitude), half);
    Value subnormal = bits.add(bits.fromFloat(shifted), bits.constant(-0x3f000000));
    Value odd = bits.bitAnd(bits.right(magnitude, 13), 1);
    Value rounded = bits.add(bits.add(magnitude, odd), bits.constant(0xfff - 0x38000000));
    Value normal = bits.right(rounded, 13);
    Value finite = bits.pick(bits.compare(arith::CmpIPredicate::ult, magnitude, 0x38800000), subnormal, normal);
    Value nan = bits.compare(arith::CmpIPredicate::ugt, magnitude, 0x7f800000);
    Value large = bits.pick(nan, bits.constant(0x7e00), bits.constant(0x7c00));
    Value value = bits.pick(bits.compare(arith::CmpIPredicate::uge, magnitude, 0x47800000), large, finite);
    Value result = arith::TruncIOp::create(rewriter, loc, halves, bits.bitOr(sign, value));
    rewriter.replaceOpWithNewOp<arith::BitcastOp>(op, op.getType(), result);
    return success();
  }
};

struct LowerTargetOps : codegen::impl::LowerTargetOpsBase<LowerTargetOps> {
  using LowerTargetOpsBase::LowerTargetOpsBase;

  void runOnOperation() override {
    auto target = findTarget(targetName);
    if (!target) {
      getOperation()->emitError(target.error().message);
      return signalPassFailure();
    }
    lowerDots(getOperation(), **target);
    RewritePatternSet patterns(&getContext());
    populateLowerTargetOpsPatterns(patterns, **target);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace

void quern::codegen::populateLowerTargetOpsPatterns(RewritePatternSet &patterns, const Target &target) {
  MLIRContext *context = patterns.getContext();
  populateMathPolynomialApproximationPatterns(patterns, [](StringRef name) { return name == "math.exp"; });
  patterns.add<LookupToShuffle>(context, target.vectorBits);
  if (target.bfloatDot)
    patterns.add<PairsToDot>(context);
  else
    patterns.add<PairsToFma>(context);
  if (!target.fusedMultiplyAdd)
    patterns.add<SplitFma>(context);
  if (!target.halfConversions)
    patterns.add<ExpandHalfToFloat, ExpandFloatToHalf>(context);
}

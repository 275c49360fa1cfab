// Constants of upstream's `quant` types become weights in block formats. See Passes.td.
#include "QuantWeight.h"
#include "quern/Transforms/Passes.h"

#include "mlir/Dialect/Quant/IR/Quant.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/Matchers.h"

namespace quern::transforms {
#define GEN_PASS_DEF_CONVERTQUANT
#include "lib/Transforms/Passes.h.inc"
} // namespace quern::transforms

using namespace mlir;
using namespace quern;

/// The storage integers of a constant, as the quantized type reads their bits.
static Result<std::vector<int16_t>> storedIntegers(ElementsAttr constant, bool isSigned) {
  std::vector<int16_t> values;
  auto append = [&](const APInt &value) {
    values.push_back(int16_t(isSigned ? value.getSExtValue() : int64_t(value.getZExtValue())));
  };
  if (auto dense = dyn_cast<DenseIntElementsAttr>(constant)) {
    for (const APInt &value : dense.getValues<APInt>())
      append(value);
    return values;
  }
  auto resource = dyn_cast<DenseResourceElementsAttr>(constant);
  AsmResourceBlob *blob = resource ? resource.getRawHandle().getBlob() : nullptr;
  if (!blob || int64_t(blob->getData().size()) != constant.getNumElements() || !constant.getElementType().isInteger(8))
    return fail("its integers must be a dense constant, or a resource of i8");
  for (char value : blob->getData())
    append(APInt(8, uint8_t(value)));
  return values;
}

/// The name of the constant's location, by which later messages and listings call the weight.
static std::string nameOf(Operation *constant) {
  auto named = constant->getLoc()->findInstanceOf<NameLoc>();
  return named ? named.getName().str() : "quantized";
}

namespace {

struct ConvertQuant : transforms::impl::ConvertQuantBase<ConvertQuant> {
  void runOnOperation() override {
    SymbolTable symbols(getOperation());
    WalkResult converted = getOperation().walk([&](quant::DequantizeCastOp op) -> WalkResult {
      return convert(op, symbols);
    });
    if (converted.wasInterrupted())
      return signalPassFailure();
    WalkResult left = getOperation().walk([&](Operation *op) -> WalkResult {
      if (!isa<quant::QuantDialect>(op->getDialect()))
        return WalkResult::advance();
      if (isa<quant::StorageCastOp>(op) && op->use_empty()) {
        Operation *producer = op->getOperand(0).getDefiningOp();
        op->erase();
        if (producer && isOpTriviallyDead(producer))
          producer->erase();
        return WalkResult::skip();
      }
      return op->emitOpError("works on values of run time; only constants that are stored, cast by quant.scast and "
                             "widened by quant.dcast become weights, and dq.quantize quantizes activations");
    });
    if (left.wasInterrupted())
      signalPassFailure();
  }

private:
  /// Replaces a dcast of a constant. One whose operand is no constant is left for the check at the end.
  LogicalResult convert(quant::DequantizeCastOp op, SymbolTable &symbols) {
    auto cast = op.getInput().getDefiningOp<quant::StorageCastOp>();
    ElementsAttr constant;
    if (!cast || !matchPattern(cast.getInput(), m_Constant(&constant)))
      return success();
    dq::SourceOp &source = sources[cast];
    if (!source) {
      auto made = makeSource(cast, constant, symbols);
      if (!made)
        return op.emitOpError("cannot become a weight: ") << made.error().message;
      source = *made;
    }
    OpBuilder builder(op);
    Value weight = dq::WeightOp::create(builder, op.getLoc(), mlir::cast<Type>(source.getType()), source.getSymName());
    op.replaceAllUsesWith(dq::DequantizeOp::create(builder, op.getLoc(), op.getType(), weight).getOut());
    op.erase();
    return success();
  }

  Result<dq::SourceOp> makeSource(quant::StorageCastOp cast, ElementsAttr constant, SymbolTable &symbols) {
    auto type = dyn_cast<RankedTensorType>(cast.getType());
    auto element = type ? dyn_cast<quant::QuantizedType>(type.getElementType()) : nullptr;
    if (!element)
      return fail("only matrices of static shape are converted");
    if (element.getStorageTypeIntegralWidth() > 8)
      return fail("integers of more than 8 bits are not converted");
    QUERN_ASSIGN(std::vector<int16_t> values, storedIntegers(constant, element.isSigned()));
    QUERN_ASSIGN(transforms::QuantWeight weight, transforms::toQuantWeight(type, values));
    Operation *producer = cast.getInput().getDefiningOp();
    std::string name = nameOf(producer);
    auto data = RankedTensorType::get({int64_t(weight.bytes.size())}, IntegerType::get(&getContext(), 8));
    auto resource = DenseResourceElementsAttr::get(
        data, name, HeapAsmResourceBlob::allocateAndCopyWithAlign(weight.bytes, kAlignment, /*dataIsMutable=*/false));
    OpBuilder builder(&getContext());
    auto source = dq::SourceOp::create(builder, producer->getLoc(), name,
                                       RankedTensorType::get(type.getShape(), weight.element), resource);
    symbols.insert(source, getOperation().getBody()->begin());
    return source;
  }

  static constexpr size_t kAlignment = 64;
  llvm::DenseMap<Operation *, dq::SourceOp> sources;
};

} // namespace

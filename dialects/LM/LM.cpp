// Registration and verifiers of the `lm` dialect. The ids in the messages' comments are those of LMOps.td.
#include "dialects/LM/LM.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace quern::lm;

#include "dialects/LM/LMDialect.cpp.inc"
#include "dialects/LM/LMEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/LM/LMAttrs.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/LM/LMTypes.cpp.inc"
#define GET_OP_CLASSES
#include "dialects/LM/LMOps.cpp.inc"

void LMDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/LM/LMAttrs.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/LM/LMTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/LM/LMOps.cpp.inc"
      >();
}

LogicalResult CacheType::verify(llvm::function_ref<InFlightDiagnostic()> emitError, int64_t layers, int64_t kvHeads,
                                int64_t headDim) {
  if (layers < 1 || kvHeads < 1 || headDim < 1)
    return emitError() << "expected at least one layer, key-value head and element a head, got layers = " << layers
                       << ", kv_heads = " << kvHeads << ", head_dim = " << headDim;
  return success();
}

static int64_t width(Value rows) { return cast<RankedTensorType>(rows.getType()).getDimSize(1); }
static int64_t height(Value rows) { return cast<RankedTensorType>(rows.getType()).getDimSize(0); }

/// Reports that `what` should have `want` elements or columns.
static LogicalResult expectSize(Operation *op, StringRef what, int64_t want, int64_t got) {
  if (want == got)
    return success();
  return op->emitOpError() << "expected " << what << " of " << want << ", got " << got;
}

LogicalResult EmbeddingOp::verify() {
  if (failed(expectSize(*this, "a result width (E1)", width(getTable()), width(getOut()))))
    return failure();
  return expectSize(*this, "a number of result rows (E2)", height(getIds()), height(getOut()));
}

LogicalResult LinearOp::verify() {
  if (failed(expectSize(*this, "a weight width K (L1)", width(getX()), width(getWeight()))) ||
      failed(expectSize(*this, "a result width N (L2)", height(getWeight()), width(getOut()))) ||
      failed(expectSize(*this, "a number of result rows (L2)", height(getX()), height(getOut()))))
    return failure();
  if (getBias())
    return expectSize(*this, "a bias length (L3)", height(getWeight()), height(getBias()));
  return success();
}

static bool isPositive(const APFloat &value) { return value.isFinite() && !value.isNegative() && !value.isZero(); }

static bool isRowElement(Type type) {
  return type.isF32() || type.isBF16() || type.getDialect().getNamespace() == "dq";
}

LogicalResult RmsNormOp::verify() {
  int64_t row = width(getX()), gain = height(getGain());
  if (gain <= 0 || row % gain != 0)
    return emitOpError("expected a gain length that divides the row's (R1) ") << row << ", got " << gain;
  if (failed(expectSize(*this, "a result width (R2)", row, width(getOut()))))
    return failure();
  if (!isPositive(getEps()))
    return emitOpError("expected a positive eps (R3)");
  if (!isRowElement(getOut().getType().getElementType()))
    return emitOpError("expected result elements f32, bf16 or !dq.act8 (R4), got ")
           << getOut().getType().getElementType();
  if (gain != row && !getOut().getType().getElementType().isF32())
    return emitOpError("expected result elements f32 where heads are normalized (R4), got ")
           << getOut().getType().getElementType();
  return success();
}

LogicalResult RotaryAnglesOp::verify() {
  int64_t headDim = width(getOut());
  if (headDim <= 0 || headDim % 2 != 0)
    return emitOpError("expected an even head size (A1), got ") << headDim;
  if (!isPositive(getTheta()))
    return emitOpError("expected a positive theta (A2)");
  if (getFactors())
    return expectSize(*this, "a number of factors (A3)", headDim / 2, height(getFactors()));
  return success();
}

LogicalResult RotaryOp::verify() {
  if (width(getAngles()) <= 0 || width(getX()) % width(getAngles()) != 0)
    return emitOpError("expected a width that is a multiple of the head size (O1) ")
           << width(getAngles()) << ", got " << width(getX());
  return success();
}

void AttentionOp::build(OpBuilder &builder, OperationState &state, Value query, Value key, Value value,
                        Value positions, Value cache, int64_t layer, float scale) {
  build(builder, state, query.getType(), query, key, value, positions, cache, builder.getI64IntegerAttr(layer),
        builder.getF32FloatAttr(scale));
}

LogicalResult AttentionOp::verify() {
  CacheType cache = getCache().getType();
  int64_t keyWidth = cache.getKvHeads() * cache.getHeadDim();
  if (failed(expectSize(*this, "a key width (T1)", keyWidth, width(getKey()))) ||
      failed(expectSize(*this, "a value width (T1)", keyWidth, width(getValue()))) ||
      failed(expectSize(*this, "a result width (T1)", width(getQuery()), width(getOut()))))
    return failure();
  if (width(getQuery()) % keyWidth != 0)
    return emitOpError("expected a query width that is a multiple of the key width (T2) ")
           << keyWidth << ", got " << width(getQuery());
  if (int64_t layer = getLayer(); layer < 0 || layer >= cache.getLayers())
    return emitOpError("expected a layer below ") << cache.getLayers() << " (T3), got " << layer;
  return success();
}

LogicalResult SwigluOp::verify() {
  if (failed(expectSize(*this, "a width of up (S1)", width(getGate()), width(getUp()))))
    return failure();
  if (!isRowElement(getOut().getType().getElementType()))
    return emitOpError("expected result elements f32, bf16 or !dq.act8, got ") << getOut().getType().getElementType();
  return expectSize(*this, "a result width (S1)", width(getGate()), width(getOut()));
}

LogicalResult GatherColumnsOp::verify() {
  if (failed(expectSize(*this, "a result width (C1)", height(getColumns()), width(getOut()))))
    return failure();
  return expectSize(*this, "a number of result rows (C2)", height(getX()), height(getOut()));
}

LogicalResult GatherRowsOp::verify() {
  return expectSize(*this, "a result width (G1)", width(getX()), width(getOut()));
}

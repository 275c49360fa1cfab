// Verifiers and folds of the quantization dialect's ops. The ids in the messages are those of DQOps.td.
#include "dialects/DQ/DQ.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"

using namespace mlir;
using namespace quern::dq;

#include "dialects/DQ/DQEnums.cpp.inc"

static int64_t width(Value rows) { return cast<RankedTensorType>(rows.getType()).getDimSize(1); }
static int64_t height(Value rows) { return cast<RankedTensorType>(rows.getType()).getDimSize(0); }
static Type element(Value tensor) { return cast<RankedTensorType>(tensor.getType()).getElementType(); }

/// Bytes that a tensor of this type takes in a file, rows of whole blocks; -1 if its rows do not hold whole blocks.
static int64_t storedBytes(RankedTensorType type) {
  if (auto block = dyn_cast<BlockType>(type.getElementType())) {
    const quern::formats::FormatSpec &spec = block.getFormat().getSpec();
    int64_t k = type.getShape().back();
    return k % spec.block ? -1 : type.getNumElements() / spec.block * spec.bytes;
  }
  return type.getNumElements() * ((type.getElementTypeBitWidth() + 7) / 8);
}

void SourceOp::build(OpBuilder &builder, OperationState &state, StringRef name, RankedTensorType type, int64_t part,
                     int64_t offset, int64_t bytes) {
  build(builder, state, builder.getStringAttr(name), TypeAttr::get(type), nullptr, builder.getI64IntegerAttr(part),
        builder.getI64IntegerAttr(offset), builder.getI64IntegerAttr(bytes), nullptr, nullptr);
}

void SourceOp::build(OpBuilder &builder, OperationState &state, StringRef name, RankedTensorType type,
                     DenseResourceElementsAttr data) {
  build(builder, state, builder.getStringAttr(name), TypeAttr::get(type), nullptr, nullptr, nullptr, nullptr, data,
        nullptr);
}

RankedTensorType SourceOp::getStoredType() { return cast<RankedTensorType>(getStored().value_or(getType())); }

int64_t SourceOp::getTypeBytes() { return storedBytes(cast<RankedTensorType>(getType())); }

int64_t SourceOp::getByteSize() { return getData() ? getData()->getType().getNumElements() : int64_t(*getBytes()); }

quern::Result<std::span<const uint8_t>> SourceOp::readBytes(const SourceReader &file, int64_t first, int64_t count,
                                                            std::vector<std::byte> &room) {
  if (!getData())
    return file(int64_t(*getPart()), int64_t(*getOffset()) + first, count, room);
  AsmResourceBlob *blob = getData()->getRawHandle().getBlob();
  if (!blob || int64_t(blob->getData().size()) != getByteSize())
    return quern::fail("the resource '" + getData()->getRawHandle().getKey().str() + "' does not hold its " +
                       std::to_string(getByteSize()) + " bytes");
  return std::span(reinterpret_cast<const uint8_t *>(blob->getData().data()) + first, size_t(count));
}

static LogicalResult verifyImportance(SourceOp op) {
  if (!op.getImportance())
    return success();
  auto type = dyn_cast<RankedTensorType>(op.getImportance()->getType());
  if (!op.getStored() || !type || type.getRank() != 1 || !type.getElementType().isF32() ||
      type.getDimSize(0) != op.getStoredType().getDimSize(1))
    return op.emitOpError("expected importance of f32 for each column of a type after 'from' (S6), got ")
           << op.getImportance()->getType();
  return success();
}

LogicalResult SourceOp::verify() {
  auto type = cast<RankedTensorType>(getType());
  if (!type.hasStaticShape())
    return emitOpError("expected a type of static shape (S1), got ") << type;
  if (getData()) {
    auto data = dyn_cast<RankedTensorType>(getData()->getType());
    if (!data || data.getRank() != 1 || !data.getElementType().isSignlessInteger(8))
      return emitOpError("expected data of a vector of i8 (S4), got ") << getData()->getType();
  } else if (!getPart() || !getOffset() || !getBytes()) {
    return emitOpError("expected either part, offset and bytes, or data");
  }
  RankedTensorType stored = getStoredType();
  if (getStored() && (stored.getShape() != type.getShape() || type.getRank() != 2))
    return emitOpError("expected a matrix stored in the shape of ") << type << " (S5), got " << stored;
  for (RankedTensorType one : {type, stored})
    if (storedBytes(one) < 0)
      return emitOpError("expected rows of whole blocks (S3), got ") << one;
  if (storedBytes(stored) != getByteSize())
    return emitOpError("expected ") << storedBytes(stored) << " bytes for " << stored << " (S2), got "
                                    << getByteSize();
  return verifyImportance(*this);
}

LogicalResult WeightOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto source = symbols.lookupNearestSymbolFrom<SourceOp>(*this, getSourceAttr());
  if (!source)
    return emitOpError("expected ") << getSourceAttr() << " to name a dq.source (W1)";
  auto stored = cast<RankedTensorType>(source.getType());
  auto type = cast<RankedTensorType>(getOut().getType());
  if (stored.getShape() != type.getShape() || stored.getElementType() != type.getElementType()) {
    InFlightDiagnostic diagnostic = emitOpError("expected the source's type ") << stored << " (W1), got " << type;
    diagnostic.attachNote(source.getLoc()) << "the source is here";
    return diagnostic;
  }
  return success();
}

LogicalResult RelayoutOp::verify() {
  auto from = cast<RankedTensorType>(getWeight().getType()), to = cast<RankedTensorType>(getOut().getType());
  if (from.getShape() != to.getShape() || from.getElementType() != to.getElementType())
    return emitOpError("expected the operand's shape and elements (Y1), got ") << to << " from " << from;
  return success();
}

OpFoldResult RelayoutOp::fold(FoldAdaptor) {
  if (getWeight().getType() == getOut().getType())
    return getWeight();
  return {};
}

LogicalResult DequantizeOp::verify() {
  if (cast<RankedTensorType>(getIn().getType()).getShape() != getOut().getType().getShape())
    return emitOpError("expected the operand's shape (D1), got ") << getOut().getType();
  return success();
}

LogicalResult QuantizeOp::verify() {
  auto out = cast<RankedTensorType>(getOut().getType());
  if (out.getShape() != getX().getType().getShape())
    return emitOpError("expected the operand's shape (Q1), got ") << out;
  if (!isa<Act8Type>(out.getElementType()) && !out.getElementType().isBF16())
    return emitOpError("expected result elements !dq.act8 or bf16 (Q1), got ") << out.getElementType();
  return success();
}

/// Checks operands of each segment against x and the results.
static LogicalResult verifySegments(MatmulOp op) {
  bool gated = op.getActivation() == Activation::Swiglu;
  for (auto [index, weight] : llvm::enumerate(op.getWeights())) {
    if (width(weight) != width(op.getX()))
      return op.emitOpError("expected weight ") << index << " of width " << width(op.getX()) << " (M1), got "
                                                << weight.getType();
    if (!op.getBiases().empty() && height(op.getBiases()[index]) != height(weight))
      return op.emitOpError("expected bias ") << index << " of " << height(weight) << " elements (M2), got "
                                              << op.getBiases()[index].getType();
    if (isa<Act8Type>(element(op.getX())) != isa<BlockType>(element(weight)) ||
        element(op.getX()).isBF16() != element(weight).isBF16())
      return op.emitOpError("expected !dq.act8 rows for block formats, bf16 rows for bf16 and f32 rows for other "
                            "floats (M6), got ")
             << element(op.getX()) << " for weight " << index << " of " << element(weight);
    if (Value out = op.getOuts()[gated ? 0 : index]; width(out) != height(weight))
      return op.emitOpError("expected result ") << index << " of width " << height(weight) << " (M5), got "
                                                << out.getType();
  }
  return success();
}

LogicalResult MatmulOp::verify() {
  bool gated = getActivation() == Activation::Swiglu;
  size_t segments = getWeights().size();
  if (segments == 0)
    return emitOpError("expected at least one weight");
  if (!getBiases().empty() && getBiases().size() != segments)
    return emitOpError("expected none or one bias a segment (M2), got ") << getBiases().size();
  if (getResidual() && (segments != 1 || gated))
    return emitOpError("expected a residual only with one segment (M3)");
  if (gated && (segments != 2 || !getBiases().empty() || height(getWeights()[0]) != height(getWeights()[1])))
    return emitOpError("expected two segments of equal height and no bias with swiglu (M4)");
  if (getOuts().size() != (gated ? 1 : segments))
    return emitOpError("expected ") << (gated ? 1 : segments) << " results (M5), got " << getOuts().size();
  if (failed(verifySegments(*this)))
    return failure();
  if (getResidual() && getResidual().getType() != getOuts()[0].getType())
    return emitOpError("expected a residual of the result's type (M3), got ") << getResidual().getType();
  return success();
}

LogicalResult DotOp::verify() {
  if (getU().getType().getNumElements() != 4 * getAcc().getType().getNumElements())
    return emitOpError("expected four bytes a lane (D1), got ") << getU().getType() << " for " << getAcc().getType();
  int64_t bound = getCodesSigned() ? 128 : 255;
  if (getLargest() < 1 || getLargest() > bound)
    return emitOpError("expected a largest code of 1 to ") << bound << " (D2), got " << getLargest();
  return success();
}

LogicalResult LookupOp::verify() {
  if (getTable().size() != 16)
    return emitOpError("expected a table of 16 entries (K1), got ") << getTable().size();
  return success();
}

// The packer's plan: which weight lies where in the package, and in which layout.
#include "quern/Codegen/PackPlan.h"
#include "quern/Codegen/PanelLayout.h"
#include "quern/Codegen/Passes.h"

namespace quern::codegen {
#define GEN_PASS_DEF_PACKWEIGHTS
#include "lib/Codegen/Passes.h.inc"
} // namespace quern::codegen

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

/// The layout of that kind for an element type: of a block format, or of plain numbers.
template <typename Layout> static Result<Layout> getLayout(Type element) {
  if (auto block = dyn_cast<dq::BlockType>(element))
    return Layout::get(block.getFormat().getSpec());
  if (element.isF32() || element.isF16() || element.isBF16())
    return Layout::getFloat(element.getIntOrFloatBitWidth() / 8, element.isBF16());
  std::string name;
  llvm::raw_string_ostream(name) << element;
  return fail("weights of element type " + name + " have no layout that kernels read");
}

Result<PanelLayout> codegen::layoutFor(Type element) { return getLayout<PanelLayout>(element); }

Result<GpuLayout> codegen::gpuLayoutFor(Type element) { return getLayout<GpuLayout>(element); }

Result<int64_t> codegen::packedBytes(RankedTensorType type) {
  if (type.getRank() == 1)
    return (type.getDimSize(0) + 15) / 16 * 64;
  QUERN_ASSIGN(PanelLayout layout, layoutFor(type.getElementType()));
  return layout.bytes(type.getDimSize(0), type.getDimSize(1));
}

Result<int64_t> codegen::gpuPackedBytes(RankedTensorType type) {
  if (type.getRank() == 1)
    return type.getDimSize(0) * type.getElementTypeBitWidth() / 8;
  QUERN_ASSIGN(GpuLayout layout, gpuLayoutFor(type.getElementType()));
  return layout.bytes(type.getDimSize(0), type.getDimSize(1));
}

namespace {

struct PackWeights : codegen::impl::PackWeightsBase<PackWeights> {
  using PackWeightsBase::PackWeightsBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    if ((gpu && failed(refuseZeros(module))) || (!gpu && failed(usePanels(module))) || failed(foldRelayouts(module)))
      return signalPassFailure();
    llvm::DenseSet<StringAttr> summed = findSummed(module);
    llvm::DenseSet<StringAttr> used;
    std::optional<SymbolTable::UseRange> uses = SymbolTable::getSymbolUses(&module.getBodyRegion());
    for (SymbolTable::SymbolUse use : *uses)
      used.insert(use.getSymbolRef().getLeafReference());
    int64_t offset = 0;
    Builder builder(&getContext());
    for (auto source : llvm::make_early_inc_range(module.getOps<dq::SourceOp>())) {
      if (!used.contains(source.getSymNameAttr())) {
        source.erase();
        continue;
      }
      auto type = cast<RankedTensorType>(source.getType());
      auto bytes = gpu ? gpuPackedBytes(type) : packedBytes(type);
      if (!bytes) {
        source.emitError() << "weight '" << source.getSymName() << "' cannot be packed: " << bytes.error().message;
        return signalPassFailure();
      }
      if (summed.contains(source.getSymNameAttr())) {
        source->setAttr(kPackedSums, builder.getI64IntegerAttr(offset + *bytes)); // panels are whole lines
        *bytes += rowSumsBytes(type.getDimSize(0));
      }
      source->setAttr(kPackedOffset, builder.getI64IntegerAttr(offset));
      source->setAttr(kPackedBytes, builder.getI64IntegerAttr(*bytes));
      // Each weight starts on a page-friendly boundary of lines, so that panels are 64-byte aligned.
      int64_t alignment = gpu ? kGpuRegionBytes : kLineBytes;
      offset += (*bytes + alignment - 1) / alignment * alignment;
    }
  }

private:
  static bool hasZeros(Type type) {
    auto rows = dyn_cast<RankedTensorType>(type);
    auto quantized = rows ? dyn_cast<dq::Act8Type>(rows.getElementType()) : dq::Act8Type();
    return quantized && quantized.isRow();
  }

  static LogicalResult refuseZeros(ModuleOp module) {
    WalkResult result = module.walk([&](Operation *op) -> WalkResult {
      if (llvm::none_of(op->getResultTypes(), hasZeros))
        return WalkResult::advance();
      return op->emitError("has no GPU kernel: rows that are quantized with a zero point (!dq.act8<row>, of "
                           "DynamicQuantizeLinear) have kernels on CPUs only");
    });
    return failure(result.wasInterrupted());
  }

  /// Weights that rows with zero points are multiplied by.
  static llvm::DenseSet<StringAttr> findSummed(ModuleOp module) {
    llvm::DenseSet<StringAttr> summed;
    module.walk([&](dq::MatmulOp matmul) {
      if (hasZeros(matmul.getX().getType()))
        for (Value weight : matmul.getWeights())
          if (auto reference = weight.getDefiningOp<dq::WeightOp>())
            summed.insert(reference.getSourceAttr().getAttr());
    });
    return summed;
  }

  /// The type that packing gives a weight: panels for a matrix, a vector's own.
  RankedTensorType packedType(RankedTensorType type) {
    if (type.getRank() != 2)
      return RankedTensorType::get(type.getShape(), type.getElementType());
    return RankedTensorType::get(type.getShape(), type.getElementType(),
                                 dq::PanelsAttr::get(&getContext(), kPanelRows));
  }

  /// References to weights get the type that packing gives; one that asks for another layout is an error.
  LogicalResult usePanels(ModuleOp module) {
    WalkResult result = module.walk([&](dq::WeightOp weight) -> WalkResult {
      auto type = cast<RankedTensorType>(weight.getOut().getType()), packed = packedType(type);
      if (type.getEncoding() && type != packed)
        return weight.emitOpError("asks for ") << type << ", but packing gives " << packed;
      weight.getOut().setType(packed);
      return WalkResult::advance();
    });
    return failure(result.wasInterrupted());
  }

  /// Relayouts of packed weights fold away; nothing carries out another one. In order, so that chains fold whole.
  LogicalResult foldRelayouts(ModuleOp module) {
    WalkResult result = module.walk([&](dq::RelayoutOp relayout) -> WalkResult {
      Value weight = relayout.getWeight();
      if (!weight.getDefiningOp<dq::WeightOp>())
        return relayout.emitOpError("cannot be packed: its operand is no dq.weight");
      if (weight.getType() != relayout.getOut().getType())
        return relayout.emitOpError("asks for ") << relayout.getOut().getType() << ", but packing gives "
                                                  << weight.getType();
      relayout.replaceAllUsesWith(weight);
      relayout.erase();
      return WalkResult::skip();
    });
    return failure(result.wasInterrupted());
  }
};

} // namespace

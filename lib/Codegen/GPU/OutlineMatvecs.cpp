// Kernels for matmuls with few columns, each made once.
#include "Matvec.h"

#include "dialects/DQ/DQ.h"

namespace quern::codegen {
#define GEN_PASS_DEF_OUTLINEMATVECS
#include "lib/Codegen/GPU/Passes.h.inc"
} // namespace quern::codegen

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

namespace {

struct OutlineMatvecs : codegen::impl::OutlineMatvecsBase<OutlineMatvecs> {
  using OutlineMatvecsBase::OutlineMatvecsBase;

  void runOnOperation() override {
    auto found = findGpuTarget(targetName);
    if (!found) {
      getOperation().emitError() << found.error().message;
      return signalPassFailure();
    }
    OpBuilder builder = OpBuilder::atBlockEnd(getOperation().getBody());
    auto kernels = gpu::GPUModuleOp::create(builder, getOperation().getLoc(), "kernels");
    WalkResult result = getOperation().walk([&](dq::MatmulOp matmul) {
      return failed(outline(matmul, kernels, **found)) ? WalkResult::interrupt() : WalkResult::advance();
    });
    if (result.wasInterrupted())
      return signalPassFailure();
    if (kernels.getBody()->empty())
      kernels.erase();
  }

  static LogicalResult outline(dq::MatmulOp matmul, gpu::GPUModuleOp kernels, const GpuTarget &target) {
    auto x = cast<RankedTensorType>(matmul.getX().getType());
    if (!x.hasStaticShape() || x.getDimSize(0) < 1 || x.getDimSize(0) > Matvec::kMostColumns)
      return matmul.emitError("has no GPU kernel yet: expected 1 to ")
             << Matvec::kMostColumns << " rows of activations, known when compiling";
    if (matmul.getActivation() != dq::Activation::None)
      return matmul.emitError("has no GPU kernel yet: the epilogue is not known there");
    SmallVector<Attribute> names;
    for (Value weight : matmul.getWeights()) {
      auto type = cast<RankedTensorType>(weight.getType());
      auto block = dyn_cast<dq::BlockType>(type.getElementType());
      if (!block)
        return matmul.emitError("has no GPU kernel yet: expected weights of a block format, got ") << type;
      auto layout = GpuLayout::get(block.getFormat().getSpec());
      if (!layout)
        return matmul.emitError("has no GPU kernel yet: ") << layout.error().message;
      Matvec matvec{*layout,         block.getFormat().getSpec().name, type.getDimSize(0),        type.getDimSize(1),
                    x.getDimSize(0), !matmul.getBiases().empty(),      bool(matmul.getResidual())};
      if (!kernels.lookupSymbol(matvec.name()))
        emitMatvec(kernels, matvec, target);
      auto function = FlatSymbolRefAttr::get(matmul.getContext(), matvec.name());
      names.push_back(SymbolRefAttr::get(matmul.getContext(), kernels.getName(), function));
    }
    matmul->setAttr("gpu.kernels", ArrayAttr::get(matmul.getContext(), names));
    return success();
  }
};

} // namespace

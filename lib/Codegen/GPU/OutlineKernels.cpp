// Kernels for matmuls with few columns and for the quantization of what they read, each made once.
#include "LaunchLowering.h"
#include "Quantize.h"
#include "SplitRows.h"

#include "dialects/DQ/DQ.h"

namespace quern::codegen {
#define GEN_PASS_DEF_OUTLINEKERNELS
#include "lib/Codegen/GPU/Passes.h.inc"
} // namespace quern::codegen

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

namespace {

struct OutlineKernels : codegen::impl::OutlineKernelsBase<OutlineKernels> {
  using OutlineKernelsBase::OutlineKernelsBase;

  void runOnOperation() override {
    auto found = findGpuTarget(targetName);
    if (!found) {
      getOperation().emitError() << found.error().message;
      return signalPassFailure();
    }
    OpBuilder builder = OpBuilder::atBlockEnd(getOperation().getBody());
    auto kernels = gpu::GPUModuleOp::create(builder, getOperation().getLoc(), "kernels");
    WalkResult result = getOperation().walk([&](Operation *op) {
      LogicalResult done = success();
      if (auto matmul = dyn_cast<dq::MatmulOp>(op))
        done = outline(matmul, kernels, **found);
      if (auto quantize = dyn_cast<dq::QuantizeOp>(op))
        done = outline(quantize, kernels, **found);
      return failed(done) ? WalkResult::interrupt() : WalkResult::advance();
    });
    if (result.wasInterrupted())
      return signalPassFailure();
    if (kernels.getBody()->empty())
      kernels.erase();
  }

  static LogicalResult checkRows(Operation *op, RankedTensorType rows) {
    if (rows.hasStaticShape() && rows.getDimSize(0) >= 1 && rows.getDimSize(0) <= Matvec::kMostColumns)
      return success();
    return op->emitError("has no GPU kernel yet: expected 1 to ")
           << Matvec::kMostColumns << " rows of activations, known when compiling";
  }

  /// What the kernels write and read: a scale for each 32 k.
  static LogicalResult checkCodes(Operation *op, RankedTensorType rows) {
    auto type = dyn_cast<dq::Act8Type>(rows.getElementType());
    if (type && type.getGroup() == 32)
      return success();
    return op->emitError("has no GPU kernel yet: expected rows of !dq.act8<32>, got ") << rows;
  }

  static Attribute reference(gpu::GPUModuleOp kernels, StringRef name) {
    return SymbolRefAttr::get(kernels.getContext(), kernels.getName(),
                              FlatSymbolRefAttr::get(kernels.getContext(), name));
  }

  static LogicalResult outline(dq::QuantizeOp quantize, gpu::GPUModuleOp kernels, const GpuTarget &target) {
    auto x = cast<RankedTensorType>(quantize.getX().getType());
    if (failed(checkRows(quantize, x)))
      return failure();
    auto out = cast<RankedTensorType>(quantize.getOut().getType());
    if (failed(checkCodes(quantize, out)))
      return failure();
    std::string name = quantizeName(x.getDimSize(0), x.getDimSize(1));
    if (!kernels.lookupSymbol(name))
      emitQuantize(kernels, x.getDimSize(0), x.getDimSize(1), target);
    quantize->setAttr("gpu.kernels", ArrayAttr::get(quantize.getContext(), {reference(kernels, name)}));
    return success();
  }

  static LogicalResult outline(dq::MatmulOp matmul, gpu::GPUModuleOp kernels, const GpuTarget &target) {
    auto x = cast<RankedTensorType>(matmul.getX().getType());
    if (x.isDynamicDim(0) || x.getDimSize(0) > Matvec::kMostColumns)
      return outlinePrompt(matmul, kernels, target);
    Matvec matvec;
    matvec.width = x.getDimSize(1);
    matvec.columns = x.getDimSize(0);
    for (Value weight : matmul.getWeights()) {
      FailureOr<Matvec::Segment> segment = segmentOf(matmul, cast<RankedTensorType>(weight.getType()));
      if (failed(segment))
        return failure();
      matvec.segments.push_back(*segment);
    }
    if (matvec.takes() == RowKind::Act8 && failed(checkCodes(matmul, x)))
      return failure();
    matvec.swiglu = matmul.getActivation() == dq::Activation::Swiglu;
    matvec.bias = !matmul.getBiases().empty();
    matvec.residual = bool(matmul.getResidual());
    if (auto possible = matvec.check(); !possible)
      return matmul.emitError("has no GPU kernel: ") << possible.error().message;
    if (!kernels.lookupSymbol(matvec.name()))
      emitMatvec(kernels, matvec, target);
    auto names = ArrayAttr::get(matmul.getContext(), {reference(kernels, matvec.name())});
    matmul->setAttr("gpu.kernels", names);
    return success();
  }

  static LogicalResult outlinePrompt(dq::MatmulOp matmul, gpu::GPUModuleOp kernels, const GpuTarget &target) {
    auto x = cast<RankedTensorType>(matmul.getX().getType());
    auto prompt = promptOf(matmul, target);
    if (!prompt)
      return matmul.emitError("has no GPU kernel: ") << prompt.error().message;
    if (prompt->takes() == RowKind::Act8 && failed(checkCodes(matmul, x)))
      return failure();
    SmallVector<Attribute> made;
    if (SplitRows rows{x.getDimSize(1)}; prompt->splits()) {
      if (!kernels.lookupSymbol(rows.name()))
        emitSplitRows(kernels, rows);
      made.push_back(reference(kernels, rows.name()));
    }
    if (!kernels.lookupSymbol(prompt->name()))
      emitPromptMatmul(kernels, *prompt, target);
    made.push_back(reference(kernels, prompt->name()));
    matmul->setAttr("gpu.kernels", ArrayAttr::get(matmul.getContext(), made));
    return success();
  }

  static FailureOr<Matvec::Segment> segmentOf(dq::MatmulOp matmul, RankedTensorType type) {
    Type element = type.getElementType();
    auto block = dyn_cast<dq::BlockType>(element);
    if (!block)
      return matvecSegment(element.getIntOrFloatBitWidth() / 8, element.isBF16(), type.getDimSize(0));
    auto segment = matvecSegment(block.getFormat().getSpec(), type.getDimSize(0));
    if (!segment)
      return matmul.emitError("has no GPU kernel: ") << segment.error().message;
    return *segment;
  }
};

} // namespace

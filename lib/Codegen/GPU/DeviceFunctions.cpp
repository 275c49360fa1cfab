// The passes that upstream's way from `gpu` to `nvvm` lacks: reductions over a warp, and bodies for the functions it
// calls.
#include "quern/Codegen/GPU.h"

#include "mlir/Dialect/GPU/Transforms/Passes.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace quern::codegen {
#define GEN_PASS_DEF_ADDDEVICEFUNCTIONS
#define GEN_PASS_DEF_EXPANDSUBGROUPREDUCE
#include "lib/Codegen/GPU/Passes.h.inc"
} // namespace quern::codegen

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

namespace {

struct EmbeddedText {
  const char *name, *text;
};
constexpr EmbeddedText kFiles[] = {
#include "lib/Codegen/GPU/DeviceFunctions.inc"
};

struct AddDeviceFunctions : codegen::impl::AddDeviceFunctionsBase<AddDeviceFunctions> {
  void runOnOperation() override {
    OwningOpRef<ModuleOp> library = parseSourceString<ModuleOp>(kFiles[0].text, &getContext(), kFiles[0].name);
    if (!library)
      return signalPassFailure();
    SymbolTable known(*library);
    auto declarations = llvm::to_vector(getOperation().getOps<LLVM::LLVMFuncOp>());
    for (LLVM::LLVMFuncOp declaration : declarations) {
      if (!declaration.isExternal())
        continue;
      auto function = known.lookup<LLVM::LLVMFuncOp>(declaration.getName());
      if (!function || function.getFunctionType() != declaration.getFunctionType()) {
        declaration.emitError("no device function '")
            << declaration.getName() << "' of type " << declaration.getFunctionType();
        return signalPassFailure();
      }
      addBody(declaration, function);
    }
  }

  static void addBody(LLVM::LLVMFuncOp declaration, LLVM::LLVMFuncOp function) {
    IRMapping mapping;
    function.getBody().cloneInto(&declaration.getBody(), mapping);
    declaration.setLinkage(LLVM::Linkage::Internal);
    declaration.setAlwaysInline(true);
  }
};

struct ExpandSubgroupReduce : codegen::impl::ExpandSubgroupReduceBase<ExpandSubgroupReduce> {
  using ExpandSubgroupReduceBase::ExpandSubgroupReduceBase;

  /// What `convert-gpu-to-nvvm` makes one `redux.sync` of.
  bool isOneInstruction(gpu::SubgroupReduceOp op) const {
    using Operation = gpu::AllReduceOperation;
    constexpr Operation known[] = {Operation::ADD,   Operation::MINSI, Operation::MAXSI, Operation::MINUI,
                                   Operation::MAXUI, Operation::AND,   Operation::OR,    Operation::XOR};
    return hasRedux && op.getUniform() && !op.getClusterSize() && op.getType().isInteger(32) &&
           llvm::is_contained(known, op.getOp());
  }

  void runOnOperation() override {
    SmallVector<Operation *> expanded;
    getOperation().walk([&](gpu::SubgroupReduceOp op) {
      if (!isOneInstruction(op))
        expanded.push_back(op);
    });
    RewritePatternSet patterns(&getContext());
    populateGpuBreakDownSubgroupReducePatterns(patterns, /*maxShuffleBitwidth=*/32);
    populateGpuLowerSubgroupReduceToShufflePatterns(patterns, /*subgroupSize=*/32);
    populateGpuLowerClusteredSubgroupReduceToShufflePatterns(patterns, /*subgroupSize=*/32);
    auto config = GreedyRewriteConfig().setStrictness(GreedyRewriteStrictness::ExistingAndNewOps);
    if (failed(applyOpPatternsGreedily(expanded, std::move(patterns), config)))
      signalPassFailure();
  }
};

} // namespace

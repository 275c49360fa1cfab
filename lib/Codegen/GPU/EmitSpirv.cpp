// gpu dialect -> llvm dialect -> LLVM IR -> SPIR-V for OpenCL.
#include "WriteSpirv.h"
#include "lib/Codegen/Common/OptimizeModule.h"
#include "quern/Codegen/Spirv.h"

#include "mlir/Conversion/ConvertToLLVM/ToLLVMPass.h"
#include "mlir/Conversion/GPUToLLVMSPV/GPUToLLVMSPVPass.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/Module.h"
#include "llvm/TargetParser/Triple.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

// Shuffles, ids and barriers of `gpu` become calls of OpenCL's functions before loops become branches, since upstream
// declares those functions at the module's begin.
void codegen::buildLowerToSpirvPipeline(OpPassManager &pm) {
  OpPassManager &kernels = pm.nest<gpu::GPUModuleOp>();
  kernels.addPass(createExpandSubgroupReduce(ExpandSubgroupReduceOptions{/*hasRedux=*/false}));
  kernels.addPass(createPrepareForSpirv());
  kernels.addPass(createConvertVectorToSCFPass());
  kernels.addPass(memref::createExpandStridedMetadataPass());
  kernels.addPass(createLowerAffinePass());
  kernels.addPass(createConvertGpuOpsToLLVMSPVOps(ConvertGpuOpsToLLVMSPVOpsOptions{/*use64bitIndex=*/true}));
  kernels.addPass(createSCFToControlFlowPass());
  kernels.addPass(createConvertVectorToLLVMPass());
  kernels.addPass(createConvertToLLVMPass());
  kernels.addPass(createCanonicalizerPass());
  kernels.addPass(createCSEPass());
  kernels.addPass(createReconcileUnrealizedCastsPass());
}

/// A number that is cut and then widened to less than it had is masked instead: LLVM 22 forgets the first cut of
/// `zext (trunc i64 to i8) to i32`, and its SPIR-V is invalid.
static void maskCutNumbers(llvm::Function &function) {
  for (llvm::Instruction &instruction : llvm::make_early_inc_range(llvm::instructions(function))) {
    auto *widened = llvm::dyn_cast<llvm::ZExtInst>(&instruction);
    auto *cut = widened ? llvm::dyn_cast<llvm::TruncInst>(widened->getOperand(0)) : nullptr;
    if (!cut || cut->getSrcTy()->getScalarSizeInBits() <= widened->getType()->getScalarSizeInBits())
      continue;
    llvm::IRBuilder<> builder(widened);
    unsigned kept = cut->getType()->getScalarSizeInBits(), bits = widened->getType()->getScalarSizeInBits();
    llvm::Value *number = builder.CreateTrunc(cut->getOperand(0), widened->getType());
    llvm::Constant *mask = llvm::ConstantInt::get(widened->getType(), llvm::APInt::getLowBitsSet(bits, kept));
    widened->replaceAllUsesWith(builder.CreateAnd(number, mask));
    widened->eraseFromParent();
  }
}

/// One bit that chooses between vectors becomes a bit for each element, as SPIR-V wants it before version 1.4.
static void splatConditions(llvm::Function &function) {
  for (llvm::Instruction &instruction : llvm::instructions(function)) {
    auto *select = llvm::dyn_cast<llvm::SelectInst>(&instruction);
    auto *type = select ? llvm::dyn_cast<llvm::FixedVectorType>(select->getType()) : nullptr;
    if (!type || select->getCondition()->getType()->isVectorTy())
      continue;
    llvm::IRBuilder<> builder(select);
    select->setCondition(builder.CreateVectorSplat(type->getNumElements(), select->getCondition()));
  }
}

FailureOr<std::string> codegen::emitSpirv(ModuleOp module) {
  if (!llvm::hasSingleElement(module.getOps<gpu::GPUModuleOp>()))
    return module.emitError("expected a module with one gpu.module, got ")
           << llvm::range_size(module.getOps<gpu::GPUModuleOp>());
  PassManager pm(module->getContext());
  buildLowerToSpirvPipeline(pm);
  if (failed(pm.run(module)))
    return failure();
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> code = translateModuleToLLVMIR(*module.getOps<gpu::GPUModuleOp>().begin(), context);
  if (!code)
    return failure();
  llvm::Triple triple("spirv64v1.3-unknown-unknown");
  code->setTargetTriple(triple);
  code->setDataLayout(triple.computeDataLayout());
  optimizeModule(*code, nullptr, /*vectorize=*/false);
  for (llvm::Function &function : *code) {
    maskCutNumbers(function);
    splatConditions(function);
  }
  // Nothing is to be optimized anew: that would make cut numbers again.
  auto binary = writeSpirv(*code);
  if (!binary)
    return module.emitError("LLVM cannot write SPIR-V: ") << binary.error().message;
  return *std::move(binary);
}

FailureOr<std::string> codegen::emitDeviceCode(ModuleOp module, const GpuTarget &target) {
  return takesSpirv(target) ? emitSpirv(module) : emitPtx(module, target);
}

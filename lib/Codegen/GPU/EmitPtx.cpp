// gpu dialect -> nvvm dialect -> LLVM IR -> PTX, in process.
#include "quern/Codegen/GPU.h"

#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/MemRefToLLVM/MemRefToLLVM.h"
#include "mlir/Conversion/NVVMToLLVM/NVVMToLLVM.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVM.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/GPU/IR/CompilationInterfaces.h"
#include "mlir/Dialect/GPU/Transforms/Passes.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Dialect/NVGPU/IR/NVGPUDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVM/NVVM/Target.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/GPU/GPUToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/NVVM/NVVMToLLVMIRTranslation.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/Support/TargetSelect.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

// Loops become branches before `convert-nvgpu-to-nvvm`, which does not know loops that carry fragments of matrices.
void codegen::buildLowerToPtxPipeline(OpPassManager &pm, const GpuTarget &target) {
  OpPassManager &kernels = pm.nest<gpu::GPUModuleOp>();
  if (target.overlappingLaunches)
    kernels.addPass(createOverlapLaunches());
  kernels.addPass(createExpandSubgroupReduce(ExpandSubgroupReduceOptions{target.warpReductions}));
  kernels.addPass(createConvertVectorToSCFPass());
  kernels.addPass(memref::createExpandStridedMetadataPass());
  kernels.addPass(createLowerAffinePass());
  kernels.addPass(createSCFToControlFlowPass());
  kernels.addPass(createConvertNVGPUToNVVMPass());
  ConvertGpuOpsToNVVMOpsOptions options;
  options.useBarePtrCallConv = true;
  options.hasRedux = target.warpReductions;
  kernels.addPass(createConvertGpuOpsToNVVMOps(options));
  kernels.addPass(createCanonicalizerPass());
  kernels.addPass(createCSEPass());
  kernels.addPass(createReconcileUnrealizedCastsPass());
  kernels.addPass(createAddDeviceFunctions());
  GpuNVVMAttachTargetOptions attached;
  attached.chip = target.chip;
  attached.features = target.features;
  attached.optLevel = 3;
  pm.addPass(createGpuNVVMAttachTarget(attached));
}

void codegen::registerPtxDialects(DialectRegistry &registry) {
  registry.insert<affine::AffineDialect, arith::ArithDialect, cf::ControlFlowDialect, gpu::GPUDialect,
                  LLVM::LLVMDialect, math::MathDialect, memref::MemRefDialect, nvgpu::NVGPUDialect, NVVM::NVVMDialect,
                  scf::SCFDialect, vector::VectorDialect>();
  // `convert-gpu-to-nvvm` lowers these dialects too, by what they register.
  arith::registerConvertArithToLLVMInterface(registry);
  cf::registerConvertControlFlowToLLVMInterface(registry);
  registerConvertMathToLLVMInterface(registry);
  registerConvertMemRefToLLVMInterface(registry);
  registerConvertNVVMToLLVMInterface(registry);
  vector::registerConvertVectorToLLVMInterface(registry);
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
  registerGPUDialectTranslation(registry);
  registerNVVMDialectTranslation(registry);
  NVVM::registerNVVMTargetInterfaceExternalModels(registry);
}

/// The least compute capability that has this shape and these types (PTX ISA, mma).
static int leastOf(NVVM::MmaOp mma) {
  auto shape = mma.getShape();
  std::array<int64_t, 3> sizes = {shape.getM(), shape.getN(), shape.getK()};
  auto type = mma.getMultiplicandAPtxType().value_or(NVVM::MMATypes::f16);
  if (type >= NVVM::MMATypes::e4m3)
    return type <= NVVM::MMATypes::e5m2 ? 89 : 120;
  auto vector = dyn_cast<VectorType>(mma.getOperandA().front().getType());
  bool halves = vector && vector.getElementType().isF16();
  bool ands = mma.getB1Op() == NVVM::MMAB1Op::and_popc;
  constexpr std::array<int64_t, 3> halfOf75 = {16, 8, 8}, bytes = {8, 8, 16}, nibbles = {8, 8, 32}, bits = {8, 8, 128};
  bool older = halves ? sizes == halfOf75 || sizes[2] == 4 : sizes == bytes || sizes == nibbles || sizes == bits;
  return older && !ands ? 75 : 80;
}

/// The least compute capability of an op of the nvvm dialect, by the first of these that its name begins with, and of
/// what OverlapLaunches.h makes.
static int leastOf(Operation *op) {
  if (auto mma = dyn_cast<NVVM::MmaOp>(op))
    return leastOf(mma);
  if (auto text = dyn_cast<LLVM::InlineAsmOp>(op); text && text.getAsmString().starts_with("griddepcontrol"))
    return 90;
  constexpr std::pair<StringLiteral, int> table[] = {
      {"nvvm.cp.async.bulk", 90},    {"nvvm.cp.async", 80},      {"nvvm.mbarrier.try_wait", 90},
      {"nvvm.mbarrier", 80},         {"nvvm.mma.sp", 80},        {"nvvm.convert.float.to.tf32", 80},
      {"nvvm.stmatrix", 90},         {"nvvm.cluster.", 90},      {"nvvm.elect.sync", 90},
      {"nvvm.griddepcontrol", 90},   {"nvvm.st.bulk", 100},      {"nvvm.fence.proxy", 90},
      {"nvvm.fence.sc.cluster", 90}, {"nvvm.fence.mbarrier", 90}};
  for (auto [prefix, least] : table)
    if (op->getName().getStringRef().starts_with(prefix))
      return least;
  return 0;
}

/// LLVM ends the process where a target has no instruction for an op. Upstream's verifiers refuse those ops that say
/// what they need (`NVVM::RequiresSMInterface`); others that kernels may come to use are refused here.
static LogicalResult checkInstructions(ModuleOp module, const GpuTarget &target) {
  int capability = 0;
  StringRef(target.chip).drop_front(3).getAsInteger(10, capability);
  WalkResult result = module.walk([&](Operation *op) {
    int least = leastOf(op);
    if (least <= capability)
      return WalkResult::advance();
    op->emitOpError() << "needs sm_" << least << " or later; the target is " << target.chip;
    return WalkResult::interrupt();
  });
  return failure(result.wasInterrupted());
}

static void initializeNvptx() {
  static bool once = [] {
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
    return true;
  }();
  (void)once;
}

FailureOr<std::string> codegen::emitPtx(ModuleOp module, const GpuTarget &target) {
  if (!llvm::hasSingleElement(module.getOps<gpu::GPUModuleOp>()))
    return module.emitError("expected a module with one gpu.module, got ")
           << llvm::range_size(module.getOps<gpu::GPUModuleOp>());
  if (!StringRef(target.chip).starts_with("sm_"))
    return module.emitError("there is no PTX for the target '") << target.chip << "'";
  PassManager pm(module->getContext());
  buildLowerToPtxPipeline(pm, target);
  if (failed(pm.run(module)) || failed(checkInstructions(module, target)))
    return failure();
  initializeNvptx();
  gpu::TargetOptions options({}, {}, {}, {}, gpu::CompilationTarget::Assembly);
  if (failed(gpu::transformGpuModulesToBinaries(module, nullptr, options)))
    return failure();
  for (gpu::BinaryOp binary : module.getOps<gpu::BinaryOp>())
    for (Attribute object : binary.getObjects())
      return cast<gpu::ObjectAttr>(object).getObject().getValue().rtrim('\0').str();
  return module.emitError("the gpu.module became no PTX");
}

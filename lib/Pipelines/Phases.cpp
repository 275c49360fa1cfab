#include "quern/Pipelines/Phases.h"
#include "quern/Codegen/Image.h"
#include "quern/Codegen/Passes.h"
#include "quern/Transforms/Passes.h"

#include "mlir/Transforms/Passes.h"

using namespace quern;
using namespace quern::pipelines;

const std::vector<std::string> &pipelines::phaseNames() {
  static const std::vector<std::string> names = {"onnx", "raise", "import",  "quantize",
                                                 "pack", "plan",  "kernels", "llvm"};
  return names;
}

void pipelines::buildQuantizePipeline(mlir::OpPassManager &pm) {
  pm.addPass(transforms::createConvertQuant());
  pm.addPass(transforms::createFuseDequantMatmul());
  pm.addPass(mlir::createCSEPass());
  pm.addPass(transforms::createFuseNormQuantize());
  pm.addPass(mlir::createCSEPass());
  pm.addPass(transforms::createMergeMatmuls());
  pm.addPass(transforms::createFuseEpilogue());
  pm.addPass(mlir::createCanonicalizerPass());
}

void pipelines::buildPackPipeline(mlir::OpPassManager &pm) { pm.addPass(codegen::createPackWeights()); }

void pipelines::buildPlanPipeline(mlir::OpPassManager &pm) { pm.addPass(codegen::createPlanMemory()); }

void pipelines::buildKernelsPipeline(mlir::OpPassManager &pm, const codegen::Target &target) {
  pm.addPass(codegen::createLowerToKernels({.targetName = target.name, .profiled = true}));
  pm.addPass(codegen::createAddProbes({.targetName = target.name}));
}

void pipelines::buildLLVMPipeline(mlir::OpPassManager &pm, const codegen::Target &target) {
  codegen::buildLowerToLLVMPipeline(pm, target);
}

void pipelines::buildDevicePackPipeline(mlir::OpPassManager &pm) {
  pm.addPass(codegen::createPackWeights({.gpu = true}));
}

void pipelines::buildDevicePlanPipeline(mlir::OpPassManager &pm) {
  pm.addPass(codegen::createGroupOps());
  pm.addPass(codegen::createPlanMemory({.gpu = true}));
}

void pipelines::buildLaunchesPipeline(mlir::OpPassManager &pm, const codegen::GpuTarget &target, int64_t tokens) {
  pm.addPass(codegen::createLowerToLaunches({.targetName = target.chip, .tokens = tokens}));
}

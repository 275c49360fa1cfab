// Kernels that are emitted by a function of lib/Codegen/GPU, as PTX or SPIR-V.
#ifndef QUERN_TEST_UNIT_GPU_EMITKERNELS_H
#define QUERN_TEST_UNIT_GPU_EMITKERNELS_H

#include "test/unit/GPU/CompileKernels.h"

#include <random>

namespace quern {

/// The code of a module in which `emit(module, target)` made the kernels.
inline std::string emitCode(const std::string &chip,
                            llvm::function_ref<void(mlir::gpu::GPUModuleOp, const codegen::GpuTarget &)> emit) {
  mlir::DialectRegistry registry;
  codegen::registerPtxDialects(registry);
  mlir::MLIRContext context(registry);
  context.loadAllAvailableDialects();
  mlir::OpBuilder builder(&context);
  mlir::OwningOpRef<mlir::ModuleOp> module = mlir::ModuleOp::create(builder.getUnknownLoc());
  builder.setInsertionPointToEnd(module->getBody());
  auto kernels = mlir::gpu::GPUModuleOp::create(builder, builder.getUnknownLoc(), "kernels");
  auto target = codegen::findGpuTarget(chip);
  EXPECT_TRUE(target);
  emit(kernels, **target);
  auto code = codegen::emitDeviceCode(*module, **target);
  EXPECT_TRUE(mlir::succeeded(code));
  return mlir::succeeded(code) ? *code : "";
}

inline std::vector<float> normalFloats(size_t count, uint32_t seed, float scale = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> made(count);
  for (float &value : made)
    value = normal(random);
  return made;
}

/// The PTX without each of the lines that hold `what`, of which there is one at least.
inline std::vector<std::string> withoutEach(const std::string &ptx, const std::string &what) {
  std::vector<std::string> made;
  for (size_t at = ptx.find(what); at != std::string::npos; at = ptx.find(what, at + 1))
    made.push_back(ptx.substr(0, ptx.rfind('\n', at)) + ptx.substr(ptx.find('\n', at)));
  EXPECT_FALSE(made.empty()) << what;
  return made;
}

} // namespace quern

#endif // QUERN_TEST_UNIT_GPU_EMITKERNELS_H

// Ops of the dq dialect compiled to PTX or SPIR-V, with the size of each kernel's grid.
#ifndef QUERN_TEST_UNIT_GPU_COMPILEOPS_H
#define QUERN_TEST_UNIT_GPU_COMPILEOPS_H

#include "test/unit/GPU/CompileKernels.h"

#include "dialects/DQ/DQ.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/PassManager.h"

#include <map>

namespace quern {

struct CompiledOps {
  std::string code;
  std::map<std::string, uint32_t> blocks; ///< of each kernel's grid
};

inline CompiledOps compileOps(const std::string &text, const std::string &chip) {
  mlir::DialectRegistry registry;
  codegen::registerPtxDialects(registry);
  registry.insert<dq::DQDialect, mlir::func::FuncDialect>();
  mlir::MLIRContext context(registry);
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  EXPECT_TRUE(module) << text;
  mlir::PassManager pm(&context);
  codegen::OutlineKernelsOptions options;
  options.targetName = chip;
  pm.addPass(codegen::createOutlineKernels(options));
  EXPECT_TRUE(mlir::succeeded(pm.run(*module)));
  CompiledOps compiled;
  module->walk([&](mlir::gpu::GPUFuncOp kernel) {
    compiled.blocks[kernel.getName().str()] = uint32_t(kernel.getKnownGridSize()->front());
  });
  auto code = codegen::emitDeviceCode(*module, **codegen::findGpuTarget(chip));
  EXPECT_TRUE(mlir::succeeded(code));
  compiled.code = mlir::succeeded(code) ? *code : "";
  return compiled;
}

} // namespace quern

#endif // QUERN_TEST_UNIT_GPU_COMPILEOPS_H

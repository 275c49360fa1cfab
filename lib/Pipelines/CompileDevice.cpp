// The way of a language model to GPUs, from the quantized graph on: one pack and one memory plan for all of them, then
// for each target launches, kernels and their code.
#include "Assembler.h"
#include "Compilation.h"
#include "Targets.h"
#include "quern/Codegen/DeviceCode.h"
#include "quern/Codegen/Spirv.h"
#include "quern/Pipelines/Phases.h"

#include "mlir/Pass/PassManager.h"

using namespace quern;
using namespace quern::pipelines;

Result<bool> Compilation::planDevices() {
  mlir::DialectRegistry registry;
  codegen::registerPtxDialects(registry);
  context.appendDialectRegistry(registry);
  deviceModule = mlir::cast<mlir::ModuleOp>((*module)->clone());
  auto tables = codegen::makeRotaryTables(*deviceModule, import::sourceReader(*file), config.contextLength);
  if (!tables)
    return fail("'" + options.input + "': " + tables.error().message);
  QUERN_TRY(phases.run(*deviceModule, buildDevicePackPipeline));
  QUERN_ASSIGN(bool stop, phases.endPhase("pack", *deviceModule, "gpu"));
  if (stop)
    return false;
  QUERN_TRY(phases.run(*deviceModule, buildDevicePlanPipeline));
  QUERN_ASSIGN(stop, phases.endPhase("plan", *deviceModule, "gpu"));
  return !stop;
}

/// A package does without machine code too, so that an assembler which nobody asked for fails with a warning alone.
Result<std::map<std::string, std::string>> Compilation::makeMachineCode(const DeviceTarget &target,
                                                                        const std::string &ptx) const {
  std::map<std::string, std::string> out;
  if (assembler.empty())
    return out;
  for (const std::string &capability : target.capabilities) {
    auto made = assemble(assembler, ptx, capability);
    if (made)
      out[capability] = *std::move(made);
    else if (!options.ptxas.empty())
      return tl::unexpected(std::move(made).error());
    else if (options.warning)
      options.warning(made.error().message + "; the package holds PTX alone, which drivers compile at each opening");
  }
  return out;
}

Result<bool> Compilation::emitDevice(const DeviceTarget &chosen) {
  const codegen::GpuTarget &target = *chosen.code;
  mlir::OwningOpRef<mlir::ModuleOp> code(mlir::cast<mlir::ModuleOp>((*deviceModule)->clone()));
  QUERN_TRY(phases.run(*code, [&](mlir::OpPassManager &pm) { buildLaunchesPipeline(pm, target, tokenizer.realTokens); }));
  QUERN_ASSIGN(bool stop, phases.endPhase("kernels", *code, deviceName(target)));
  if (stop)
    return false;
  EmittedDevice result{&target, {}, {}, {}};
  QUERN_TRY(phases.collect(
      [&] {
        auto program = codegen::translateToProgram(*code);
        if (mlir::failed(program))
          return mlir::failure();
        result.program = std::move(*program);
        return mlir::success();
      },
      "the launches make up no program"));
  QUERN_TRY(phases.collect(
      [&] {
        auto text = codegen::emitDeviceCode(*code, target);
        if (mlir::failed(text))
          return mlir::failure();
        result.code = std::move(*text);
        return mlir::success();
      },
      "the kernels became no code"));
  QUERN_ASSIGN(stop,
               phases.endPhase("llvm", result.code, deviceName(target), codegen::takesSpirv(target) ? ".spv" : ".ptx"));
  if (stop)
    return false;
  QUERN_ASSIGN(result.machineCode, makeMachineCode(chosen, result.code));
  devices.push_back(std::move(result));
  return true;
}

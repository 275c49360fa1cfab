// LLVM dialect -> LLVM IR -> object code, in process.
#include "lib/Codegen/Common/OptimizeModule.h"
#include "quern/Codegen/Image.h"
#include "quern/Codegen/Passes.h"

#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/FuncToLLVM/ConvertFuncToLLVMPass.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVMPass.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/CodeGen/CodeGenTargetMachineImpl.h"
#include "llvm/CodeGen/MachineModuleInfo.h"
#include "llvm/CodeGen/Passes.h"
#include "llvm/CodeGen/TargetPassConfig.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Target/TargetOptions.h"

using namespace quern;
using namespace quern::codegen;

void codegen::buildLowerToLLVMPipeline(mlir::OpPassManager &pm, const Target &target) {
  pm.addPass(mlir::createCanonicalizerPass());
  pm.addPass(mlir::createCSEPass());
  pm.addPass(createLowerTargetOps({.targetName = target.name}));
  pm.addPass(mlir::createCSEPass());
  pm.addPass(mlir::createSCFToControlFlowPass());
  pm.addPass(mlir::createConvertVectorToLLVMPass());
  pm.addPass(mlir::createConvertMathToLLVMPass());
  pm.addPass(mlir::createArithToLLVMConversionPass());
  pm.addPass(mlir::createConvertControlFlowToLLVMPass());
  pm.addPass(mlir::createConvertFuncToLLVMPass());
  pm.addPass(mlir::createReconcileUnrealizedCastsPass());
}

static void initializeX86() {
  static bool once = [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    return true;
  }();
  (void)once;
}

/// Builds the code generation pipeline by hand, to leave out two schedulers. Kernels are emitted in the order that they
/// should run in. The scheduler before register allocation would hold the sums of many tokens at once, and spill; the
/// one after it would gather the prefetches of a loop body into one burst (docs/performance.md).
static Status generate(llvm::Module &module, llvm::TargetMachine &machine, llvm::raw_pwrite_stream &out) {
  auto &target = static_cast<llvm::CodeGenTargetMachineImpl &>(machine);
  llvm::legacy::PassManager passes;
  auto *info = new llvm::MachineModuleInfoWrapperPass(&machine);
  llvm::TargetPassConfig *config = target.createPassConfig(passes);
  config->setDisableVerify(true);
  config->disablePass(&llvm::MachineSchedulerID);
  config->disablePass(&llvm::PostRASchedulerID);
  passes.add(config);
  passes.add(info);
  if (config->addISelPasses())
    return fail("LLVM cannot select instructions for this target");
  config->addMachinePasses();
  config->setInitialized();
  if (target.addAsmPrinter(passes, out, nullptr, llvm::CodeGenFileType::ObjectFile, info->getMMI().getContext()))
    return fail("LLVM cannot write object code for this target");
  passes.add(llvm::createFreeMachineFunctionPass());
  passes.run(module);
  return {};
}

Result<std::vector<char>> codegen::emitObject(mlir::ModuleOp module, const Target &target, bool vectorize) {
  initializeX86();
  mlir::registerBuiltinDialectTranslation(*module.getContext());
  mlir::registerLLVMDialectTranslation(*module.getContext());
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> code = mlir::translateModuleToLLVMIR(module, context, "quern");
  if (!code)
    return fail("the kernels could not be translated to LLVM IR; see the diagnostics above");

  llvm::Triple triple(target.triple);
  std::string message;
  const llvm::Target *backend = llvm::TargetRegistry::lookupTarget(triple, message);
  if (!backend)
    return fail("LLVM has no code generator for " + target.triple + ": " + message);
  std::unique_ptr<llvm::TargetMachine> machine(
      backend->createTargetMachine(triple, target.cpu, target.features, llvm::TargetOptions(), llvm::Reloc::PIC_,
                                   llvm::CodeModel::Small, llvm::CodeGenOptLevel::Aggressive));
  if (!machine)
    return fail("LLVM cannot make code for " + target.name);
  code->setTargetTriple(triple);
  code->setDataLayout(machine->createDataLayout());
  optimizeModule(*code, machine.get(), vectorize);

  llvm::SmallVector<char, 0> object;
  llvm::raw_svector_ostream out(object);
  QUERN_TRY(generate(*code, *machine, out));
  return std::vector<char>(object.begin(), object.end());
}

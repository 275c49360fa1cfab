// LLVM's optimization of what kernels have become, for every back end.
#ifndef QUERN_LIB_CODEGEN_COMMON_OPTIMIZEMODULE_H
#define QUERN_LIB_CODEGEN_COMMON_OPTIMIZEMODULE_H

#include "llvm/IR/Module.h"
#include "llvm/Target/TargetMachine.h"

namespace quern::codegen {

/// The usual scalar clean-up; loops become vectors only where asked for, and stay loops. None may become a call of
/// memset or memcpy. `machine` may be null.
void optimizeModule(llvm::Module &module, llvm::TargetMachine *machine, bool vectorize);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_COMMON_OPTIMIZEMODULE_H

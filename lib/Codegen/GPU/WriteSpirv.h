// LLVM IR to SPIR-V.
#ifndef QUERN_LIB_CODEGEN_GPU_WRITESPIRV_H
#define QUERN_LIB_CODEGEN_GPU_WRITESPIRV_H

#include "quern/Support/Result.h"

#include "llvm/IR/Module.h"

namespace quern::codegen {

/// The SPIR-V module, as bytes, of the target that `module` names. Nothing is optimized.
Result<std::string> writeSpirv(llvm::Module &module);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_WRITESPIRV_H

// Makes each kernel once, named by what it is made for, when first asked for.
#ifndef QUERN_LIB_CODEGEN_CPU_KERNELLIBRARY_H
#define QUERN_LIB_CODEGEN_CPU_KERNELLIBRARY_H

#include "Kernels.h"

#include "llvm/ADT/StringMap.h"

namespace quern::codegen {

class KernelLibrary {
public:
  KernelLibrary(mlir::ModuleOp module, const Target &target) : module(module), target(target) {}

  mlir::func::FuncOp get(const std::string &name, llvm::function_ref<mlir::func::FuncOp(llvm::StringRef)> emit) {
    mlir::func::FuncOp &kernel = kernels[name];
    if (!kernel)
      kernel = emit(name);
    return kernel;
  }
  mlir::func::FuncOp matmul(const PanelLayout &layout, Epilogue epilogue, bool zeros) {
    std::string suffix = zeros ? "_zeros" : "";
    return get("matmul_" + layout.family() + "_" + epilogueName(epilogue).str() + suffix, [&](llvm::StringRef name) {
      return emitMatmul(module, name, layout, epilogue, zeros, target);
    });
  }
  mlir::func::FuncOp embedding(const PanelLayout &layout) {
    return get("embedding_" + layout.family(),
               [&](llvm::StringRef name) { return emitEmbedding(module, name, layout); });
  }

  mlir::ModuleOp module;
  const Target &target;

private:
  llvm::StringMap<mlir::func::FuncOp> kernels;
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_CPU_KERNELLIBRARY_H

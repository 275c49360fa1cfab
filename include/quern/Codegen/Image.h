// From a module of kernels to a code image: LLVM IR, object code, and a flat, position-independent blob that a runtime
// maps and calls, with neither relocations nor undefined symbols.
#ifndef QUERN_CODEGEN_IMAGE_H
#define QUERN_CODEGEN_IMAGE_H

#include "quern/Codegen/Target.h"

#include "mlir/IR/BuiltinOps.h"

#include <map>

namespace mlir {
class OpPassManager;
}

namespace quern::codegen {

/// Bytes to map readable and executable at any page-aligned address, and where each entry point starts in them.
struct CodeImage {
  std::vector<uint8_t> bytes;
  std::map<std::string, int64_t> entries;
  /// Every function of the image, for those who look inside.
  struct Kernel {
    std::string name;
    int64_t offset, bytes;
  };
  std::vector<Kernel> kernels; ///< in the order of their offsets
};

/// Lowers kernels (func, scf, vector, arith, math and llvm ops, and the `dq` ops of kernels) to the llvm dialect.
/// Afterwards the module holds llvm ops only.
void buildLowerToLLVMPipeline(mlir::OpPassManager &pm, const Target &target);

/// Object code of a module of llvm ops. `vectorize`: loops are scalar still, and LLVM shall vectorize them; it keeps
/// the order of every sum.
Result<std::vector<char>> emitObject(mlir::ModuleOp module, const Target &target, bool vectorize = false);

/// Links an object into an image; public functions are its entries. Fails if a symbol is undefined or a relocation
/// would be left, naming it: then a kernel calls a library function.
Result<CodeImage> linkImage(const std::vector<char> &object);

} // namespace quern::codegen

#endif // QUERN_CODEGEN_IMAGE_H

// The frame that kernels over rows share.
#ifndef QUERN_LIB_CODEGEN_CPU_KERNELBODY_H
#define QUERN_LIB_CODEGEN_CPU_KERNELBODY_H

#include "lib/Codegen/Common/Emitter.h"

namespace quern::codegen {

/// A kernel under construction: the function, an emitter in its body, and its arguments in order.
struct KernelBody {
  mlir::func::FuncOp function;
  Emitter e;
  llvm::SmallVector<mlir::Value> args;

  /// `signature` has a letter an argument: p pointer, i size or stride.
  KernelBody(mlir::ModuleOp module, llvm::StringRef name, llvm::StringRef signature)
      : e(module.getLoc(), module.getContext()) {
    llvm::SmallVector<mlir::Type> types;
    for (char kind : signature)
      types.push_back(kind == 'p' ? e.ptr() : mlir::Type(e.getI64Type()));
    function = beginKernel(module, name, types);
    e.setInsertionPointToEnd(&function.getBody().front());
    args.append(function.getArguments().begin(), function.getArguments().end());
  }

  mlir::func::FuncOp finish() {
    mlir::func::ReturnOp::create(e);
    return function;
  }

  /// Runs `body` for each of this thread's share of `rows`.
  void forRows(mlir::Value rows, llvm::function_ref<void(mlir::Value)> body) {
    auto [first, last] = e.share(args[0], rows);
    e.loop(first, last, e.i64(1), body);
  }

  mlir::Value row(mlir::Value base, mlir::Value index, mlir::Value stride) { return e.at(base, e.mul(index, stride)); }

  /// Elements of a row as stored: n rounded up to 16.
  mlir::Value padded(mlir::Value n) { return e.mul(e.div(e.add(n, 15), 16), 16); }

  /// Runs `body(byte offset)` for each vector of 16 of a row of n elements.
  void forVectors(mlir::Value n, llvm::function_ref<void(mlir::Value)> body) {
    e.loop(e.i64(0), e.mul(padded(n), 4), e.i64(64), body);
  }
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_CPU_KERNELBODY_H

#include "EmitKernel.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

gpu::GPUFuncOp codegen::emitKernel(gpu::GPUModuleOp module, const KernelFrame &frame,
                                   llvm::function_ref<void(Emitter &, ValueRange)> emit) {
  Emitter e(module.getLoc(), module.getContext());
  e.setInsertionPointToEnd(module.getBody());
  SmallVector<Type> types(frame.pointers, e.ptr());
  auto function = gpu::GPUFuncOp::create(e, frame.name, e.getFunctionType(types, {}));
  function->setAttr(gpu::GPUDialect::getKernelFuncAttrName(), e.getUnitAttr());
  function.setKnownBlockSize(ArrayRef<int32_t>{int32_t(32 * frame.warps), 1, 1});
  function.setKnownGridSize(ArrayRef<int32_t>{int32_t(frame.blocks), 1, 1});
  e.setInsertionPointToStart(&function.getBody().front());
  emit(e, function.getArguments().take_front(frame.pointers));
  gpu::ReturnOp::create(e);
  return function;
}

static Value asInteger(Emitter &e, Value index) { return arith::IndexCastOp::create(e, e.getI64Type(), index); }

Value codegen::threadIndex(Emitter &e) { return asInteger(e, gpu::ThreadIdOp::create(e, gpu::Dimension::x)); }

Value codegen::blockIndex(Emitter &e) { return asInteger(e, gpu::BlockIdOp::create(e, gpu::Dimension::x)); }

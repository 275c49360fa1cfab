#include "EmitKernel.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

gpu::GPUFuncOp codegen::emitKernel(gpu::GPUModuleOp module, const KernelFrame &frame,
                                   llvm::function_ref<void(Emitter &, ValueRange)> emit) {
  Emitter e(module.getLoc(), module.getContext());
  e.setInsertionPointToEnd(module.getBody());
  SmallVector<Type> types(frame.pointers, e.ptr());
  types.append(frame.numbers, e.getI64Type());
  auto function = gpu::GPUFuncOp::create(e, frame.name, e.getFunctionType(types, {}));
  function->setAttr(gpu::GPUDialect::getKernelFuncAttrName(), e.getUnitAttr());
  function.setKnownBlockSize(ArrayRef<int32_t>{int32_t(32 * frame.warps), 1, 1});
  if (frame.blocks)
    function.setKnownGridSize(ArrayRef<int32_t>{int32_t(frame.blocks), 1, 1});
  e.setInsertionPointToStart(&function.getBody().front());
  emit(e, function.getArguments().take_front(types.size()));
  gpu::ReturnOp::create(e);
  return function;
}

static Value asInteger(Emitter &e, Value index) { return arith::IndexCastOp::create(e, e.getI64Type(), index); }

Value codegen::threadIndex(Emitter &e) { return asInteger(e, gpu::ThreadIdOp::create(e, gpu::Dimension::x)); }

Value codegen::blockIndex(Emitter &e, gpu::Dimension dimension) {
  return asInteger(e, gpu::BlockIdOp::create(e, dimension));
}

Value codegen::loadIndex(Emitter &e, Value array, Value t) {
  return arith::ExtSIOp::create(e, e.getI64Type(), e.load(e.getI32Type(), e.at(array, e.mul(t, 4)), 4));
}

Value codegen::sharedMemory(Emitter &e, const std::string &what, int64_t bytes) {
  auto kernel = e.getInsertionBlock()->getParentOp()->getParentOfType<gpu::GPUFuncOp>();
  if (!kernel)
    kernel = cast<gpu::GPUFuncOp>(e.getInsertionBlock()->getParentOp());
  constexpr unsigned kWorkgroup = 3; // the address space, for NVIDIA's targets and for SPIR-V
  std::string name = (kernel.getName() + "_" + what).str();
  {
    OpBuilder::InsertionGuard guard(e);
    e.setInsertionPoint(kernel);
    auto type = LLVM::LLVMArrayType::get(e.getI8Type(), unsigned(bytes));
    LLVM::GlobalOp::create(e, type, /*isConstant=*/false, LLVM::Linkage::Internal, name, /*value=*/Attribute(),
                           /*alignment=*/16, kWorkgroup);
  }
  return LLVM::AddressOfOp::create(e, LLVM::LLVMPointerType::get(e.getContext(), kWorkgroup), name);
}

void codegen::blockBarrier(Emitter &e) { gpu::BarrierOp::create(e); }

/// One lane counts for all: barriers of the warp order what the others do before and after it, and fences are
/// cumulative (PTX ISA, Memory Consistency Model, causality order).
Value codegen::isLastWarp(Emitter &e, Value counter, Value lane, Value count) {
  auto warpBarrier = [&] { NVVM::SyncWarpOp::create(e, e.number(e.getI32Type(), -1)); };
  auto fence = [&] { LLVM::FenceOp::create(e, LLVM::AtomicOrdering::acq_rel, "device"); };
  Value most = arith::TruncIOp::create(e, e.getI32Type(), e.add(count, -1));
  auto countIn = [&]() -> Emitter::Values {
    fence();
    Value before = LLVM::AtomicRMWOp::create(e, LLVM::AtomicBinOp::uinc_wrap, counter, most,
                                             LLVM::AtomicOrdering::monotonic, "device");
    fence();
    return {before};
  };
  warpBarrier();
  Value isFirst = arith::CmpIOp::create(e, arith::CmpIPredicate::eq, lane, e.i64(0)),
        zero = e.number(most.getType(), 0);
  Value before = e.ifElse(isFirst, countIn, [&] { return Emitter::Values{zero}; }).front();
  warpBarrier();
  return arith::CmpIOp::create(e, arith::CmpIPredicate::eq, fromLane(e, before, zero), most);
}

Value codegen::reduceLanes(Emitter &e, Value value, gpu::AllReduceOperation operation, uint32_t lanes) {
  return gpu::SubgroupReduceOp::create(e, value, operation, /*uniform=*/lanes == 32,
                                       lanes < 32 ? std::optional(lanes) : std::nullopt);
}

Value codegen::reduceBlock(Emitter &e, Value value, gpu::AllReduceOperation operation, int64_t warps) {
  Value ofWarp = reduceLanes(e, value, operation);
  if (warps == 1)
    return ofWarp;
  Type type = value.getType();
  Value shared = sharedMemory(e, "folds", 4 * warps), thread = threadIndex(e), lane = e.rem(thread, e.i64(32));
  Value isFirst = arith::CmpIOp::create(e, arith::CmpIPredicate::eq, lane, e.i64(0));
  e.ifThen(isFirst, [&] { e.store(ofWarp, e.at(shared, e.mul(e.div(thread, 32), 4)), 4); });
  blockBarrier(e);
  auto zero = [&] { return isa<FloatType>(type) ? e.real(type, 0) : e.number(type, 0); };
  Value part = e.ifElse(
      e.less(lane, e.i64(warps)), [&] { return Emitter::Values{e.load(type, e.at(shared, e.mul(lane, 4)), 4)}; },
      [&] { return Emitter::Values{zero()}; })[0];
  return reduceLanes(e, part, operation);
}

static Value shuffle(Emitter &e, Value value, Value which, gpu::ShuffleMode mode) {
  return gpu::ShuffleOp::create(e, value, which, e.number(e.getI32Type(), 32), mode).getShuffleResult();
}

Value codegen::fromLane(Emitter &e, Value value, Value lane) { return shuffle(e, value, lane, gpu::ShuffleMode::IDX); }

Value codegen::fromNeighbour(Emitter &e, Value value, int32_t mask) {
  return shuffle(e, value, e.number(e.getI32Type(), mask), gpu::ShuffleMode::XOR);
}

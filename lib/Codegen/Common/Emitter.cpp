#include "Emitter.h"

#include "quern/Runtime/KernelABI.h"

using namespace mlir;
using namespace quern::codegen;

Value Emitter::number(Type type, int64_t value) {
  auto scalar = getIntegerAttr(getElementTypeOrSelf(type), value);
  if (auto vector = dyn_cast<VectorType>(type))
    return arith::ConstantOp::create(*this, DenseElementsAttr::get(vector, scalar));
  return arith::ConstantOp::create(*this, scalar);
}

Value Emitter::real(Type type, double value) {
  auto scalar = getFloatAttr(getElementTypeOrSelf(type), value);
  if (auto vector = dyn_cast<VectorType>(type))
    return arith::ConstantOp::create(*this, DenseElementsAttr::get(vector, scalar));
  return arith::ConstantOp::create(*this, scalar);
}

Value Emitter::at(Value pointer, Value bytes) {
  return LLVM::GEPOp::create(*this, pointer.getType(), getI8Type(), pointer, ArrayRef<LLVM::GEPArg>{bytes});
}

Value Emitter::load(Type type, Value pointer, unsigned alignment) {
  return LLVM::LoadOp::create(*this, type, pointer, alignment);
}

void Emitter::store(Value value, Value pointer, unsigned alignment) {
  LLVM::StoreOp::create(*this, value, pointer, alignment);
}

void Emitter::prefetch(Value pointer) {
  LLVM::Prefetch::create(*this, pointer, /*rw=*/0, /*hint=*/0, /*cache=*/1);
}

void Emitter::prefetchFar(Value pointer) {
  LLVM::Prefetch::create(*this, pointer, /*rw=*/0, /*hint=*/2, /*cache=*/1);
}

Value Emitter::splat(Value scalar, VectorType type) { return vector::BroadcastOp::create(*this, type, scalar); }

Value Emitter::bitcast(Value value, VectorType type) { return vector::BitCastOp::create(*this, type, value); }

Value Emitter::toFloat(Value ints) {
  if (auto type = dyn_cast<VectorType>(ints.getType()))
    return arith::SIToFPOp::create(*this, type.clone(getF32Type()), ints);
  return arith::SIToFPOp::create(*this, getF32Type(), ints);
}

Value Emitter::widen(Value halves) {
  if (auto type = dyn_cast<VectorType>(halves.getType()))
    return arith::ExtFOp::create(*this, type.clone(getF32Type()), halves);
  return arith::ExtFOp::create(*this, getF32Type(), halves);
}

Value Emitter::bitAnd(Value a, int64_t mask) { return createOrFold<arith::AndIOp>(a, number(a.getType(), mask)); }

Value Emitter::bitXor(Value a, int64_t mask) { return createOrFold<arith::XOrIOp>(a, number(a.getType(), mask)); }

Value Emitter::shiftRight(Value a, int64_t bits) {
  return bits == 0 ? a : createOrFold<arith::ShRUIOp>(a, number(a.getType(), bits));
}

Value Emitter::shiftLeft(Value a, int64_t bits) {
  return bits == 0 ? a : createOrFold<arith::ShLIOp>(a, number(a.getType(), bits));
}

Value Emitter::signedShiftRight(Value a, int64_t bits) {
  return bits == 0 ? a : createOrFold<arith::ShRSIOp>(a, number(a.getType(), bits));
}

Value Emitter::opaque(Value vector) {
  return LLVM::InlineAsmOp::create(*this, vector.getType(), ValueRange{vector}, "", "=v,0",
                                   /*has_side_effects=*/false, /*is_align_stack=*/false,
                                   LLVM::tailcallkind::TailCallKind::None, LLVM::AsmDialectAttr(), ArrayAttr())
      .getResult(0);
}

Value Emitter::maxf(Value a, Value b) {
  Value greater = arith::CmpFOp::create(*this, arith::CmpFPredicate::OGT, a, b);
  return arith::SelectOp::create(*this, greater, a, b);
}

Value Emitter::minf(Value a, Value b) {
  Value lesser = arith::CmpFOp::create(*this, arith::CmpFPredicate::OLT, a, b);
  return arith::SelectOp::create(*this, lesser, a, b);
}

Value Emitter::treeFold(Value vector, llvm::function_ref<Value(Value, Value)> combine) {
  int64_t lanes = cast<VectorType>(vector.getType()).getNumElements();
  for (; lanes > 1; lanes /= 2) {
    auto half = [&](int64_t offset) -> Value {
      return vector::ExtractStridedSliceOp::create(*this, vector, ArrayRef<int64_t>{offset},
                                                   ArrayRef<int64_t>{lanes / 2}, ArrayRef<int64_t>{1});
    };
    vector = combine(half(0), half(lanes / 2));
  }
  return vector::ExtractOp::create(*this, vector, ArrayRef<int64_t>{0});
}

Value Emitter::treeSum(Value vector) {
  bool isFloat = isa<FloatType>(getElementTypeOrSelf(vector.getType()));
  return treeFold(vector, [&](Value a, Value b) { return isFloat ? addf(a, b) : add(a, b); });
}

/// Vectors are folded in pairs: of 16 lanes each to half of them, side by side, and so on, until each has one.
Value Emitter::foldLanes(ArrayRef<Value> vectors, llvm::function_ref<Value(Value, Value)> combine) {
  Values parts(vectors);
  while (!llvm::isPowerOf2_64(parts.size()))
    parts.push_back(parts.back());
  for (int64_t half = 8; half >= 1; half /= 2) {
    llvm::SmallVector<int64_t> low, high; // the halves of each vector in a and b
    for (int64_t lane = 0; lane < 32; ++lane)
      (lane % (2 * half) < half ? low : high).push_back(lane);
    Values next;
    for (size_t i = 0; i < parts.size(); i += 2) {
      Value a = parts[i], b = i + 1 < parts.size() ? parts[i + 1] : a;
      next.push_back(
          combine(vector::ShuffleOp::create(*this, a, b, low), vector::ShuffleOp::create(*this, a, b, high)));
    }
    parts = next;
  }
  return parts.front();
}

Emitter::Values Emitter::loop(Value from, Value to, Value step, ValueRange init, LoopBody body) {
  auto loop = scf::ForOp::create(*this, from, to, step, init);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(loop.getBody());
  Values next = body(loop.getInductionVar(), loop.getRegionIterArgs());
  if (!init.empty())
    scf::YieldOp::create(*this, next);
  return Values(loop.getResults());
}

void Emitter::loop(Value from, Value to, Value step, llvm::function_ref<void(Value)> body) {
  loop(from, to, step, {}, [&](Value index, ValueRange) {
    body(index);
    return Values{};
  });
}

void Emitter::ifThen(Value condition, llvm::function_ref<void()> then) {
  auto branch = scf::IfOp::create(*this, condition, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(branch.thenBlock());
  then();
}

void Emitter::ifThenElse(Value condition, llvm::function_ref<void()> then, llvm::function_ref<void()> otherwise) {
  auto branch = scf::IfOp::create(*this, condition, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(branch.thenBlock());
  then();
  setInsertionPointToStart(branch.elseBlock());
  otherwise();
}

Emitter::Values Emitter::ifElse(Value condition, llvm::function_ref<Values()> then,
                                llvm::function_ref<Values()> otherwise) {
  // The types are known only after the then branch is emitted, so it is built first and moved.
  Values thenValues, elseValues;
  auto probe = scf::ExecuteRegionOp::create(*this, TypeRange{});
  Block *thenBlock = &probe.getRegion().emplaceBlock();
  {
    OpBuilder::InsertionGuard guard(*this);
    setInsertionPointToStart(thenBlock);
    thenValues = then();
    scf::YieldOp::create(*this, thenValues);
  }
  auto branch = scf::IfOp::create(*this, TypeRange(ValueRange(thenValues)), condition, /*withElseRegion=*/true);
  branch.getThenRegion().takeBody(probe.getRegion());
  probe.erase();
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(branch.elseBlock());
  elseValues = otherwise();
  scf::YieldOp::create(*this, elseValues);
  return Values(branch.getResults());
}

void Emitter::barrier(Value call) {
  Value function = callField(call, QUERN_CALL_BARRIER, ptr());
  Value context = callField(call, QUERN_CALL_BARRIER_CONTEXT, ptr());
  auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(getContext()), {ptr()});
  LLVM::CallOp::create(*this, type, ValueRange{function, context});
}

std::pair<Value, Value> Emitter::share(Value call, Value items) {
  Value thread = callField(call, QUERN_CALL_THREAD, getI64Type());
  return shareOf(thread, callField(call, QUERN_CALL_THREADS, getI64Type()), items);
}

std::pair<Value, Value> Emitter::shareOf(Value thread, Value threads, Value items) {
  Value first = div(mul(items, thread), threads);
  Value last = div(mul(items, add(thread, 1)), threads);
  return {first, last};
}

void Emitter::takeItems(Value counter, Value items, llvm::function_ref<void(Value)> body) {
  auto loop = scf::WhileOp::create(*this, TypeRange{getI64Type()}, ValueRange{});
  OpBuilder::InsertionGuard guard(*this);
  createBlock(&loop.getBefore());
  // Items are independent of each other, and a barrier ends the kernel, so the order of memory does not matter here.
  auto order = LLVM::AtomicOrdering::monotonic;
  Value item = LLVM::AtomicRMWOp::create(*this, LLVM::AtomicBinOp::add, counter, i64(1), order);
  scf::ConditionOp::create(*this, less(item, items), item);
  Block *block = createBlock(&loop.getAfter(), {}, getI64Type(), getLoc());
  body(block->getArgument(0));
  scf::YieldOp::create(*this);
}

func::FuncOp quern::codegen::beginKernel(ModuleOp module, StringRef name, TypeRange arguments) {
  OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
  auto kernel = func::FuncOp::create(builder, module.getLoc(), name, builder.getFunctionType(arguments, {}));
  kernel.setPrivate();
  kernel->setAttr("llvm.linkage", LLVM::LinkageAttr::get(module.getContext(), LLVM::linkage::Linkage::Internal));
  // A kernel stays a function of its own, also where it is called once: profiles and `quern inspect` name it.
  kernel->setAttr("passthrough", builder.getStrArrayAttr({"noinline"}));
  kernel.addEntryBlock();
  return kernel;
}

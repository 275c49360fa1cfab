// A function on buffers -> an entry of the kernel ABI: its arguments come from the call, memory and errors go through
// the call's functions, and its results are told by address and shape.
#include "quern/Codegen/Graph.h"
#include "quern/Codegen/Passes.h"
#include "quern/Runtime/KernelABI.h"

#include "mlir/Dialect/Bufferization/Transforms/BufferViewFlowAnalysis.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

namespace quern::codegen {
#define GEN_PASS_DEF_GRAPHENTRY
#include "lib/Codegen/Passes.h.inc"
} // namespace quern::codegen

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

namespace {

/// Emits code that works on the call and on memory beneath memrefs.
class CallEmitter {
public:
  CallEmitter(ModuleOp module, Value call)
      : module(module), call(call), pointer(LLVM::LLVMPointerType::get(module.getContext())) {}

  Value argument(OpBuilder &b, Location loc, MemRefType type, DictionaryAttr attributes);
  void allocate(memref::AllocOp op);
  void release(memref::DeallocOp op);
  void assertion(cf::AssertOp op);
  void result(OpBuilder &b, Location loc, unsigned index, Value memref);

private:
  Value i64(OpBuilder &b, Location loc, int64_t value) {
    return LLVM::ConstantOp::create(b, loc, b.getI64Type(), value);
  }
  Value at(OpBuilder &b, Location loc, Value base, int64_t offset) {
    return LLVM::GEPOp::create(b, loc, pointer, b.getI8Type(), base, LLVM::GEPArg(int32_t(offset)));
  }
  Value loadPointer(OpBuilder &b, Location loc, Value base, int64_t offset) {
    return LLVM::LoadOp::create(b, loc, pointer, at(b, loc, base, offset));
  }
  Value view(OpBuilder &b, Location loc, Value data, MemRefType type, ArrayRef<Value> sizes);
  Value addressOf(OpBuilder &b, Location loc, Value memref);
  Value saturatingProduct(OpBuilder &b, Location loc, Value bytes, Value size);
  Value text(OpBuilder &b, Location loc, StringRef text);

  ModuleOp module;
  Value call;
  Type pointer;
  int texts = 0;
};

struct GraphEntry : codegen::impl::GraphEntryBase<GraphEntry> {
  void runOnOperation() override;
  LogicalResult convert(func::FuncOp function);
};

} // namespace

/// A memref over `data`, as the descriptor that the conversion to LLVM gives it. `sizes` are i64.
Value CallEmitter::view(OpBuilder &b, Location loc, Value data, MemRefType type, ArrayRef<Value> sizes) {
  auto rank = unsigned(sizes.size());
  Type word = b.getI64Type();
  llvm::SmallVector<Type> members{pointer, pointer, word};
  if (rank > 0)
    members.append(2, LLVM::LLVMArrayType::get(word, rank));
  Value descriptor = LLVM::UndefOp::create(b, loc, LLVM::LLVMStructType::getLiteral(b.getContext(), members));
  auto insert = [&](Value value, ArrayRef<int64_t> place) {
    descriptor = LLVM::InsertValueOp::create(b, loc, descriptor, value, place);
  };
  insert(data, {0});
  insert(data, {1});
  insert(i64(b, loc, 0), {2});
  Value stride = i64(b, loc, 1);
  for (unsigned i = rank; i-- > 0;) {
    insert(sizes[i], {3, int64_t(i)});
    insert(stride, {4, int64_t(i)});
    if (i > 0)
      stride = LLVM::MulOp::create(b, loc, stride, sizes[i]);
  }
  return UnrealizedConversionCastOp::create(b, loc, type, descriptor).getResult(0);
}

Value CallEmitter::argument(OpBuilder &b, Location loc, MemRefType type, DictionaryAttr attributes) {
  Value data;
  if (auto weight = attributes.getAs<IntegerAttr>(kGraphWeight)) {
    Value weights = loadPointer(b, loc, call, QUERN_CALL_WEIGHTS);
    data = LLVM::GEPOp::create(b, loc, pointer, b.getI8Type(), weights, i64(b, loc, weight.getInt()));
  } else {
    int64_t index = attributes.getAs<IntegerAttr>(kGraphBuffer).getInt();
    data = loadPointer(b, loc, loadPointer(b, loc, call, QUERN_CALL_BUFFERS), 8 * index);
  }
  ArrayRef<int64_t> known = attributes.getAs<DenseI64ArrayAttr>(kGraphSizes);
  llvm::SmallVector<Value> sizes;
  for (auto [place, size] : llvm::zip(known, type.getShape())) {
    if (place < 0) {
      sizes.push_back(i64(b, loc, size));
      continue;
    }
    Value table = loadPointer(b, loc, call, QUERN_CALL_SIZES);
    sizes.push_back(LLVM::LoadOp::create(b, loc, b.getI64Type(), at(b, loc, table, 8 * place)));
  }
  return view(b, loc, data, type, sizes);
}

/// Where the elements of a memref begin.
Value CallEmitter::addressOf(OpBuilder &b, Location loc, Value memref) {
  Value index = memref::ExtractAlignedPointerAsIndexOp::create(b, loc, memref);
  Value word = arith::IndexCastOp::create(b, loc, b.getI64Type(), index);
  return LLVM::IntToPtrOp::create(b, loc, pointer, word);
}

/// Sizes that depend on data may multiply beyond 64 bits; then no allocation can succeed, and the call ends.
Value CallEmitter::saturatingProduct(OpBuilder &b, Location loc, Value bytes, Value size) {
  Type pair = LLVM::LLVMStructType::getLiteral(b.getContext(), {b.getI64Type(), b.getI1Type()});
  Value product = LLVM::UMulWithOverflowOp::create(b, loc, pair, bytes, size);
  Value overflows = LLVM::ExtractValueOp::create(b, loc, product, ArrayRef<int64_t>{1});
  Value low = LLVM::ExtractValueOp::create(b, loc, product, ArrayRef<int64_t>{0});
  return LLVM::SelectOp::create(b, loc, overflows, i64(b, loc, -1), low);
}

void CallEmitter::allocate(memref::AllocOp op) {
  OpBuilder b(op);
  Location loc = op.getLoc();
  MemRefType type = op.getType();
  llvm::SmallVector<Value> sizes;
  Type element = type.getElementType();
  Value bytes = i64(b, loc, element.isIndex() ? 8 : (element.getIntOrFloatBitWidth() + 7) / 8);
  auto dynamic = op.getDynamicSizes().begin();
  for (int64_t size : type.getShape()) {
    sizes.push_back(ShapedType::isDynamic(size) ? arith::IndexCastOp::create(b, loc, b.getI64Type(), *dynamic++)
                                                : i64(b, loc, size));
    bytes = saturatingProduct(b, loc, bytes, sizes.back());
  }
  Value function = loadPointer(b, loc, call, QUERN_CALL_ALLOCATE);
  auto signature = LLVM::LLVMFunctionType::get(pointer, {pointer, b.getI64Type()});
  Value context = loadPointer(b, loc, call, QUERN_CALL_GRAPH_CONTEXT);
  Value data = LLVM::CallOp::create(b, loc, signature, ValueRange{function, context, bytes}).getResult();
  op.replaceAllUsesWith(view(b, loc, data, type, sizes));
  op.erase();
}

void CallEmitter::release(memref::DeallocOp op) {
  OpBuilder b(op);
  Location loc = op.getLoc();
  Value function = loadPointer(b, loc, call, QUERN_CALL_RELEASE);
  auto signature = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(b.getContext()), {pointer, pointer});
  Value context = loadPointer(b, loc, call, QUERN_CALL_GRAPH_CONTEXT);
  LLVM::CallOp::create(b, loc, signature, ValueRange{function, context, addressOf(b, loc, op.getMemref())});
  op.erase();
}

/// The address of a zero-terminated constant in the image.
Value CallEmitter::text(OpBuilder &b, Location loc, StringRef text) {
  std::string bytes = text.str() + '\0', name = "text_" + std::to_string(texts++);
  OpBuilder outside(module.getBodyRegion());
  auto type = LLVM::LLVMArrayType::get(b.getI8Type(), unsigned(bytes.size()));
  auto global = LLVM::GlobalOp::create(outside, loc, type, /*isConstant=*/true, LLVM::Linkage::Private, name,
                                       b.getStringAttr(bytes));
  return LLVM::AddressOfOp::create(b, loc, global);
}

/// `fail` does not return; the runtime ends the call.
void CallEmitter::assertion(cf::AssertOp op) {
  OpBuilder b(op);
  Location loc = op.getLoc();
  Value wrong = arith::XOrIOp::create(b, loc, op.getArg(), arith::ConstantIntOp::create(b, loc, 1, 1));
  auto branch = scf::IfOp::create(b, loc, wrong, /*withElseRegion=*/false);
  b.setInsertionPointToStart(branch.thenBlock());
  Value function = loadPointer(b, loc, call, QUERN_CALL_FAIL);
  auto signature = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(b.getContext()), {pointer, pointer});
  Value context = loadPointer(b, loc, call, QUERN_CALL_GRAPH_CONTEXT);
  LLVM::CallOp::create(b, loc, signature, ValueRange{function, context, text(b, loc, op.getMsg())});
  op.erase();
}

/// Fills record `index` of the call's results.
void CallEmitter::result(OpBuilder &b, Location loc, unsigned index, Value memref) {
  Value record = at(b, loc, loadPointer(b, loc, call, QUERN_CALL_RESULTS), int64_t(sizeof(QuernResult)) * index);
  LLVM::StoreOp::create(b, loc, addressOf(b, loc, memref), record);
  Value shape = loadPointer(b, loc, record, offsetof(QuernResult, shape));
  for (int64_t i = 0; i < cast<MemRefType>(memref.getType()).getRank(); ++i) {
    Value size = memref::DimOp::create(b, loc, memref, i);
    LLVM::StoreOp::create(b, loc, arith::IndexCastOp::create(b, loc, b.getI64Type(), size), at(b, loc, shape, 8 * i));
  }
}

/// Releases each buffer after the last op of the block that can reach it; results stay.
static void releaseBuffers(Block &body) {
  BufferViewFlowAnalysis views(body.getParentOp());
  for (auto alloc : llvm::make_early_inc_range(body.getOps<memref::AllocOp>())) {
    Operation *last = alloc;
    for (Value view : views.resolve(alloc))
      for (Operation *user : view.getUsers()) {
        Operation *outer = body.findAncestorOpInBlock(*user);
        last = last->isBeforeInBlock(outer) ? outer : last;
      }
    if (isa<func::ReturnOp>(last))
      continue;
    OpBuilder b(last->getContext());
    b.setInsertionPointAfter(last);
    memref::DeallocOp::create(b, alloc.getLoc(), alloc);
  }
}

LogicalResult GraphEntry::convert(func::FuncOp function) {
  if (!function.getBody().hasOneBlock())
    return function.emitError("a graph should be one block");
  Block &body = function.getBody().front();
  releaseBuffers(body);
  OpBuilder b = OpBuilder::atBlockBegin(&body);
  Value call = body.insertArgument(0u, LLVM::LLVMPointerType::get(b.getContext()), function.getLoc());
  CallEmitter emitter(getOperation(), call);
  for (unsigned i = 0; i < function.getNumArguments(); ++i) {
    BlockArgument argument = body.getArgument(i + 1);
    auto type = dyn_cast<MemRefType>(argument.getType());
    DictionaryAttr attributes = function.getArgAttrDict(i);
    if (!type || !attributes || !attributes.contains(kGraphSizes))
      return function.emitError("argument ") << i << " of a graph should be a memref that says where it comes from";
    argument.replaceAllUsesWith(emitter.argument(b, argument.getLoc(), type, attributes));
  }
  body.eraseArguments(1, body.getNumArguments() - 1);
  auto end = cast<func::ReturnOp>(body.getTerminator());
  b.setInsertionPoint(end);
  for (auto [i, memref] : llvm::enumerate(end.getOperands()))
    emitter.result(b, end.getLoc(), unsigned(i), memref);
  func::ReturnOp::create(b, end.getLoc());
  end.erase();
  function.removeArgAttrsAttr();
  function.removeResAttrsAttr();
  function.setFunctionType(b.getFunctionType(call.getType(), {}));
  function.walk([&](memref::AllocOp op) { emitter.allocate(op); });
  function.walk([&](memref::DeallocOp op) { emitter.release(op); });
  function.walk([&](cf::AssertOp op) { emitter.assertion(op); });
  return success();
}

void GraphEntry::runOnOperation() {
  for (auto function : llvm::make_early_inc_range(getOperation().getOps<func::FuncOp>()))
    if (function.isPublic() && failed(convert(function)))
      return signalPassFailure();
}

// The entry function becomes calls of kernels on planned memory. See Passes.td.
#include "EntryLowering.h"
#include "lib/Codegen/Common/SourceName.h"
#include "quern/Codegen/PackPlan.h"
#include "quern/Codegen/Passes.h"
#include "quern/Runtime/KernelABI.h"

namespace quern::codegen {
#define GEN_PASS_DEF_LOWERTOKERNELS
#include "lib/Codegen/Passes.h.inc"
} // namespace quern::codegen

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

/// Loads what the call holds: sizes, the arena's parts, buffers by name.
void EntryLowering::readCall() {
  Type ptr = e.ptr(), i64 = e.getI64Type();
  Value sizesAt = e.callField(call, QUERN_CALL_SIZES, ptr),
        capacitiesAt = e.callField(call, QUERN_CALL_CAPACITIES, ptr);
  Value buffers = e.callField(call, QUERN_CALL_BUFFERS, ptr);
  weights = e.callField(call, QUERN_CALL_WEIGHTS, ptr);
  Value part = e.callField(call, QUERN_CALL_ARENA, ptr); // advanced to the threads' parts
  auto needed = entry->getAttrOfType<DenseI64ArrayAttr>(kArenaSizes).asArrayRef();
  for (auto [index, bytes] : llvm::enumerate(needed)) {
    sizes.push_back(e.load(i64, e.at(sizesAt, index * 8), 8));
    capacities.push_back(e.load(i64, e.at(capacitiesAt, index * 8), 8));
    arenas.push_back(part);
    part = e.at(part, e.mul(capacities.back(), bytes));
  }
  int64_t buffer = 0;
  auto next = [&] { return e.load(ptr, e.at(buffers, 8 * buffer++), 8); };
  for (BlockArgument argument : entry.getArguments()) {
    if (isa<lm::CacheType>(argument.getType())) {
      caches = next();
      cacheCapacities = next();
    } else {
      inputs[argument] = next();
    }
  }
  for (unsigned i = 0; i < entry.getNumResults(); ++i)
    outputs.push_back(next());
  counters = part;
  clearCounters();
  // Advanced to the thread's own part where a kernel needs it.
  scratch = e.at(part, e.mul(e.callField(call, QUERN_CALL_THREADS, i64), counterBytes));
}

/// Sets this thread's counters to zero. The first matmul reads rows that other threads may have made, so a barrier lies
/// between this and whoever looks at them.
void EntryLowering::clearCounters() {
  int64_t calls = 0;
  for (auto matmul : entry.getOps<dq::MatmulOp>())
    calls += int64_t(matmul.getWeights().size());
  counterBytes = (calls * 8 + 63) / 64 * 64; // a line of the cache belongs to one thread
  Value mine = e.at(counters, e.mul(e.callField(call, QUERN_CALL_THREAD, e.getI64Type()), counterBytes));
  Value zeros = e.real(e.f32s(), 0);
  e.loop(e.i64(0), e.i64(counterBytes), e.i64(64), [&](Value byte) { e.store(zeros, e.at(mine, byte), 64); });
}

int64_t EntryLowering::arenaOffset(Value value) {
  auto result = cast<OpResult>(value);
  return result.getOwner()->getAttrOfType<DenseI64ArrayAttr>(kArenaOffsets).asArrayRef()[result.getResultNumber()];
}

std::optional<int64_t> EntryLowering::placeOf(Value weight, StringRef attribute) {
  auto op = weight.getDefiningOp<dq::WeightOp>();
  if (!op)
    return std::nullopt;
  auto source = SymbolTable::lookupNearestSymbolFrom<dq::SourceOp>(op, op.getSourceAttr());
  auto place = source->getAttrOfType<IntegerAttr>(attribute);
  return place ? std::optional(place.getInt()) : std::nullopt;
}

Value EntryLowering::address(Value value) {
  if (auto known = inputs.find(value); known != inputs.end())
    return known->second;
  if (std::optional<int64_t> place = placeOf(value, kPackedOffset))
    return e.at(weights, *place);
  int64_t size = sizeIndex(entry, value);
  return e.at(arenas[size], e.mul(capacities[size], arenaOffset(value)));
}

void EntryLowering::emitCall(func::FuncOp kernel, const Arguments &arguments, const std::vector<Access> &reads,
                             const std::vector<Access> &writes, const Work &work) {
  if (!profiled && barriers.enter(reads, writes))
    e.barrier(call);
  Arguments all{call};
  all.append(arguments.begin(), arguments.end());
  func::CallOp::create(e, kernel, all);
  if (profiled) {
    e.barrier(call); // so that a mark tells when the slowest thread was done
    auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(e.getContext()), {e.ptr(), e.getI64Type()});
    LLVM::CallOp::create(e, type,
                         ValueRange{e.callField(call, QUERN_CALL_MARK, e.ptr()), call, e.i64(int64_t(ops.size()))});
  }
  noteCall(kernel, reads, writes, work);
}

void EntryLowering::noteCall(func::FuncOp kernel, const std::vector<Access> &reads, const std::vector<Access> &writes,
                             const Work &work) {
  // Rows are those of what is written; a matmul that writes the driver's buffer has the rows that it reads.
  int64_t rows = -1, activations = 0;
  for (const std::vector<Access> *accesses : {&writes, &reads})
    for (const Access &access : *accesses)
      if (access.size >= 0) {
        rows = rows < 0 ? access.size : rows;
        activations += access.bytes;
      }
  auto number = [&](StringRef name, int64_t value) { return e.getNamedAttr(name, e.getI64IntegerAttr(value)); };
  auto text = [&](StringRef name, StringRef value) { return e.getNamedAttr(name, e.getStringAttr(value)); };
  ops.push_back(e.getDictionaryAttr({text("kernel", kernel.getName()), text("op", current->getName().getStringRef()),
                                     text("name", sourceName(current->getLoc())), number("size", rows),
                                     number("weight_bytes", work.weightBytes),
                                     number("weight_bytes_per_row", work.weightBytesPerRow),
                                     number("activation_bytes_per_row", activations),
                                     number("cache_bytes_per_key", work.cacheBytesPerKey),
                                     number("operations_per_row", work.operationsPerRow),
                                     number("operations_per_pair", work.operationsPerPair), text("unit", work.unit)}));
}

LogicalResult EntryLowering::run() {
  for (BlockArgument argument : entry.getArguments())
    if (isIntermediate(argument))
      return entry.emitError("argument ") << argument.getArgNumber()
                                          << " is a matrix of rows, which has no place in the arena";
  readCall();
  for (Operation &op : entry.front())
    if (failed(lower(&op)))
      return failure();
  auto returned = cast<func::ReturnOp>(entry.front().getTerminator());
  for (Value value : returned.getOperands())
    if (!isDirectOutput(value))
      return returned.emitError("a result that is not written by a matmul has no place in the driver's buffers");
  return success();
}

namespace {

struct LowerToKernels : codegen::impl::LowerToKernelsBase<LowerToKernels> {
  using LowerToKernelsBase::LowerToKernelsBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto target = findTarget(targetName);
    if (!target) {
      module.emitError(target.error().message);
      return signalPassFailure();
    }
    KernelLibrary library(module, **target);
    llvm::SmallVector<func::FuncOp> entries(module.getOps<func::FuncOp>());
    for (func::FuncOp entry : entries)
      if (failed(lower(entry, library)))
        return signalPassFailure();
    // What is left of the graph level: the packer's plan has been executed from the module before this pass.
    for (auto source : llvm::make_early_inc_range(module.getOps<dq::SourceOp>()))
      source.erase();
  }

private:
  LogicalResult lower(func::FuncOp entry, KernelLibrary &library) {
    if (!entry->hasAttr(kArenaSizes))
      return entry.emitError("has no memory plan; run lm-plan-memory first");
    bool cached = llvm::any_of(entry.getArgumentTypes(), [](Type type) { return isa<lm::CacheType>(type); });
    for (CacheKind kind : ArrayRef(kCacheKinds).take_front(cached ? std::size(kCacheKinds) : 1)) {
      std::string name = entry.getName().str() + cacheKindSuffix(kind);
      if (failed(emit(entry, name, library, kind, /*marks=*/false)))
        return failure();
      if (profiled && failed(emit(entry, name + kProfiledSuffix, library, kind, /*marks=*/true)))
        return failure();
    }
    entry.erase();
    return success();
  }

  LogicalResult emit(func::FuncOp entry, const std::string &name, KernelLibrary &library, CacheKind kind,
                     bool marks) {
    Emitter e(entry.getLoc(), &getContext());
    e.setInsertionPoint(entry);
    auto lowered = func::FuncOp::create(e, name, e.getFunctionType({e.ptr()}, {}));
    e.setInsertionPointToEnd(lowered.addEntryBlock());
    EntryLowering lowering(entry, library, e, lowered.getArgument(0), kind, marks);
    if (failed(lowering.run()))
      return failure();
    func::ReturnOp::create(e);
    lowered->setAttr(kArenaSizes, entry->getAttr(kArenaSizes));
    lowered->setAttr(kArenaPerThread, e.getI64IntegerAttr(lowering.perThreadBytes()));
    if (marks)
      lowered->setAttr(kOpTable, lowering.opTable());
    return success();
  }
};

} // namespace

#include "HostFunction.h"

#include "lib/Codegen/Common/SourceName.h"
#include "quern/Codegen/GpuLayout.h"
#include "quern/Codegen/Passes.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

HostFunction::HostFunction(func::FuncOp entry, const std::string &name, TokenRange tokens)
    : entry(entry), e(entry.getLoc(), entry.getContext()), range(tokens) {
  e.setInsertionPoint(entry);
  function = func::FuncOp::create(e, name, e.getFunctionType({}, {}));
  function.addEntryBlock();
  function->setAttr(kHostTokens, e.getDenseI64ArrayAttr({tokens.least, tokens.most}));
  weights = argument(e.ptr(), "weights", 0, "");
  arena = argument(e.ptr(), "arena", 0, "");
  int64_t input = 0;
  for (BlockArgument value : entry.getArguments()) {
    auto named = entry.getArgAttrOfType<StringAttr>(value.getArgNumber(), lm::kNameAttr);
    inputs[value] = argument(e.ptr(), "input", input++, named ? named.getValue() : "");
    if (isa<lm::CacheType>(value.getType())) {
      cacheAddresses = inputs[value];
      cacheCapacities = argument(e.ptr(), "input", input++, "cache_capacities");
    }
  }
  for (unsigned i = 0; i < entry.getNumResults(); ++i)
    outputs.push_back(argument(e.ptr(), "output", i, ""));
  for (auto [index, size] : llvm::enumerate(sizeNames(entry)))
    sizes.push_back(argument(e.getI64Type(), "size", int64_t(index), size));
  for (auto [index, size] : llvm::enumerate(sizeNames(entry)))
    most.push_back(argument(e.getI64Type(), "most", int64_t(index), size));
  e.setInsertionPointToEnd(&function.front());
}

Value HostFunction::argument(Type type, StringRef is, int64_t index, StringRef name) {
  unsigned number = function.getNumArguments();
  SmallVector<NamedAttribute> attributes = {e.getNamedAttr(kHostArgument, e.getStringAttr(is)),
                                            e.getNamedAttr(kHostIndex, e.getI64IntegerAttr(index))};
  if (!name.empty())
    attributes.push_back(e.getNamedAttr(lm::kNameAttr, e.getStringAttr(name)));
  (void)function.insertArgument(number, type, e.getDictionaryAttr(attributes), e.getLoc());
  return function.getArgument(number);
}

void HostFunction::finish() {
  func::ReturnOp::create(e);
  auto bytes = llvm::to_vector(entry->getAttrOfType<DenseI64ArrayAttr>(kArenaSizes).asArrayRef());
  bytes.insert(bytes.begin(), scratchBytes);
  function->setAttr(kHostArena, e.getDenseI64ArrayAttr(bytes));
  function->setAttr(kHostCounters, e.getI64IntegerAttr(mostCounters));
}

Value HostFunction::place(int64_t size, int64_t row) {
  auto rowBytes = entry->getAttrOfType<DenseI64ArrayAttr>(kArenaSizes).asArrayRef();
  Value bytes = e.i64(0);
  for (int64_t before = 0; before < size; ++before)
    bytes = e.add(bytes, e.mul(most[before], rowBytes[before]));
  return e.at(arena, row == 0 ? bytes : e.add(bytes, e.mul(most[size], row)));
}

Value HostFunction::weight(dq::SourceOp source) {
  return e.at(weights, source->getAttrOfType<IntegerAttr>(kPackedOffset).getInt());
}

Value HostFunction::scratch(int64_t bytes, int64_t at) {
  scratchBytes = std::max(scratchBytes, gpuRegionBytes(at + bytes));
  return e.at(place(int64_t(sizes.size()), 0), at);
}

Value HostFunction::counters(int64_t count) {
  mostCounters = std::max(mostCounters, count);
  return addressOnce(counterAddress, "counters");
}

/// Bytes of a row of the arena's part before the place of a result.
static int64_t arenaOffset(Value value) {
  auto result = cast<OpResult>(value);
  return result.getOwner()->getAttrOfType<DenseI64ArrayAttr>(kArenaOffsets).asArrayRef()[result.getResultNumber()];
}

Value HostFunction::address(Value value) {
  if (auto known = inputs.find(value); known != inputs.end())
    return known->second;
  if (auto named = value.getDefiningOp<dq::WeightOp>())
    return weight(SymbolTable::lookupNearestSymbolFrom<dq::SourceOp>(named, named.getSourceAttr()));
  if (isDirectOutput(value))
    return outputs[value.use_begin()->getOperandNumber()];
  return place(sizeIndex(entry, value), arenaOffset(value));
}

SmallVector<Value> HostFunction::quantized(Value value) {
  GpuActivationBytes bytes = gpuActivationBytes(cast<RankedTensorType>(value.getType()).getDimSize(1));
  int64_t size = sizeIndex(entry, value), row = arenaOffset(value);
  return {place(size, row), place(size, row + bytes.codes), place(size, row + bytes.codes + bytes.scales)};
}

Value HostFunction::rowsOf(Value tensor, int64_t factor) {
  int64_t size = sizeIndex(entry, tensor);
  if (size == 0 && range.isOne())
    return e.i64(range.least * factor);
  return factor == 1 ? sizes[size] : e.mul(sizes[size], factor);
}

Value HostFunction::blocks(const HostGrid::Dimension &dimension) {
  Value count = dimension.numerator ? dimension.numerator : e.i64(1);
  if (dimension.divisor != 1)
    count = e.createOrFold<arith::CeilDivUIOp>(count, e.i64(dimension.divisor));
  return e.createOrFold<arith::IndexCastOp>(e.getIndexType(), count);
}

Value HostFunction::addressOnce(Value &known, StringRef is) {
  if (!known)
    known = argument(e.ptr(), is, 0, "");
  return known;
}

gpu::LaunchFuncOp HostFunction::launch(Operation *op, gpu::GPUFuncOp kernel, ValueRange arguments, HostGrid grid,
                                       int64_t sharedBytes) {
  if (auto known = kernel.getKnownGridSize(); known && !grid.x.numerator)
    grid.x.numerator = e.i64(known->front());
  Value one = arith::ConstantIndexOp::create(e, 1);
  Value threads = arith::ConstantIndexOp::create(e, kernel.getKnownBlockSize()->front());
  Value shared = sharedBytes ? e.number(e.getI32Type(), sharedBytes) : Value();
  auto launched = gpu::LaunchFuncOp::create(e, kernel, gpu::KernelDim3{blocks(grid.x), blocks(grid.y), blocks(grid.z)},
                                            gpu::KernelDim3{threads, one, one}, shared, arguments);
  launched->setAttr(kHostOp, e.getStringAttr(op->getName().getStringRef()));
  launched->setAttr(kHostName, e.getStringAttr(sourceName(op->getLoc())));
  return launched;
}

void HostFunction::whereRows(Value tensor, arith::CmpIPredicate predicate, int64_t bound,
                             llvm::function_ref<void()> then) {
  e.ifThen(arith::CmpIOp::create(e, predicate, rowsOf(tensor), e.i64(bound)), then);
}

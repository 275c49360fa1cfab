// The entry function becomes calls of kernels on planned memory. See Passes.td.
#include "Barriers.h"
#include "KernelLibrary.h"
#include "quern/Codegen/MemoryPlan.h"
#include "quern/Codegen/PackPlan.h"
#include "quern/Codegen/Passes.h"
#include "quern/Runtime/KernelABI.h"

#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/Format.h"

namespace quern::codegen {
#define GEN_PASS_DEF_LOWERTOKERNELS
#include "lib/Codegen/Passes.h.inc"
} // namespace quern::codegen

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

namespace {

/// Lowers one entry function into `e`'s new function.
class EntryLowering {
public:
  EntryLowering(func::FuncOp entry, KernelLibrary &library, Emitter &e, Value call)
      : entry(entry), library(library), e(e), call(call) {}

  LogicalResult run();
  int64_t perThreadBytes() const { return perThread; }

private:
  using Arguments = llvm::SmallVector<Value>;

  void readCall();
  Value rowsOf(Value tensor) { return sizes[sizeIndex(entry, tensor)]; }
  int64_t stride(Value tensor) { return rowBytes(cast<RankedTensorType>(tensor.getType())); }
  int64_t width(Value tensor) { return cast<RankedTensorType>(tensor.getType()).getDimSize(1); }
  /// Address of an argument, an intermediate or a packed weight.
  Value address(Value value);
  int64_t arenaOffset(Value value);
  Access access(Value value, const std::string &split) {
    return {sizeIndex(entry, value), arenaOffset(value), stride(value), split};
  }
  void emitCall(func::FuncOp kernel, const Arguments &arguments, const std::vector<Access> &reads,
                const std::vector<Access> &writes);

  LogicalResult lower(Operation *op);
  LogicalResult lowerMatmul(dq::MatmulOp op);
  LogicalResult lowerSegment(dq::MatmulOp op, unsigned segment);
  LogicalResult lowerEmbedding(lm::EmbeddingOp op);
  LogicalResult lowerAttention(lm::AttentionOp op);
  LogicalResult lowerRotary(lm::RotaryOp op);
  LogicalResult lowerAngles(lm::RotaryAnglesOp op);
  LogicalResult lowerNorm(lm::RmsNormOp op);
  void lowerQuantize(dq::QuantizeOp op);
  void lowerGather(lm::GatherRowsOp op);
  void lowerBinary(Operation *op, func::FuncOp kernel);

  func::FuncOp entry;
  KernelLibrary &library;
  Emitter &e;
  Value call;
  Value weights, scratch, caches, cacheCapacities;
  llvm::SmallVector<Value> sizes, arenas, capacities;
  llvm::DenseMap<Value, Value> inputs;
  llvm::SmallVector<Value> outputs;
  Barriers barriers;
  int64_t perThread = 0;
};

} // namespace

/// Loads what the call holds: sizes, the arena's parts, buffers by name.
void EntryLowering::readCall() {
  Type ptr = e.ptr(), i64 = e.getI64Type();
  Value sizesAt = e.callField(call, QUERN_CALL_SIZES, ptr), capacitiesAt = e.callField(call, QUERN_CALL_CAPACITIES, ptr);
  Value buffers = e.callField(call, QUERN_CALL_BUFFERS, ptr);
  weights = e.callField(call, QUERN_CALL_WEIGHTS, ptr);
  Value part = e.callField(call, QUERN_CALL_ARENA, ptr);
  auto needed = entry->getAttrOfType<DenseI64ArrayAttr>(kArenaSizes).asArrayRef();
  for (auto [index, bytes] : llvm::enumerate(needed)) {
    sizes.push_back(e.load(i64, e.at(sizesAt, index * 8), 8));
    capacities.push_back(e.load(i64, e.at(capacitiesAt, index * 8), 8));
    arenas.push_back(part);
    part = e.at(part, e.mul(capacities.back(), bytes));
  }
  scratch = part; // advanced to the thread's own part where a kernel needs it
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
}

int64_t EntryLowering::arenaOffset(Value value) {
  auto result = cast<OpResult>(value);
  return result.getOwner()->getAttrOfType<DenseI64ArrayAttr>(kArenaOffsets).asArrayRef()[result.getResultNumber()];
}

Value EntryLowering::address(Value value) {
  if (auto known = inputs.find(value); known != inputs.end())
    return known->second;
  if (auto weight = value.getDefiningOp<dq::WeightOp>()) {
    auto source = SymbolTable::lookupNearestSymbolFrom<dq::SourceOp>(weight, weight.getSourceAttr());
    return e.at(weights, source->getAttrOfType<IntegerAttr>(kPackedOffset).getInt());
  }
  int64_t size = sizeIndex(entry, value);
  return e.at(arenas[size], e.mul(capacities[size], arenaOffset(value)));
}

void EntryLowering::emitCall(func::FuncOp kernel, const Arguments &arguments, const std::vector<Access> &reads,
                             const std::vector<Access> &writes) {
  if (barriers.enter(reads, writes)) {
    Value function = e.callField(call, QUERN_CALL_BARRIER, e.ptr());
    Value context = e.callField(call, QUERN_CALL_BARRIER_CONTEXT, e.ptr());
    auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(e.getContext()), {e.ptr()});
    LLVM::CallOp::create(e, type, ValueRange{function, context});
  }
  Arguments all{call};
  all.append(arguments.begin(), arguments.end());
  func::CallOp::create(e, kernel, all);
}

LogicalResult EntryLowering::lowerSegment(dq::MatmulOp op, unsigned segment) {
  Value weight = op.getWeights()[segment];
  auto type = cast<RankedTensorType>(weight.getType());
  auto layout = layoutFor(type.getElementType());
  if (!layout)
    return op.emitError(layout.error().message);
  bool gated = op.getActivation() == dq::Activation::Swiglu;
  Value out = op.getOuts()[gated ? 0 : segment], x = op.getX();
  int64_t n = type.getDimSize(0), k = type.getDimSize(1);
  std::string split = "panels of " + std::to_string(n);
  std::vector<Access> reads{access(x, "")}, writes;

  // Where y lies: the driver's buffer takes exactly N elements a row, the arena whole vectors.
  bool direct = isDirectOutput(out);
  Value y = direct ? outputs[out.use_begin()->getOperandNumber()] : address(out);
  int64_t yStride = direct ? n * 4 : stride(out), storedN = direct ? n : (n + 15) / 16 * 16;
  if (!direct)
    writes.push_back(access(out, split));

  Epilogue epilogue = Epilogue::None;
  Value aux = weights;
  int64_t auxStride = 0;
  if (!op.getBiases().empty()) {
    epilogue = Epilogue::Bias;
    aux = address(op.getBiases()[segment]);
  } else if (op.getResidual()) {
    epilogue = Epilogue::Residual;
    aux = address(op.getResidual());
    auxStride = stride(op.getResidual());
    reads.push_back(access(op.getResidual(), split));
  } else if (gated && segment == 1) {
    epilogue = Epilogue::Swiglu;
    aux = y;
    auxStride = yStride;
    reads.push_back(access(out, split));
  }
  emitCall(library.matmul(*layout, epilogue),
           {address(x), e.i64(stride(x)), address(weight), e.i64(layout->panelBytes(k)), aux, e.i64(auxStride), y,
            e.i64(yStride), rowsOf(x), e.i64(storedN), e.i64(paddedK(*layout, k))},
           reads, writes);
  return success();
}

LogicalResult EntryLowering::lowerMatmul(dq::MatmulOp op) {
  if (!op.getBiases().empty() && op.getResidual())
    return op.emitError("a bias and a residual in one matmul have no kernel");
  for (unsigned segment = 0; segment < op.getWeights().size(); ++segment)
    if (failed(lowerSegment(op, segment)))
      return failure();
  return success();
}

LogicalResult EntryLowering::lowerEmbedding(lm::EmbeddingOp op) {
  auto type = cast<RankedTensorType>(op.getTable().getType());
  auto layout = layoutFor(type.getElementType());
  if (!layout)
    return op.emitError(layout.error().message);
  int64_t k = type.getDimSize(1);
  emitCall(library.embedding(*layout),
           {address(op.getIds()), address(op.getTable()), e.i64(layout->panelBytes(k)), address(op.getOut()),
            e.i64(stride(op.getOut())), rowsOf(op.getOut()), e.i64(paddedK(*layout, k))},
           {}, {access(op.getOut(), "rows")});
  return success();
}

/// Text of a number for a kernel's name.
static std::string nameOf(double value) {
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format("%.9g", value);
  return text;
}

LogicalResult EntryLowering::lowerNorm(lm::RmsNormOp op) {
  double eps = op.getEps().convertToFloat();
  bool quantized = isa<dq::Act8Type>(cast<RankedTensorType>(op.getOut().getType()).getElementType());
  auto kernel = library.get((quantized ? "rms_norm_quantize_" : "rms_norm_") + nameOf(eps), [&](StringRef name) {
    return emitRmsNorm(library.module, name, eps, quantized);
  });
  emitCall(kernel,
           {address(op.getX()), e.i64(stride(op.getX())), address(op.getGain()), address(op.getOut()),
            e.i64(stride(op.getOut())), rowsOf(op.getX()), e.i64(width(op.getX()))},
           {access(op.getX(), "rows")}, {access(op.getOut(), "rows")});
  return success();
}

void EntryLowering::lowerQuantize(dq::QuantizeOp op) {
  auto kernel = library.get("quantize", [&](StringRef name) { return emitQuantize(library.module, name); });
  emitCall(kernel,
           {address(op.getX()), e.i64(stride(op.getX())), address(op.getOut()), e.i64(stride(op.getOut())),
            rowsOf(op.getX()), e.i64(width(op.getX()))},
           {access(op.getX(), "rows")}, {access(op.getOut(), "rows")});
}

void EntryLowering::lowerGather(lm::GatherRowsOp op) {
  auto kernel = library.get("gather_rows", [&](StringRef name) { return emitGatherRows(library.module, name); });
  emitCall(kernel,
           {address(op.getX()), e.i64(stride(op.getX())), address(op.getRows()), address(op.getOut()),
            e.i64(stride(op.getOut())), rowsOf(op.getOut()), e.i64(width(op.getX()))},
           {access(op.getX(), "")}, {access(op.getOut(), "rows")});
}

void EntryLowering::lowerBinary(Operation *op, func::FuncOp kernel) {
  Value a = op->getOperand(0), b = op->getOperand(1), out = op->getResult(0);
  emitCall(kernel,
           {address(a), e.i64(stride(a)), address(b), e.i64(stride(b)), address(out), e.i64(stride(out)), rowsOf(a),
            e.i64(width(a))},
           {access(a, "rows"), access(b, "rows")}, {access(out, "rows")});
}

LogicalResult EntryLowering::lowerAngles(lm::RotaryAnglesOp op) {
  double theta = op.getTheta().convertToDouble();
  int64_t headDim = width(op.getOut());
  bool scaled = bool(op.getFactors());
  std::string name = "rotary_angles_" + std::to_string(headDim) + "_" + nameOf(theta) + (scaled ? "_scaled" : "");
  auto kernel = library.get(name, [&](StringRef kernelName) {
    return emitRotaryAngles(library.module, kernelName, theta, headDim, scaled);
  });
  emitCall(kernel,
           {address(op.getPositions()), scaled ? address(op.getFactors()) : weights, address(op.getOut()),
            e.i64(stride(op.getOut())), rowsOf(op.getOut())},
           {}, {access(op.getOut(), "rows")});
  return success();
}

LogicalResult EntryLowering::lowerRotary(lm::RotaryOp op) {
  int64_t headDim = width(op.getAngles());
  bool interleaved = op.getStyle() == lm::RotaryStyle::Interleaved;
  std::string name = "rotary_" + std::to_string(headDim) + (interleaved ? "_interleaved" : "_half");
  auto kernel = library.get(
      name, [&](StringRef kernelName) { return emitRotary(library.module, kernelName, headDim, interleaved); });
  emitCall(kernel,
           {address(op.getX()), e.i64(stride(op.getX())), address(op.getAngles()), e.i64(stride(op.getAngles())),
            address(op.getOut()), e.i64(stride(op.getOut())), rowsOf(op.getX()), e.i64(width(op.getX()) / headDim)},
           {access(op.getX(), "rows"), access(op.getAngles(), "rows")}, {access(op.getOut(), "rows")});
  return success();
}

LogicalResult EntryLowering::lowerAttention(lm::AttentionOp op) {
  lm::CacheType cache = op.getCache().getType();
  AttentionShape shape{op.getHeads(), cache.getKvHeads(), cache.getHeadDim(), op.getScale().convertToFloat()};
  if (shape.headDim % 16 != 0)
    return op.emitError("the head size ") << shape.headDim << " is not a multiple of 16, which kernels need";
  std::string suffix = std::to_string(shape.kvHeads) + "x" + std::to_string(shape.headDim);
  auto append = library.get("cache_append_" + suffix, [&](StringRef name) {
    return emitCacheAppend(library.module, name, shape.kvHeads, shape.headDim);
  });
  Value positions = address(op.getPositions()), rows = rowsOf(op.getQuery()), layer = e.i64(op.getLayer());
  Access cacheWrite{-1, int64_t(op.getLayer()), 1, "rows"}, cacheRead{-1, int64_t(op.getLayer()), 1, ""};
  emitCall(append,
           {address(op.getKey()), e.i64(stride(op.getKey())), address(op.getValue()), e.i64(stride(op.getValue())),
            positions, caches, cacheCapacities, rows, layer},
           {access(op.getKey(), "rows"), access(op.getValue(), "rows")}, {cacheWrite});

  int64_t bytes = attentionScratchBytes(shape);
  perThread = std::max(perThread, bytes);
  Value thread = e.callField(call, QUERN_CALL_THREAD, e.getI64Type());
  std::string name = "attention_" + std::to_string(shape.heads) + "x" + suffix + "_" + nameOf(shape.scale);
  auto kernel = library.get(
      name, [&](StringRef kernelName) { return emitAttention(library.module, kernelName, shape, library.target); });
  emitCall(kernel,
           {address(op.getQuery()), e.i64(stride(op.getQuery())), positions, caches, cacheCapacities,
            address(op.getOut()), e.i64(stride(op.getOut())), rows, layer, e.at(scratch, e.mul(thread, bytes))},
           {access(op.getQuery(), ""), cacheRead}, {access(op.getOut(), "")});
  return success();
}

LogicalResult EntryLowering::lower(Operation *op) {
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case<dq::WeightOp, func::ReturnOp>([](auto) { return success(); })
      .Case([&](dq::MatmulOp matmul) { return lowerMatmul(matmul); })
      .Case([&](dq::QuantizeOp quantize) { return lowerQuantize(quantize), success(); })
      .Case([&](lm::EmbeddingOp embedding) { return lowerEmbedding(embedding); })
      .Case([&](lm::RmsNormOp norm) { return lowerNorm(norm); })
      .Case([&](lm::RotaryAnglesOp angles) { return lowerAngles(angles); })
      .Case([&](lm::RotaryOp rotary) { return lowerRotary(rotary); })
      .Case([&](lm::AttentionOp attention) { return lowerAttention(attention); })
      .Case([&](lm::GatherRowsOp gather) { return lowerGather(gather), success(); })
      .Case([&](lm::SwigluOp swiglu) -> LogicalResult {
        if (!cast<RankedTensorType>(swiglu.getOut().getType()).getElementType().isF32())
          return swiglu.emitError("quantized results of swiglu have no kernel; quantize its f32 result");
        auto emit = [&](StringRef name) { return emitSwiglu(library.module, name); };
        return lowerBinary(swiglu, library.get("swiglu", emit)), success();
      })
      .Case([&](arith::AddFOp add) {
        auto emit = [&](StringRef name) { return emitAdd(library.module, name); };
        return lowerBinary(add, library.get("add", emit)), success();
      })
      .Default([](Operation *other) { return other->emitError("this op has no CPU kernel"); });
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
    Emitter e(entry.getLoc(), &getContext());
    e.setInsertionPoint(entry);
    auto lowered = func::FuncOp::create(e, entry.getName(), e.getFunctionType({e.ptr()}, {}));
    e.setInsertionPointToEnd(lowered.addEntryBlock());
    EntryLowering lowering(entry, library, e, lowered.getArgument(0));
    if (failed(lowering.run()))
      return failure();
    func::ReturnOp::create(e);
    lowered->setAttr(kArenaSizes, entry->getAttr(kArenaSizes));
    lowered->setAttr(kArenaPerThread, e.getI64IntegerAttr(lowering.perThreadBytes()));
    entry.erase();
    return success();
  }
};

} // namespace

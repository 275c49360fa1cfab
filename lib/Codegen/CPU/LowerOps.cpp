// The lowering of each op to calls of kernels.
#include "EntryLowering.h"
#include "quern/Codegen/PackPlan.h"
#include "quern/Codegen/Passes.h"
#include "quern/Runtime/KernelABI.h"

#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/Format.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

static RowKind rowKind(Value rows) {
  Type element = cast<RankedTensorType>(rows.getType()).getElementType();
  if (auto quantized = dyn_cast<dq::Act8Type>(element))
    return quantized.isRow() ? RowKind::Act8Row : RowKind::Act8;
  return element.isBF16() ? RowKind::BFloat : RowKind::Float;
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
  std::vector<Access> reads{access(x, "")}, writes;

  // Where y lies: the driver's buffer takes exactly N elements a row, the arena whole vectors.
  bool direct = isDirectOutput(out);
  Value y = direct ? outputs[out.use_begin()->getOperandNumber()] : address(out);
  int64_t yStride = direct ? n * 4 : stride(out), storedN = direct ? n : (n + 15) / 16 * 16;
  if (!direct)
    writes.push_back(access(out, ""));

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
    reads.push_back(access(op.getResidual(), ""));
  } else if (gated && segment == 1) {
    epilogue = Epilogue::Swiglu;
    aux = y;
    auxStride = yStride;
    reads.push_back(access(out, ""));
  }
  Work work{.weightBytes = layout->bytes(n, k) + (epilogue == Epilogue::Bias ? n * 4 : 0),
            .operationsPerRow = 2 * n * k,
            .unit = layout->inPairs() ? "pairs" : layout->isFloat() ? "fma" : "dot"};
  Arguments arguments{address(x), e.i64(stride(x)), address(weight), e.i64(layout->panelBytes(k)), aux,
                      e.i64(auxStride), y, e.i64(yStride), rowsOf(x), e.i64(storedN), e.i64(paddedK(*layout, k)),
                      e.at(counters, 8 * matmuls++), e.i64(counterBytes)};
  bool zeros = rowKind(x) == RowKind::Act8Row;
  if (zeros) {
    std::optional<int64_t> sums = placeOf(weight, kPackedSums);
    if (!sums)
      return op.emitError("weight ") << segment << " has no sums of its rows; run dq-pack-weights first";
    arguments.push_back(e.at(weights, *sums));
    work.weightBytes += n * 4;
  }
  emitCall(library.matmul(*layout, epilogue, zeros), arguments, reads, writes, work);
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
           {}, {access(op.getOut(), "rows")}, {.weightBytesPerRow = layout->panelBytes(k) / kPanelRows});
  return success();
}

/// Text of a number for a kernel's name.
static std::string nameOf(double value) {
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format("%.9g", value);
  return text;
}

/// What a kernel's name says of the rows that it writes.
static std::string suffixOf(RowKind kind) {
  return kind == RowKind::Act8      ? "quantize_"
         : kind == RowKind::Act8Row ? "quantize_rows_"
         : kind == RowKind::BFloat  ? "bf16_"
                                    : "";
}

LogicalResult EntryLowering::lowerNorm(lm::RmsNormOp op) {
  double eps = op.getEps().convertToFloat();
  int64_t row = width(op.getX()), gain = op.getGain().getType().getDimSize(0);
  if (gain != row && gain % kPanelRows != 0)
    return op.emitError("heads of ") << gain << " elements have no norm; multiples of " << kPanelRows << " have";
  if (gain != row) {
    auto kernel = library.get("head_norm_" + nameOf(eps),
                              [&](StringRef name) { return emitHeadNorm(library.module, name, eps); });
    emitCall(kernel,
             {address(op.getX()), e.i64(stride(op.getX())), address(op.getGain()), address(op.getOut()),
              e.i64(stride(op.getOut())), rowsOf(op.getX()), e.i64(row / gain), e.i64(gain)},
             {access(op.getX(), "rows")}, {access(op.getOut(), "rows")}, {.weightBytes = gain * 4});
    return success();
  }
  RowKind kind = rowKind(op.getOut());
  auto kernel = library.get("rms_norm_" + suffixOf(kind) + nameOf(eps), [&](StringRef name) {
    return emitRmsNorm(library.module, name, eps, kind);
  });
  emitCall(kernel,
           {address(op.getX()), e.i64(stride(op.getX())), address(op.getGain()), address(op.getOut()),
            e.i64(stride(op.getOut())), rowsOf(op.getX()), e.i64(width(op.getX()))},
           {access(op.getX(), "rows")}, {access(op.getOut(), "rows")}, {.weightBytes = width(op.getX()) * 4});
  return success();
}

void EntryLowering::lowerQuantize(dq::QuantizeOp op) {
  RowKind kind = rowKind(op.getOut());
  const char *name = kind == RowKind::BFloat    ? "round_to_bf16"
                     : kind == RowKind::Act8Row ? "quantize_rows"
                                                : "quantize";
  auto kernel = library.get(name, [&](StringRef given) { return emitQuantize(library.module, given, kind); });
  emitCall(kernel,
           {address(op.getX()), e.i64(stride(op.getX())), address(op.getOut()), e.i64(stride(op.getOut())),
            rowsOf(op.getX()), e.i64(width(op.getX()))},
           {access(op.getX(), "rows")}, {access(op.getOut(), "rows")});
}

LogicalResult EntryLowering::lowerDequantize(dq::DequantizeOp op) {
  if (rowKind(op.getIn()) != RowKind::Act8Row)
    return op.emitError("has no CPU kernel: only rows of !dq.act8<row> are dequantized at run time");
  auto kernel =
      library.get("dequantize_rows", [&](StringRef name) { return emitDequantizeRows(library.module, name); });
  emitCall(kernel,
           {address(op.getIn()), e.i64(stride(op.getIn())), address(op.getOut()), e.i64(stride(op.getOut())),
            rowsOf(op.getIn()), e.i64(width(op.getIn()))},
           {access(op.getIn(), "rows")}, {access(op.getOut(), "rows")});
  return success();
}

LogicalResult EntryLowering::lowerGather(lm::GatherColumnsOp op) {
  if (width(op.getOut()) % kPanelRows != 0)
    return op.emitError("rows of ") << width(op.getOut()) << " columns cannot be put into another order; multiples of "
                                    << kPanelRows << " can";
  auto kernel = library.get("gather_columns", [&](StringRef name) { return emitGatherColumns(library.module, name); });
  emitCall(kernel,
           {address(op.getX()), e.i64(stride(op.getX())), address(op.getColumns()), address(op.getOut()),
            e.i64(stride(op.getOut())), rowsOf(op.getX()), e.i64(width(op.getOut()))},
           {access(op.getX(), "rows")}, {access(op.getOut(), "rows")}, {.weightBytes = width(op.getOut()) * 4});
  return success();
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

/// A pair takes a product and a sum of each element of key and value; of bytes, those of each digit.
static Work attentionWork(const AttentionShape &shape) {
  bool bytes = shape.layout().bytes();
  int64_t products = shape.heads * shape.headDim * 2 * 2;
  return {.cacheBytesPerKey = shape.kvHeads * shape.layout().positionBytes() * 2,
          .operationsPerPair = bytes ? products * kByteAttentionDigits : products,
          .unit = bytes ? "dot" : "fma"};
}

LogicalResult EntryLowering::lowerAttention(lm::AttentionOp op) {
  lm::CacheType cache = op.getCache().getType();
  AttentionShape shape{op.getHeads(), cache.getKvHeads(), cache.getHeadDim(), op.getScale().convertToFloat(),
                       cacheKind};
  if (shape.headDim % 16 != 0)
    return op.emitError("the head size ") << shape.headDim << " is not a multiple of 16, which kernels need";
  CacheLayout layout = shape.layout();
  std::string kind = cacheKindSuffix(cacheKind);
  std::string suffix = std::to_string(shape.kvHeads) + "x" + std::to_string(shape.headDim);
  auto append = library.get("cache_append" + kind + "_" + suffix, [&](StringRef name) {
    return emitCacheAppend(library.module, name, layout, library.target);
  });
  Value positions = address(op.getPositions()), rows = rowsOf(op.getQuery()), layer = e.i64(op.getLayer());
  Access cacheWrite{-1, int64_t(op.getLayer()), 1, "rows"}, cacheRead{-1, int64_t(op.getLayer()), 1, ""};
  emitCall(append,
           {address(op.getKey()), e.i64(stride(op.getKey())), address(op.getValue()), e.i64(stride(op.getValue())),
            positions, caches, cacheCapacities, rows, layer},
           {access(op.getKey(), "rows"), access(op.getValue(), "rows")}, {cacheWrite});

  perThread = std::max(perThread, attentionScratchBytes(shape, library.target));
  std::string name = "attention" + kind + "_" + std::to_string(shape.heads) + "x" + suffix + "_" + nameOf(shape.scale);
  auto kernel = library.get(
      name, [&](StringRef kernelName) { return emitAttention(library.module, kernelName, shape, library.target); });
  emitCall(kernel,
           {address(op.getQuery()), e.i64(stride(op.getQuery())), positions, caches, cacheCapacities,
            address(op.getOut()), e.i64(stride(op.getOut())), rows, layer, scratch},
           {access(op.getQuery(), ""), cacheRead}, {access(op.getOut(), "")}, attentionWork(shape));
  return success();
}

LogicalResult EntryLowering::lower(Operation *op) {
  current = op;
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case<dq::WeightOp, func::ReturnOp>([](auto) { return success(); })
      .Case([&](dq::MatmulOp matmul) { return lowerMatmul(matmul); })
      .Case([&](dq::QuantizeOp quantize) { return lowerQuantize(quantize), success(); })
      .Case([&](dq::DequantizeOp dequantize) { return lowerDequantize(dequantize); })
      .Case([&](lm::EmbeddingOp embedding) { return lowerEmbedding(embedding); })
      .Case([&](lm::RmsNormOp norm) { return lowerNorm(norm); })
      .Case([&](lm::RotaryAnglesOp angles) { return lowerAngles(angles); })
      .Case([&](lm::RotaryOp rotary) { return lowerRotary(rotary); })
      .Case([&](lm::AttentionOp attention) { return lowerAttention(attention); })
      .Case([&](lm::GatherColumnsOp gather) { return lowerGather(gather); })
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

#include "LaunchLowering.h"

#include "Embedding.h"
#include "Gather.h"
#include "Quantize.h"
#include "RmsNorm.h"

#include "quern/Codegen/DeviceCode.h"
#include "quern/Codegen/Passes.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

static std::string nameOf(func::FuncOp entry, TokenRange tokens) {
  std::string name = entry.getName().str() + "_" + std::to_string(tokens.least);
  return tokens.isOne() ? name : name + "_to_" + std::to_string(tokens.most);
}

LaunchLowering::LaunchLowering(func::FuncOp entry, gpu::GPUModuleOp kernels, const GpuTarget &target, TokenRange tokens)
    : entry(entry), kernels(kernels), target(target), host(entry, nameOf(entry, tokens), tokens) {}

gpu::GPUFuncOp LaunchLowering::kernel(const std::string &name, Emit emit) {
  if (auto known = kernels.lookupSymbol<gpu::GPUFuncOp>(name))
    return known;
  return emit();
}

LogicalResult LaunchLowering::run(int64_t choices) {
  for (BlockArgument argument : entry.getArguments())
    if (isIntermediate(argument))
      return entry.emitError("argument ")
             << argument.getArgNumber() << " is a matrix of rows, which has no place in the arena";
  for (Operation &op : entry.front().without_terminator())
    if (!done.contains(&op) && failed(lower(&op)))
      return failure();
  auto returned = cast<func::ReturnOp>(entry.front().getTerminator());
  for (Value value : returned.getOperands())
    if (!isDirectOutput(value))
      return returned.emitError("a result that is not written by a matmul has no place in the driver's buffers");
  if (choices > 0 && failed(launchChoice(returned.getOperand(0), choices)))
    return failure();
  host.finish();
  return success();
}

static int64_t widthOf(Value rows) { return cast<RankedTensorType>(rows.getType()).getDimSize(1); }

LogicalResult LaunchLowering::launchChoice(Value logits, int64_t choices) {
  int64_t width = widthOf(logits);
  if (width < choices)
    return logits.getDefiningOp()->emitError("has ")
           << width << " logits, but there are " << choices << " tokens";
  launchArgmax(logits, {choices, width == choices ? 0 : width});
  launchSample(logits, {choices, width == choices ? 0 : width});
  return success();
}

void LaunchLowering::launchArgmax(Value logits, const Argmax &argmax) {
  Operation *op = logits.getDefiningOp();
  Value rows = host.rowsOf(logits), parts = host.scratch(host.tokens().most * Argmax::kPartBytes);
  auto name = StringAttr::get(op->getContext(), "argmax");
  host.launch(op, kernel(argmax.partsName(), [&] { return emitArgmaxParts(kernels, argmax, target); }),
              {host.address(logits), parts}, {.x = {host.number(Argmax::kParts)}, .y = {rows}})
      ->setAttr(kHostOp, name);
  host.launch(op, kernel(argmax.mergeName(), [&] { return emitArgmaxMerge(kernels, argmax, target); }),
              {parts, host.choices()}, {.x = {rows}})
      ->setAttr(kHostOp, name);
}

void LaunchLowering::launchSample(Value logits, const Sample &sample) {
  Operation *op = logits.getDefiningOp();
  Value work = host.scratch(std::min(host.tokens().most, DeviceProgram::kMostDrawn) * Sample::kRowBytes);
  Value arguments[] = {host.address(logits), host.choices(), host.draws(), work};
  HostGrid::Dimension rows{host.rowsOf(logits)}, parts{host.number(Sample::kParts)};
  auto launch = [&](gpu::GPUFuncOp made, HostGrid grid) {
    host.launch(op, made, arguments, grid)->setAttr(kHostOp, StringAttr::get(op->getContext(), "sample"));
  };
  launch(kernel(sample.partsName(), [&] { return emitSampleParts(kernels, sample, target); }), {.x = parts, .y = rows});
  launch(kernel(sample.gatherName(), [&] { return emitSampleGather(kernels, sample, target); }),
         {.x = parts, .y = rows});
  launch(kernel(sample.drawName(), [&] { return emitSampleDraw(kernels, sample, target); }), {.x = rows});
}

LogicalResult LaunchLowering::lowerNorm(lm::RmsNormOp op) {
  if (isHeadNorm(op))
    return lowerHeadNorm(op);
  FailureOr<bool> taken = isTakenByMatmul(op);
  if (failed(taken) || *taken)
    return LogicalResult(taken);
  RmsNorm norm{widthOf(op.getX()), op.getEps().convertToDouble()};
  RowKind kind = rowKindOf(op.getOut());
  norm.quantized = kind == RowKind::Act8;
  SmallVector<Value> arguments = {host.address(op.getX()), host.address(op.getGain())};
  Value rounded = kind == RowKind::BFloat ? host.scratch(host.tokens().most * norm.width * 4) : Value();
  llvm::append_range(arguments, rounded ? SmallVector<Value>{rounded} : rowsAt(op.getOut()));
  host.launch(op, kernel(norm.name(), [&] { return emitRmsNorm(kernels, norm, target); }), arguments,
              {.x = {host.rowsOf(op.getX())}});
  if (rounded)
    launchElementwise(op, Elementwise::RoundToBfloat, rounded, op.getOut());
  return success();
}

void LaunchLowering::launchElementwise(Operation *op, Elementwise kind, ValueRange from, Value out) {
  int64_t width = widthOf(out);
  SmallVector<Value> arguments(from);
  arguments.push_back(host.address(out));
  host.launch(op, kernel(elementwiseName(kind, width), [&] { return emitElementwise(kernels, kind, width); }),
              arguments, {.x = {host.number(width), kElementwiseThreads}, .y = {host.rowsOf(out)}});
}

LogicalResult LaunchLowering::lowerBinary(Operation *op, Elementwise kind) {
  Value out = op->getResult(0);
  if (!isIntermediate(out) || rowKindOf(out) != RowKind::Float)
    return op->emitOpError("has a GPU kernel for rows of f32 only, got ") << out.getType();
  launchElementwise(op, kind, {host.address(op->getOperand(0)), host.address(op->getOperand(1))}, out);
  return success();
}

LogicalResult LaunchLowering::lowerHeadNorm(lm::RmsNormOp op) {
  if (op->hasOneUse() && isa<lm::RotaryOp>(*op->user_begin()))
    return success(); // done by the kernel that rotates
  int64_t headDim = op.getGain().getType().getDimSize(0);
  HeadNorm norm{widthOf(op.getX()) / headDim, headDim, op.getEps().convertToDouble()};
  host.launch(op, kernel(norm.name(), [&] { return emitHeadNorm(kernels, norm, target); }),
              {host.address(op.getX()), host.address(op.getGain()), host.address(op.getOut())},
              {.x = {host.number(norm.heads), HeadNorm::kWarps}, .y = {host.rowsOf(op.getX())}});
  return success();
}

LogicalResult LaunchLowering::lowerGather(lm::GatherRowsOp op) {
  int64_t width = widthOf(op.getX());
  host.launch(op, kernel(gatherRowsName(width), [&] { return emitGatherRows(kernels, width, target); }),
              {host.address(op.getX()), host.address(op.getRows()), host.address(op.getOut())},
              {.x = {host.rowsOf(op.getOut())}});
  return success();
}

LogicalResult LaunchLowering::lowerGather(lm::GatherColumnsOp op) {
  int64_t from = widthOf(op.getX()), width = widthOf(op.getOut());
  auto emit = [&] { return emitGatherColumns(kernels, from, width, target); };
  host.launch(op, kernel(gatherColumnsName(from, width), emit),
              {host.address(op.getX()), host.address(op.getColumns()), host.address(op.getOut())},
              {.x = {host.rowsOf(op.getX())}});
  return success();
}

LogicalResult LaunchLowering::lower(Operation *op) {
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case<dq::WeightOp>([](auto) { return success(); })
      .Case([&](lm::RotaryAnglesOp angles) -> LogicalResult {
        if (!angles->hasAttr(kRotaryTable))
          return angles.emitError("has no table of angles; run gpu-make-rotary-tables first");
        return success(); // kernels read the table
      })
      .Case([&](dq::MatmulOp matmul) { return lowerMatmul(matmul); })
      .Case([&](dq::QuantizeOp quantize) { return lowerQuantize(quantize); })
      .Case([&](lm::EmbeddingOp embedding) { return lowerEmbedding(embedding); })
      .Case([&](lm::RmsNormOp norm) { return lowerNorm(norm); })
      .Case([&](lm::RotaryOp rotary) { return checkRotary(rotary); })
      .Case([&](lm::AttentionOp attention) { return lowerAttention(attention); })
      .Case([&](lm::GatherColumnsOp gather) { return lowerGather(gather); })
      .Case([&](lm::GatherRowsOp gather) { return lowerGather(gather); })
      .Case([&](lm::SwigluOp swiglu) { return lowerBinary(swiglu, Elementwise::Swiglu); })
      .Case([&](arith::AddFOp sum) { return lowerBinary(sum, Elementwise::Sum); })
      .Default([](Operation *other) {
        return other->emitOpError("has no GPU kernel; compile for CPU targets only (--target cpu)");
      });
}

LogicalResult LaunchLowering::lowerQuantize(dq::QuantizeOp op) {
  FailureOr<bool> taken = isTakenByMatmul(op);
  if (failed(taken) || *taken)
    return LogicalResult(taken);
  if (rowKindOf(op.getOut()) == RowKind::BFloat) {
    launchElementwise(op, Elementwise::RoundToBfloat, host.address(op.getX()), op.getOut());
    return success();
  }
  int64_t width = widthOf(op.getX());
  SmallVector<Value> arguments = {host.address(op.getX())};
  llvm::append_range(arguments, rowsAt(op.getOut()));
  host.launch(op, kernel(quantizeName(0, width), [&] { return emitQuantize(kernels, 0, width, target); }), arguments,
              {.x = {host.rowsOf(op.getX(), quantizeBlocks(width))}});
  return success();
}

LogicalResult LaunchLowering::lowerEmbedding(lm::EmbeddingOp op) {
  auto type = cast<RankedTensorType>(op.getTable().getType());
  auto segment = segmentOf(type);
  if (!segment)
    return op.emitOpError("has no GPU kernel: ") << segment.error().message;
  Embedding embedding{*segment, type.getDimSize(1)};
  host.launch(op, kernel(embedding.name(), [&] { return emitEmbedding(kernels, embedding, target); }),
              {host.address(op.getIds()), host.address(op.getTable()), host.address(op.getOut())},
              {.x = {host.number(embedding.blocks())}, .y = {host.rowsOf(op.getOut())}});
  return success();
}

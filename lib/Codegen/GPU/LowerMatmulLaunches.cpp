// Matmuls as launches: of a kernel for the number of rows that there are.
#include "LaunchLowering.h"

#include "PromptAttention.h"
#include "SplitRows.h"

#include "quern/Codegen/Passes.h"
#include "quern/Codegen/Spirv.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

RowKind codegen::rowKindOf(Value rows) {
  Type element = cast<RankedTensorType>(rows.getType()).getElementType();
  return isa<dq::Act8Type>(element) ? RowKind::Act8 : element.isBF16() ? RowKind::BFloat : RowKind::Float;
}

bool codegen::inOneGroup(Operation *a, Operation *b) {
  return a->hasAttr(kGroup) && a->getAttr(kGroup) == b->getAttr(kGroup);
}

Operation *LaunchLowering::prologueOf(dq::MatmulOp op) {
  Operation *made = op.getX().getDefiningOp();
  bool prepares = isa_and_nonnull<lm::RmsNormOp, dq::QuantizeOp>(made);
  return prepares && op.getX().hasOneUse() && inOneGroup(made, op) && !done.contains(made) ? made : nullptr;
}

dq::QuantizeOp LaunchLowering::epilogueOf(Operation *op) {
  Value result = op->getResult(0);
  if (op->getNumResults() != 1 || !result.hasOneUse())
    return {};
  auto quantize = dyn_cast<dq::QuantizeOp>(*result.user_begin());
  return quantize && inOneGroup(op, quantize) ? quantize : dq::QuantizeOp();
}

Result<Matvec::Segment> codegen::segmentOf(RankedTensorType type) {
  Type element = type.getElementType();
  if (auto block = dyn_cast<dq::BlockType>(element))
    return matvecSegment(block.getFormat().getSpec(), type.getDimSize(0));
  return matvecSegment(element.getIntOrFloatBitWidth() / 8, element.isBF16(), type.getDimSize(0));
}

FailureOr<Matvec> LaunchLowering::matvecOf(dq::MatmulOp op, int64_t columns, bool more) {
  Matvec matvec;
  for (Value weight : op.getWeights()) {
    auto segment = segmentOf(cast<RankedTensorType>(weight.getType()));
    if (!segment)
      return op.emitOpError("has no GPU kernel: ") << segment.error().message;
    matvec.segments.push_back(*segment);
  }
  matvec.width = cast<RankedTensorType>(op.getWeights()[0].getType()).getDimSize(1);
  matvec.columns = columns;
  matvec.more = more;
  matvec.swiglu = op.getActivation() == dq::Activation::Swiglu;
  matvec.bias = !op.getBiases().empty();
  matvec.residual = bool(op.getResidual());
  if (auto quantize = epilogueOf(op); quantize && host.hasTokens(op.getX())) {
    Matvec with = matvec;
    with.output = rowKindOf(quantize.getOut());
    if (with.check())
      matvec = with;
  }
  if (Operation *made = prologueOf(op); made && host.tokens().most == 1) {
    Matvec with = matvec;
    auto norm = dyn_cast<lm::RmsNormOp>(made);
    with.prologue = norm ? Matvec::Prologue::Norm : Matvec::Prologue::Quantize;
    if (norm)
      with.eps = norm.getEps().convertToFloat();
    if (with.takes() == rowKindOf(op.getX()) && with.check())
      matvec = with;
  }
  if (Status possible = matvec.check(); !possible)
    return op.emitOpError("has no GPU kernel: ") << possible.error().message;
  return matvec;
}

FailureOr<bool> LaunchLowering::isTakenByMatmul(Operation *op) {
  if (!op->hasOneUse() || host.tokens().most != 1)
    return false; // kernels of one row only do so, and there may be as many outputs as tokens
  auto matmul = dyn_cast<dq::MatmulOp>(*op->user_begin());
  if (!matmul || prologueOf(matmul) != op)
    return false;
  FailureOr<Matvec> matvec = matvecOf(matmul, 1);
  if (failed(matvec))
    return failure();
  return matvec->prologue != Matvec::Prologue::None;
}

SmallVector<Value> LaunchLowering::rowsAt(Value value) {
  if (rowKindOf(value) == RowKind::Act8)
    return host.quantized(value);
  return {host.address(value)};
}

void LaunchLowering::launchMatvec(dq::MatmulOp op, const Matvec &matvec) {
  SmallVector<Value> arguments;
  auto addresses = [&](ValueRange values) {
    for (Value value : values)
      arguments.push_back(host.address(value));
  };
  addresses(op.getWeights());
  if (matvec.prologue == Matvec::Prologue::None) {
    llvm::append_range(arguments, rowsAt(op.getX()));
  } else if (auto norm = op.getX().getDefiningOp<lm::RmsNormOp>()) {
    addresses({norm.getX(), norm.getGain()});
  } else {
    addresses(op.getX().getDefiningOp<dq::QuantizeOp>().getX());
  }
  addresses(op.getBiases());
  if (op.getResidual())
    addresses(op.getResidual());
  if (matvec.output == RowKind::Float)
    addresses(op.getOuts());
  else
    llvm::append_range(arguments, rowsAt(epilogueOf(op).getOut()));
  HostGrid grid;
  if (matvec.more) {
    arguments.push_back(host.rowsOf(op.getX()));
    grid = {.x = {host.rowsOf(op.getX()), matvec.columns}, .y = {host.number(matvec.blocks(target))}};
  }
  host.launch(op, kernel(matvec.name(), [&] { return emitMatvec(kernels, matvec, target); }), arguments, grid);
}

Result<PromptMatmul> codegen::promptOf(dq::MatmulOp op, const GpuTarget &target) {
  PromptMatmul prompt;
  for (Value weight : op.getWeights()) {
    QUERN_ASSIGN(Matvec::Segment part, segmentOf(cast<RankedTensorType>(weight.getType())));
    prompt.segments.push_back(std::move(part));
  }
  prompt.width = cast<RankedTensorType>(op.getWeights()[0].getType()).getDimSize(1);
  prompt.swiglu = op.getActivation() == dq::Activation::Swiglu;
  prompt.bias = !op.getBiases().empty();
  prompt.residual = bool(op.getResidual());
  QUERN_TRY(prompt.check(target));
  prompt.fit(target);
  return prompt;
}

Operation *LaunchLowering::findWithoutPromptKernel(func::FuncOp entry, const GpuTarget &target) {
  Operation *found = nullptr;
  entry.walk([&](lm::AttentionOp attention) {
    if (!found && !PromptAttention::has(target, attention.getCache().getType().getHeadDim()))
      found = attention;
  });
  return found;
}

LogicalResult LaunchLowering::launchAnyRows(dq::MatmulOp op) {
  bool few = takesSpirv(target);
  if (!few && promptOf(op, target))
    return launchPrompt(op);
  FailureOr<Matvec> matvec = matvecOf(op, few ? 1 : Matvec::kMostColumns, /*more=*/true);
  if (succeeded(matvec))
    launchMatvec(op, *matvec);
  return matvec;
}

SmallVector<Value> LaunchLowering::launchSplit(dq::MatmulOp op) {
  SplitRows rows{cast<RankedTensorType>(op.getX().getType()).getDimSize(1)};
  int64_t most = host.tokens().most;
  SmallVector<Value> split = {host.scratch(most * rows.rowBytes()), host.scratch(most * 4, most * rows.rowBytes())};
  host.launch(op, kernel(rows.name(), [&] { return emitSplitRows(kernels, rows); }),
              {host.address(op.getX()), split[0], split[1]}, {.x = {host.rowsOf(op.getX())}});
  return split;
}

LogicalResult LaunchLowering::launchPrompt(dq::MatmulOp op) {
  auto prompt = promptOf(op, target);
  if (!prompt)
    return op.emitOpError("has no GPU kernel: ") << prompt.error().message;
  // Of gathered rows there may be few, for which other kernels stand beside this one: none of them quantizes.
  bool mayQuantize = prompt->canQuantize() && host.hasTokens(op.getX());
  dq::QuantizeOp quantize = mayQuantize ? epilogueOf(op) : dq::QuantizeOp();
  prompt->quantized = quantize && rowKindOf(quantize.getOut()) == RowKind::Act8;
  SmallVector<Value> arguments;
  auto addresses = [&](ValueRange values) {
    for (Value value : values)
      arguments.push_back(host.address(value));
  };
  addresses(op.getWeights());
  llvm::append_range(arguments, prompt->splits() ? launchSplit(op) : rowsAt(op.getX()));
  addresses(op.getBiases());
  if (op.getResidual())
    addresses(op.getResidual());
  if (prompt->quantized) {
    llvm::append_range(arguments, rowsAt(quantize.getOut()));
    done.insert(quantize);
  } else {
    addresses(op.getOuts());
  }
  arguments.push_back(host.rowsOf(op.getX()));
  host.launch(op, kernel(prompt->name(), [&] { return emitPromptMatmul(kernels, *prompt, target); }), arguments,
              {.x = {host.rowsOf(op.getX()), prompt->block.tokens}, .y = {host.number(prompt->rowBlocks())}},
              prompt->sharedBytes(target));
  return success();
}

LogicalResult LaunchLowering::lowerMatmul(dq::MatmulOp op) {
  bool exact = host.hasTokens(op.getX()) && host.tokens().isOne();
  if ((host.hasTokens(op.getX()) && !exact) || (takesSpirv(target) && !host.tokens().isOne()))
    return launchAnyRows(op);
  // A plan of one number of tokens may have any number of outputs up to that.
  int64_t most = std::min(host.tokens().most, Matvec::kMostColumns);
  for (int64_t columns = exact ? most : 1; columns <= most; ++columns) {
    FailureOr<Matvec> matvec = matvecOf(op, columns);
    if (failed(matvec))
      return failure();
    if (exact)
      launchMatvec(op, *matvec);
    else
      host.whereRows(op.getX(), arith::CmpIPredicate::eq, columns, [&] { launchMatvec(op, *matvec); });
    if (matvec->output != RowKind::Float)
      done.insert(epilogueOf(op));
  }
  LogicalResult more = success();
  if (!exact && host.tokens().most > most)
    host.whereRows(op.getX(), arith::CmpIPredicate::sge, most + 1, [&] { more = launchAnyRows(op); });
  return more;
}

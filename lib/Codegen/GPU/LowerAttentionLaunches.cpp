// Attention as launches: with the rotations and norms of heads before it, and the quantization behind it.
#include "LaunchLowering.h"

#include "DecodeAttention.h"
#include "PromptAttention.h"
#include "RmsNorm.h"
#include "Rotary.h"

#include "quern/Codegen/DeviceCode.h"
#include "quern/Codegen/Passes.h"
#include "quern/Codegen/Spirv.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

/// What stands between the projections and attention.
struct LaunchLowering::Rotation {
  Value query, key;                 ///< as the projections give them
  lm::RmsNormOp queryNorm, keyNorm; ///< of heads; both or none
  lm::RotaryAnglesOp angles;
  bool interleaved;

  std::optional<double> eps() {
    return queryNorm ? std::optional<double>(queryNorm.getEps().convertToDouble()) : std::nullopt;
  }
};

LogicalResult LaunchLowering::checkRotary(lm::RotaryOp op) {
  for (Operation *user : op->getUsers())
    if (!isa<lm::AttentionOp>(user))
      return op.emitError("rows that are rotated for something other than attention have no GPU kernel");
  return success();
}

/// The norm of heads whose result is rotated and read by nothing else.
static lm::RmsNormOp headNormOf(lm::RotaryOp rotary) {
  auto norm = rotary.getX().getDefiningOp<lm::RmsNormOp>();
  return norm && norm->hasOneUse() && isHeadNorm(norm) ? norm : lm::RmsNormOp();
}

FailureOr<LaunchLowering::Rotation> LaunchLowering::rotationOf(lm::AttentionOp op) {
  auto query = op.getQuery().getDefiningOp<lm::RotaryOp>(), key = op.getKey().getDefiningOp<lm::RotaryOp>();
  auto angles = query ? query.getAngles().getDefiningOp<lm::RotaryAnglesOp>() : lm::RotaryAnglesOp();
  if (!key || !angles || key.getAngles() != query.getAngles() || key.getStyle() != query.getStyle())
    return op.emitError("attention has a GPU kernel only where queries and keys are rotated alike");
  Rotation rotation{query.getX(), key.getX(), {}, {}, angles, query.getStyle() == lm::RotaryStyle::Interleaved};
  lm::RmsNormOp queryNorm = headNormOf(query), keyNorm = headNormOf(key);
  // Kernels read what the first of these ops reads, which keeps its place in the arena as long as the group runs.
  for (Operation *before : {query.getOperation(), key.getOperation(), queryNorm.getOperation(), keyNorm.getOperation()})
    if (before && !inOneGroup(before, op))
      return op.emitError("attention has a GPU kernel only where it follows the norms and rotations of its queries and "
                          "keys, with no other op between them");
  if (!queryNorm && !keyNorm)
    return rotation;
  if (!queryNorm || !keyNorm || queryNorm.getEps() != keyNorm.getEps())
    return op.emitError("attention has a GPU kernel only where heads of queries and keys are normalized alike");
  rotation.queryNorm = queryNorm;
  rotation.keyNorm = keyNorm;
  rotation.query = queryNorm.getX();
  rotation.key = keyNorm.getX();
  return rotation;
}

LogicalResult LaunchLowering::lowerAttention(lm::AttentionOp op) {
  FailureOr<Rotation> rotation = rotationOf(op);
  if (failed(rotation))
    return failure();
  int64_t headDim = op.getCache().getType().getHeadDim();
  if (headDim % 16 != 0 || headDim > 256)
    return op.emitError("attention of heads of ")
           << headDim << " elements has no GPU kernel; multiples of 16 up to 256 have";
  if (host.tokens().most > 1)
    launchRotary(op, *rotation);
  if (host.tokens().most <= kMostDecodeRows || rotatesAgain())
    launchDecodeAttention(op, *rotation);
  else
    launchPromptAttention(op, host.address(rotation->query));
  return success();
}

bool LaunchLowering::rotatesAgain() const { return takesSpirv(target) && !host.tokens().isOne(); }

SmallVector<Value> LaunchLowering::rotationArguments(lm::AttentionOp op, Rotation &rotation) {
  auto tableName = rotation.angles->getAttrOfType<FlatSymbolRefAttr>(kRotaryTable);
  Value table = host.weight(SymbolTable::lookupNearestSymbolFrom<dq::SourceOp>(op, tableName));
  SmallVector<Value> arguments = {host.address(rotation.query), host.address(rotation.key),
                                  host.address(op.getValue())};
  if (rotation.queryNorm)
    arguments.append({host.address(rotation.queryNorm.getGain()), host.address(rotation.keyNorm.getGain())});
  arguments.append({table, host.address(op.getPositions()), host.caches(), host.capacities()});
  return arguments;
}

void LaunchLowering::launchRotary(lm::AttentionOp op, Rotation &rotation) {
  lm::CacheType cache = op.getCache().getType();
  RotaryCache rotary{op.getHeads(), cache.getKvHeads(), cache.getHeadDim(), rotation.interleaved, rotation.eps()};
  SmallVector<Value> arguments = rotationArguments(op, rotation);
  // Queries that attention rotates itself go where it will put its results.
  Value rotated = rotatesAgain() ? host.scratch(host.tokens().most * op.getHeads() * cache.getHeadDim() * 4)
                                 : host.address(rotation.query);
  arguments.append({rotated, host.number(op.getLayer())});
  host.launch(op, kernel(rotary.name(), [&] { return emitRotaryCache(kernels, rotary, target); }), arguments,
              {.x = {host.number(rotary.blocks())}, .y = {host.rowsOf(op.getQuery())}});
}

void LaunchLowering::launchPromptAttention(lm::AttentionOp op, Value query) {
  lm::CacheType cache = op.getCache().getType();
  PromptAttention prompt{op.getHeads(), cache.getKvHeads(), cache.getHeadDim(), op.getScale().convertToFloat()};
  Value rows = host.rowsOf(op.getQuery());
  host.launch(op, kernel(prompt.name(), [&] { return emitPromptAttention(kernels, prompt, target); }),
              {query, host.address(op.getPositions()), host.caches(), host.capacities(), host.address(op.getOut()),
               host.number(op.getLayer()), rows},
              {.x = {rows, PromptAttention::kRows}, .y = {host.number(op.getHeads())}});
}

void LaunchLowering::launchDecodeAttention(lm::AttentionOp op, Rotation &rotation) {
  lm::CacheType cache = op.getCache().getType();
  int64_t heads = op.getHeads(), kvHeads = cache.getKvHeads(), most = host.tokens().most;
  DecodeAttention attention{heads, kvHeads, cache.getHeadDim(), op.getScale().convertToFloat()};
  Value rows = host.rowsOf(op.getQuery()), positions = host.address(op.getPositions());
  SmallVector<Value> arguments = {host.address(rotation.query), positions, host.caches(), host.capacities()};
  attention.fused = most == 1 || rotatesAgain();
  attention.writes = most == 1;
  if (attention.fused) {
    attention.interleaved = rotation.interleaved;
    attention.headEps = rotation.eps();
    arguments = rotationArguments(op, rotation);
  }
  Value values = host.scratch(most * (attention.valueBytes() + attention.stateBytes()));
  Value states = host.scratch(0, most * attention.valueBytes());
  arguments.append({values, states});

  dq::QuantizeOp quantize = epilogueOf(op);
  if (quantize && rowKindOf(quantize.getOut()) != RowKind::Act8)
    quantize = {}; // has a kernel of its own
  SmallVector<Value> results = rowsAt(quantize ? quantize.getOut() : op.getOut());
  attention.quantized = bool(quantize);
  attention.merges = target.blockCounters && (!quantize || attention.headDim % 32 == 0);
  if (attention.merges) {
    arguments.push_back(host.counters(most * attention.countersOfRow()));
    llvm::append_range(arguments, results);
  }
  arguments.push_back(host.number(op.getLayer()));
  host.launch(op, kernel(attention.name(), [&] { return emitDecodeAttention(kernels, attention, target); }), arguments,
              {.x = {host.number(attention.splits())}, .y = {host.number(kvHeads * attention.passes())}, .z = {rows}});
  if (!attention.merges)
    launchMerge(op, attention, {values, states, positions}, results);
  if (quantize)
    done.insert(quantize);
}

void LaunchLowering::launchMerge(lm::AttentionOp op, const DecodeAttention &attention, ValueRange splits,
                                 ValueRange results) {
  MergeAttention merge{attention.heads, attention.headDim, attention.splits(), attention.quantized};
  SmallVector<Value> arguments(splits);
  llvm::append_range(arguments, results);
  host.launch(op, kernel(merge.name(), [&] { return emitMergeAttention(kernels, merge, target); }), arguments,
              {.x = {host.number(merge.groups())}, .y = {host.rowsOf(op.getQuery())}});
}

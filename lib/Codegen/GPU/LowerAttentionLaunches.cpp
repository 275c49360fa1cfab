// Attention as launches: with the rotations and norms of heads before it, and the quantization behind it.
#include "LaunchLowering.h"

#include "DecodeAttention.h"
#include "PromptAttention.h"
#include "RmsNorm.h"
#include "Rotary.h"

#include "quern/Codegen/DeviceCode.h"
#include "quern/Codegen/Passes.h"

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
  FailureOr<Rotation> found = rotationOf(op);
  if (failed(found))
    return failure();
  Rotation &rotation = *found;
  lm::CacheType cache = op.getCache().getType();
  int64_t heads = op.getHeads(), kvHeads = cache.getKvHeads(), headDim = cache.getHeadDim();
  if (headDim % 16 != 0 || headDim > 256)
    return op.emitError("attention of heads of ")
           << headDim << " elements has no GPU kernel; multiples of 16 up to 256 have";
  auto tableName = rotation.angles->getAttrOfType<FlatSymbolRefAttr>(kRotaryTable);
  Value table = host.weight(SymbolTable::lookupNearestSymbolFrom<dq::SourceOp>(op, tableName));
  Value positions = host.address(op.getPositions()), layer = host.number(op.getLayer());
  Value rows = host.rowsOf(op.getQuery()), query = host.address(rotation.query);
  SmallVector<Value> prepared = {query, host.address(rotation.key), host.address(op.getValue())};
  if (rotation.queryNorm)
    prepared.append({host.address(rotation.queryNorm.getGain()), host.address(rotation.keyNorm.getGain())});
  prepared.append({table, positions, host.caches(), host.capacities()});

  DecodeAttention attention{heads, kvHeads, headDim, op.getScale().convertToFloat()};
  attention.fused = host.tokens().most == 1;
  if (attention.fused) {
    attention.interleaved = rotation.interleaved;
    attention.headEps = rotation.eps();
  } else {
    RotaryCache rotary{heads, kvHeads, headDim, rotation.interleaved, rotation.eps()};
    SmallVector<Value> arguments(prepared);
    arguments.append({query, layer});
    host.launch(op, kernel(rotary.name(), [&] { return emitRotaryCache(kernels, rotary, target); }), arguments,
                {.x = {host.number(rotary.blocks())}, .y = {rows}});
    prepared = {query, positions, host.caches(), host.capacities()};
  }
  int64_t most = host.tokens().most;
  if (!host.tokens().isOne()) {
    PromptAttention prompt{heads, kvHeads, headDim, attention.scale};
    SmallVector<Value> arguments(prepared);
    arguments.append({host.address(op.getOut()), layer, rows});
    host.launch(op, kernel(prompt.name(), [&] { return emitPromptAttention(kernels, prompt, target); }), arguments,
                {.x = {rows, PromptAttention::kRows}, .y = {host.number(heads)}});
    return success();
  }
  Value values = host.scratch(most * (attention.valueBytes() + attention.stateBytes()));
  Value states = host.scratch(0, most * attention.valueBytes());
  SmallVector<Value> arguments(prepared);
  arguments.append({values, states, layer});
  host.launch(op, kernel(attention.name(), [&] { return emitDecodeAttention(kernels, attention, target); }), arguments,
              {.x = {host.number(attention.splits())}, .y = {host.number(kvHeads * attention.passes())}, .z = {rows}});

  dq::QuantizeOp quantize = epilogueOf(op);
  if (quantize && rowKindOf(quantize.getOut()) != RowKind::Act8)
    quantize = {}; // has a kernel of its own
  MergeAttention merge{heads, headDim, attention.splits(), bool(quantize)};
  SmallVector<Value> merged = {values, states, positions};
  llvm::append_range(merged, rowsAt(quantize ? quantize.getOut() : op.getOut()));
  host.launch(op, kernel(merge.name(), [&] { return emitMergeAttention(kernels, merge, target); }), merged,
              {.x = {host.number(merge.groups())}, .y = {rows}});
  if (quantize)
    done.insert(quantize);
  return success();
}

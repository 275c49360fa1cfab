// Arena offsets by liveness: first fit, in order of definition.
#include "quern/Codegen/MemoryPlan.h"
#include "quern/Codegen/ActivationLayout.h"
#include "quern/Codegen/GpuLayout.h"
#include "quern/Codegen/Passes.h"

#include "llvm/ADT/MapVector.h"

#include <algorithm>
#include <optional>

namespace quern::codegen {
#define GEN_PASS_DEF_PLANMEMORY
#include "lib/Codegen/Passes.h.inc"
} // namespace quern::codegen

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

int64_t codegen::rowBytes(RankedTensorType type) {
  int64_t width = type.getDimSize(1);
  if (type.getElementType().isBF16())
    return bfloatRowBytes(width);
  auto quantized = dyn_cast<dq::Act8Type>(type.getElementType());
  return quantized ? actRowBytes(width, quantized.isRow()) : floatRowBytes(width);
}

int64_t codegen::gpuRowBytes(RankedTensorType type) {
  int64_t width = type.getDimSize(1);
  if (isa<dq::Act8Type>(type.getElementType()))
    return gpuActivationBytes(width).row();
  return gpuRegionBytes(width * type.getElementTypeBitWidth() / 8);
}

/// The value whose first size a result shares.
static Value sizeOperand(Operation *op) {
  if (auto gather = dyn_cast<lm::GatherRowsOp>(op))
    return gather.getRows();
  if (auto matmul = dyn_cast<dq::MatmulOp>(op))
    return matmul.getX();
  return op->getNumOperands() ? op->getOperand(0) : Value();
}

std::vector<std::string> codegen::sizeNames(func::FuncOp entry) {
  std::vector<std::string> names;
  for (unsigned i = 0; i < entry.getNumArguments(); ++i)
    if (auto name = entry.getArgAttrOfType<StringAttr>(i, lm::kSizeAttr))
      if (!llvm::is_contained(names, name.getValue()))
        names.push_back(name.str());
  return names;
}

int64_t codegen::sizeIndex(func::FuncOp entry, Value value) {
  while (Operation *op = value.getDefiningOp())
    if (value = sizeOperand(op); !value)
      return -1;
  auto argument = cast<BlockArgument>(value);
  auto name = entry.getArgAttrOfType<StringAttr>(argument.getArgNumber(), lm::kSizeAttr);
  if (!name)
    return -1;
  auto names = sizeNames(entry);
  return llvm::find(names, name.getValue()) - names.begin();
}

bool codegen::isIntermediate(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.getRank() == 2 && type.isDynamicDim(0);
}

bool codegen::isDirectOutput(Value value) {
  // A gated matmul reads its first segment back in whole vectors, which the driver's rows may not have.
  auto matmul = value.getDefiningOp<dq::MatmulOp>();
  return matmul && matmul.getActivation() == dq::Activation::None && value.hasOneUse() &&
         isa<func::ReturnOp>(*value.user_begin());
}

/// The operand whose place the first result of an op may take over.
static Value inPlaceOperand(Operation *op) {
  if (auto matmul = dyn_cast<dq::MatmulOp>(op))
    return matmul.getResidual();
  if (auto rotary = dyn_cast<lm::RotaryOp>(op))
    return rotary.getX();
  if (isa<arith::AddFOp, lm::SwigluOp>(op) && op->getOperand(0).getType() == op->getResult(0).getType())
    return op->getOperand(0);
  return {};
}

namespace {

/// A place in the arena and the ops during which it holds something.
struct Place {
  int64_t size;  ///< index of the dynamic size
  int64_t bytes; ///< a row
  int64_t begin, end;
  int64_t offset = -1;

  bool meets(const Place &other) const {
    return size == other.size && begin <= other.end && other.begin <= end;
  }
};

struct PlanMemory : codegen::impl::PlanMemoryBase<PlanMemory> {
  using PlanMemoryBase::PlanMemoryBase;

  void runOnOperation() override {
    for (auto entry : getOperation().getOps<func::FuncOp>())
      if (failed(plan(entry)))
        return signalPassFailure();
  }

private:
  /// When each op runs. Those of one `lm.group` may run at once, so they count as one op.
  LogicalResult putInOrder(func::FuncOp entry, llvm::DenseMap<Operation *, int64_t> &order) {
    llvm::SmallPtrSet<Attribute, 16> seen;
    Attribute current;
    int64_t next = -1;
    for (Operation &op : entry.front()) {
      Attribute group = op.getAttr(kGroup);
      if (isa<dq::WeightOp>(op))
        group = current; // runs at no time
      else if (!group || group != current)
        ++next;
      if (group && group != current && !seen.insert(group).second)
        return op.emitError("is apart from the other ops of its group ") << group;
      current = group;
      order[&op] = next;
    }
    return success();
  }

  /// That of an operand which nothing reads any more once the op has written this result.
  static std::optional<size_t> placeToTakeOver(OpResult result, const llvm::DenseMap<Operation *, int64_t> &order,
                                               ArrayRef<Place> places,
                                               const llvm::MapVector<Value, size_t> &placeOf) {
    Operation *op = result.getOwner();
    Value operand = result.getResultNumber() == 0 ? inPlaceOperand(op) : Value();
    // Another op of the group may read the operand after this one has written.
    auto isDone = [&](Operation *user) { return user == op || order.lookup(user) < order.lookup(op); };
    if (!operand || !llvm::all_of(operand.getUsers(), isDone))
      return std::nullopt;
    auto known = placeOf.find(operand);
    if (known == placeOf.end() || places[known->second].end != order.lookup(op))
      return std::nullopt;
    return known->second;
  }

  LogicalResult plan(func::FuncOp entry) {
    llvm::DenseMap<Operation *, int64_t> order;
    if (failed(putInOrder(entry, order)))
      return failure();
    std::vector<Place> places;
    llvm::MapVector<Value, size_t> placeOf;
    for (Operation &op : entry.front())
      for (Value result : op.getResults()) {
        if (!isIntermediate(result) || isDirectOutput(result))
          continue;
        int64_t size = sizeIndex(entry, result);
        if (size < 0)
          return op.emitError("the first size of this result is not that of an argument with lm.size");
        int64_t last = order[&op];
        for (Operation *user : result.getUsers())
          last = std::max(last, order[user]);
        if (auto taken = placeToTakeOver(cast<OpResult>(result), order, places, placeOf)) {
          places[*taken].end = last;
          placeOf[result] = *taken;
          ++inPlace;
          continue;
        }
        auto type = cast<RankedTensorType>(result.getType());
        placeOf[result] = places.size();
        places.push_back({size, gpu ? gpuRowBytes(type) : rowBytes(type), order[&op], last});
      }
    std::vector<int64_t> sizes = fit(places, sizeNames(entry).size());
    annotate(entry, places, placeOf, sizes);
    return success();
  }

  /// First fit; returns the bytes a row that each dynamic size needs.
  std::vector<int64_t> fit(std::vector<Place> &places, size_t sizeCount) {
    std::vector<int64_t> needed(sizeCount);
    for (size_t i = 0; i < places.size(); ++i) {
      std::vector<const Place *> met;
      for (size_t j = 0; j < i; ++j)
        if (places[j].meets(places[i]))
          met.push_back(&places[j]);
      llvm::sort(met, [](const Place *a, const Place *b) { return a->offset < b->offset; });
      int64_t offset = 0;
      for (const Place *other : met)
        if (offset + places[i].bytes > other->offset)
          offset = std::max(offset, other->offset + other->bytes);
      places[i].offset = offset;
      needed[places[i].size] = std::max(needed[places[i].size], offset + places[i].bytes);
    }
    return needed;
  }

  void annotate(func::FuncOp entry, const std::vector<Place> &places, const llvm::MapVector<Value, size_t> &placeOf,
                ArrayRef<int64_t> sizes) {
    Builder builder(&getContext());
    for (Operation &op : entry.front()) {
      llvm::SmallVector<int64_t> offsets;
      for (Value result : op.getResults())
        if (auto place = placeOf.find(result); place != placeOf.end())
          offsets.push_back(places[place->second].offset);
        else
          offsets.push_back(-1); // the driver's buffer, or no rows
      if (llvm::any_of(offsets, [](int64_t offset) { return offset >= 0; }))
        op.setAttr(kArenaOffsets, builder.getDenseI64ArrayAttr(offsets));
    }
    entry->setAttr(kArenaSizes, builder.getDenseI64ArrayAttr(sizes));
  }
};

} // namespace

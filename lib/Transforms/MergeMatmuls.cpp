// Matmuls of the same rows become segments of one. See Passes.td.
#include "quern/Transforms/Passes.h"

#include "llvm/ADT/MapVector.h"

namespace quern::transforms {
#define GEN_PASS_DEF_MERGEMATMULS
#include "lib/Transforms/Passes.h.inc"
} // namespace quern::transforms

using namespace mlir;
using namespace quern;

/// True if the matmul's operands other than x are weight references or arguments, which can be had anywhere earlier.
static bool isMovable(dq::MatmulOp op) {
  auto early = [](Value value) { return !value.getDefiningOp() || value.getDefiningOp<dq::WeightOp>(); };
  return op.getActivation() == dq::Activation::None && !op.getResidual() && llvm::all_of(op.getWeights(), early) &&
         llvm::all_of(op.getBiases(), early);
}

/// Replaces the matmuls, in their order, by one at the place of the first.
static void merge(ArrayRef<dq::MatmulOp> matmuls) {
  SmallVector<Value> weights, biases;
  SmallVector<Type> types;
  SmallVector<Location> locations;
  for (dq::MatmulOp op : matmuls) {
    for (Value operand : llvm::concat<Value>(SmallVector<Value>(op.getWeights()), SmallVector<Value>(op.getBiases())))
      if (Operation *weight = operand.getDefiningOp(); weight && matmuls.front()->isBeforeInBlock(weight))
        weight->moveBefore(matmuls.front());
    llvm::append_range(weights, op.getWeights());
    llvm::append_range(biases, op.getBiases());
    llvm::append_range(types, op.getResultTypes());
    locations.push_back(op.getLoc());
  }
  OpBuilder builder(matmuls.front());
  auto merged = dq::MatmulOp::create(builder, builder.getFusedLoc(locations), types, dq::Activation::None,
                                     dq::MatmulOp(matmuls.front()).getX(), weights, biases, Value());
  unsigned result = 0;
  for (dq::MatmulOp op : matmuls) {
    for (Value old : op.getResults())
      old.replaceAllUsesWith(merged.getResult(result++));
    op.erase();
  }
}

namespace {

struct MergeMatmuls : transforms::impl::MergeMatmulsBase<MergeMatmuls> {
  using MergeMatmulsBase::MergeMatmulsBase;

  void runOnOperation() override {
    // By block, rows, and whether there are biases.
    llvm::MapVector<std::pair<Block *, std::pair<Value, int>>, SmallVector<dq::MatmulOp>> groups;
    getOperation()->walk([&](dq::MatmulOp op) {
      if (isMovable(op))
        groups[{op->getBlock(), {op.getX(), int(!op.getBiases().empty())}}].push_back(op);
    });
    for (auto &[key, matmuls] : groups)
      if (matmuls.size() > 1) {
        merged += matmuls.size() - 1;
        merge(matmuls);
      }
  }
};

} // namespace

// Products of matrices on buffers -> loops whose partial sums stay in registers. The order of every sum is that of the
// plain loops (ascending k, product and sum rounded one after the other), so results are the same to the bit.
#include "quern/Codegen/Passes.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace quern::codegen {
#define GEN_PASS_DEF_FUSEELEMENTWISE
#define GEN_PASS_DEF_TILEMATMULS
#include "lib/Codegen/Passes.h.inc"
} // namespace quern::codegen

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

/// A tile of the result: 4 rows by 32 columns of f32 are 8 registers of AVX-512. Each element of the left matrix then
/// serves 32 products, each line of the right one 4.
static constexpr int64_t kRows = 4, kColumns = 32;

/// Whether the op adds products up: [..., m, k] times [..., k, n] with loops in the order ..., m, k, n.
static bool isMatmul(linalg::GenericOp op) {
  unsigned rank = op.getNumLoops();
  if (rank < 3 || op.getNumDpsInputs() != 2 || op.getNumDpsInits() != 1)
    return false;
  for (unsigned i = 0; i < rank; ++i)
    if ((op.getIteratorTypesArray()[i] == utils::IteratorType::reduction) != (i == rank - 2))
      return false;
  auto map = [&](unsigned row, unsigned column) {
    llvm::SmallVector<AffineExpr> places;
    for (unsigned i = 0; i + 3 < rank; ++i)
      places.push_back(getAffineDimExpr(i, op.getContext()));
    places.push_back(getAffineDimExpr(row, op.getContext()));
    places.push_back(getAffineDimExpr(column, op.getContext()));
    return AffineMap::get(rank, 0, places, op.getContext());
  };
  unsigned m = rank - 3, k = rank - 2, n = rank - 1;
  return op.getIndexingMapsArray() == llvm::SmallVector<AffineMap>{map(m, k), map(k, n), map(m, n)};
}

/// Whether the body is out + x * y of f32 or f64.
static bool multipliesAndAdds(linalg::GenericOp op) {
  Block &body = *op.getBody();
  auto sum = body.getTerminator()->getOperand(0).getDefiningOp<arith::AddFOp>();
  auto product = sum ? sum.getRhs().getDefiningOp<arith::MulFOp>() : nullptr;
  return product && sum.getLhs() == body.getArgument(2) && product.getLhs() == body.getArgument(0) &&
         product.getRhs() == body.getArgument(1) && isa<Float32Type, Float64Type>(product.getType());
}

namespace {

/// One product on its way to loops.
class Tiling {
public:
  Tiling(linalg::GenericOp op) : op(op), b(op), loc(op.getLoc()) {}
  void run();

private:
  Value index(int64_t value) { return arith::ConstantIndexOp::create(b, loc, value); }
  Value size(Value memref, int64_t axis) { return b.createOrFold<memref::DimOp>(loc, memref, axis); }
  Value roundedDown(Value size, int64_t step);
  void tile(ValueRange outer, Value row, Value column);
  void rest(Value firstRow, Value rows, Value firstColumn, Value columns);

  linalg::GenericOp op;
  OpBuilder b;
  Location loc;
  Value x = op.getDpsInputs()[0], y = op.getDpsInputs()[1], out = op.getDpsInits()[0];
  int64_t batch = int64_t(op.getNumLoops()) - 3; ///< number of leading dimensions
};

} // namespace

Value Tiling::roundedDown(Value size, int64_t step) {
  Value rest = b.createOrFold<arith::RemUIOp>(loc, size, index(step));
  return b.createOrFold<arith::SubIOp>(loc, size, rest);
}

/// Rows `row` to row + 3, columns `column` to column + 31, over all k.
void Tiling::tile(ValueRange outer, Value row, Value column) {
  Type element = cast<MemRefType>(out.getType()).getElementType();
  auto line = VectorType::get({kColumns}, element);
  auto at = [&](Value first, Value second) {
    llvm::SmallVector<Value> indices(outer);
    indices.append({first, second});
    return indices;
  };
  llvm::SmallVector<Value> rows, sums;
  for (int64_t i = 0; i < kRows; ++i) {
    rows.push_back(arith::AddIOp::create(b, loc, row, index(i)));
    sums.push_back(vector::LoadOp::create(b, loc, line, out, at(rows.back(), column)));
  }
  auto loop = scf::ForOp::create(
      b, loc, index(0), size(x, batch + 1), index(1), sums,
      [&](OpBuilder &in, Location where, Value k, ValueRange before) {
        Value right = vector::LoadOp::create(in, where, line, y, at(k, column));
        llvm::SmallVector<Value> after;
        for (int64_t i = 0; i < kRows; ++i) {
          Value left = memref::LoadOp::create(in, where, x, at(rows[i], k));
          Value product = arith::MulFOp::create(in, where, vector::BroadcastOp::create(in, where, line, left), right);
          after.push_back(arith::AddFOp::create(in, where, before[i], product));
        }
        scf::YieldOp::create(in, where, after);
      });
  for (auto [place, sum] : llvm::zip(rows, loop.getResults()))
    vector::StoreOp::create(b, loc, sum, out, at(place, column));
}

/// The op again, on some rows and columns only; nothing where none are left.
void Tiling::rest(Value firstRow, Value rows, Value firstColumn, Value columns) {
  if (isConstantIntValue(getAsOpFoldResult(rows), 0) || isConstantIntValue(getAsOpFoldResult(columns), 0))
    return;
  auto part = [&](Value memref, Value row, Value height, Value column, Value width) -> Value {
    llvm::SmallVector<OpFoldResult> offsets, sizes, strides(size_t(batch + 2), b.getIndexAttr(1));
    for (int64_t i = 0; i < batch; ++i) {
      offsets.push_back(b.getIndexAttr(0));
      sizes.push_back(getAsOpFoldResult(size(memref, i)));
    }
    offsets.append({getAsOpFoldResult(row), getAsOpFoldResult(column)});
    sizes.append({getAsOpFoldResult(height), getAsOpFoldResult(width)});
    return memref::SubViewOp::create(b, loc, memref, offsets, sizes, strides);
  };
  Value zero = index(0), depth = size(x, batch + 1);
  Operation *copy = b.clone(*op);
  b.setInsertionPoint(copy);
  copy->setOperands({part(x, firstRow, rows, zero, depth), part(y, zero, depth, firstColumn, columns),
                     part(out, firstRow, rows, firstColumn, columns)});
  b.setInsertionPointAfter(copy);
}

void Tiling::run() {
  Value height = size(out, batch), width = size(out, batch + 1);
  Value rows = roundedDown(height, kRows), columns = roundedDown(width, kColumns), zero = index(0), one = index(1);
  llvm::SmallVector<Value> low, high, step;
  for (int64_t i = 0; i < batch; ++i) {
    low.push_back(zero);
    high.push_back(size(out, i));
    step.push_back(one);
  }
  // Columns outside: a strip of the right matrix, 32 wide, stays in the nearest caches for all rows.
  low.append({zero, zero});
  high.append({columns, rows});
  step.append({index(kColumns), index(kRows)});
  scf::LoopNest nest = scf::buildLoopNest(b, loc, low, high, step);
  b.setInsertionPoint(nest.loops.back().getBody()->getTerminator());
  llvm::SmallVector<Value> at;
  for (scf::ForOp loop : nest.loops)
    at.push_back(loop.getInductionVar());
  tile(ArrayRef(at).take_front(size_t(batch)), at[size_t(batch) + 1], at[size_t(batch)]);
  b.setInsertionPoint(op);
  rest(zero, rows, columns, b.createOrFold<arith::SubIOp>(loc, width, columns));
  rest(rows, b.createOrFold<arith::SubIOp>(loc, height, rows), zero, width);
  op.erase();
}

namespace {

struct TileMatmuls : codegen::impl::TileMatmulsBase<TileMatmuls> {
  void runOnOperation() override {
    llvm::SmallVector<linalg::GenericOp> products;
    getOperation()->walk([&](linalg::GenericOp op) {
      bool isContiguous = llvm::all_of(op->getOperandTypes(), [](Type type) {
        auto memref = dyn_cast<MemRefType>(type);
        return memref && memref.isLastDimUnitStride();
      });
      if (isContiguous && isMatmul(op) && multipliesAndAdds(op))
        products.push_back(op);
    });
    for (linalg::GenericOp op : products)
      Tiling(op).run();
  }
};

/// A product reads each element many times, so what makes its factors is computed before it, and once.
struct FuseElementwise : codegen::impl::FuseElementwiseBase<FuseElementwise> {
  void runOnOperation() override {
    linalg::ControlFusionFn mayFuse = [](OpOperand *operand) {
      auto isProduct = [](Operation *op) {
        auto generic = dyn_cast_or_null<linalg::GenericOp>(op);
        return generic && isMatmul(generic);
      };
      Operation *producer = operand->get().getDefiningOp();
      return producer && producer->hasOneUse() && !isProduct(producer) && !isProduct(operand->getOwner());
    };
    RewritePatternSet patterns(&getContext());
    linalg::populateElementwiseOpsFusionPatterns(patterns, mayFuse);
    linalg::populateFoldReshapeOpsByExpansionPatterns(patterns, mayFuse);
    linalg::GenericOp::getCanonicalizationPatterns(patterns, &getContext());
    linalg::populateConstantFoldLinalgOperations(patterns, mayFuse);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace

// A matmul with few columns, bound by the bytes of the weight: a warp, or a part of one where rows are short, takes a
// row, and its lanes share the k. Each lane loads 16 bytes of codes at a time and multiplies them by the codes of all
// columns, in exact integers for each scale, then adds the scaled products up in f32 in ascending order of its k; the
// lanes' sums are added by shuffles at the end, and lane t finishes column t.
#include "EmitKernel.h"
#include "MatvecGrid.h"
#include "MatvecPrologue.h"
#include "OverlapLaunches.h"
#include "RowDot.h"
#include "UnitLoop.h"
#include "lib/Codegen/CPU/Kernels.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

namespace {

/// The arguments of the kernel, in their order.
struct Arguments {
  Arguments(const Matvec &matvec, ValueRange all) {
    if (matvec.more) {
      rows = all.back();
      all = all.drop_back();
    }
    auto take = [&](size_t count) {
      ValueRange taken = all.take_front(count);
      all = all.drop_front(count);
      return taken;
    };
    weights = take(matvec.segments.size());
    x = take(countOfX(matvec));
    biases = take(matvec.bias ? matvec.segments.size() : 0);
    residual = llvm::to_vector(take(matvec.residual));
    results = llvm::to_vector(all);
  }

  static size_t countOfX(const Matvec &matvec) {
    if (matvec.prologue != Matvec::Prologue::None)
      return matvec.prologue == Matvec::Prologue::Norm ? 2 : 1;
    return matvec.takes() == RowKind::Act8 ? 3 : 1;
  }

  static size_t count(const Matvec &matvec) {
    size_t segments = matvec.segments.size();
    size_t results = matvec.output == RowKind::Act8 ? 3 : matvec.swiglu ? 1 : segments;
    return segments + countOfX(matvec) + (matvec.bias ? segments : 0) + matvec.residual + results;
  }

  ValueRange weights, x, biases;
  SmallVector<Value> residual, results;
  Value rows; ///< where they are an argument
};

class MatvecEmitter {
public:
  MatvecEmitter(Emitter &e, const Matvec &matvec, const GpuTarget &target, ValueRange arguments)
      : e(e), matvec(matvec), target(target), grid(matvec, target), args(matvec, arguments) {}

  void emit() {
    thread = threadIndex(e);
    if (matvec.prologue != Matvec::Prologue::None) {
      prologue.emplace(e, matvec, grid.warps);
      x = prologue->rows();
    } else if (matvec.takes() == RowKind::Act8) {
      x = {{args.x[0], args.x[1], args.x[2]}, {}, matvec.columns};
    } else {
      x = {{}, args.x[0], matvec.columns};
    }
    if (matvec.output == RowKind::Act8)
      made = sharedMemory(e, "made", matvec.columns * 32 * 4);
    if (matvec.more)
      goToRows();
    emitParts(blockIndex(e, matvec.more ? gpu::Dimension::y : gpu::Dimension::x), 0);
  }

private:
  /// Lets pointers begin at the block's rows of activations. The last block takes some again that another one stores.
  void goToRows() {
    Value wanted = e.mul(blockIndex(e), matvec.columns);
    Value first = e.min(wanted, e.sub(args.rows, e.i64(matvec.columns)));
    firstStored = e.sub(wanted, first);
    auto skip = [&](Value &rows, int64_t bytes) { rows = e.at(rows, e.mul(first, bytes)); };
    if (matvec.takes() == RowKind::Act8) {
      int64_t padded = gpuRowWidth(matvec.width);
      skip(x.quantized.codes, padded);
      skip(x.quantized.scales, padded / 32 * 4);
      skip(x.quantized.sums, padded / 16 * 2);
    } else {
      skip(x.rows, matvec.width * (matvec.takes() == RowKind::BFloat ? 2 : 4));
    }
    for (Value &residual : args.residual)
      skip(residual, matvec.segments.front().rows * 4);
    for (auto [result, segment] : llvm::zip(args.results, matvec.segments))
      skip(result, segment.rows * 4);
  }

  /// A row that the thread takes part in.
  struct Row {
    Value inBlock; ///< its number among the block's
    Value wanted;  ///< its number; beyond the last
    Value row;     ///< lanes do that one's work again, since shuffles need the whole warp
  };

  /// The parts from `first` on; `block` counts from the first block of that one.
  void emitParts(Value block, size_t first) {
    const MatvecPart &part = grid.parts[first];
    if (first + 1 == grid.parts.size())
      return emitPart(part, block);
    e.ifThenElse(
        e.less(block, e.i64(part.blocks)), [&] { emitPart(part, block); },
        [&] { emitParts(e.sub(block, e.i64(part.blocks)), first + 1); });
  }

  /// The first loads of the first row are on their way while x is made ready; of few columns, while the launch before
  /// ends, too, and those of the next row while a row ends.
  void emitPart(const MatvecPart &part, Value block) {
    Row first = rowOf(part, block, e.i64(0));
    if (!fewColumns())
      awaitLaunchBefore(e, target);
    Emitter::Values begun = beginRow(part, first);
    if (fewColumns())
      awaitLaunchBefore(e, target);
    if (prologue)
      prologue->emit(args.x[0], args.x.back());
    if (part.passes == 1)
      finishRow(part, first, begun, [] {});
    else
      keepRolled(e.loop(e.i64(0), e.i64(part.passes), e.i64(1), begun, [&](Value pass, ValueRange carried) {
        Emitter::Values next;
        auto beginNext = [&] {
          Value following = e.min(e.add(pass, 1), e.i64(part.passes - 1));
          next = beginRow(part, rowOf(part, block, following));
        };
        auto none = [] {};
        finishRow(part, rowOf(part, block, pass), carried, fewColumns() ? llvm::function_ref<void()>(beginNext) : none);
        if (!fewColumns()) {
          forgetX();
          beginNext();
        }
        return next;
      }));
    if (matvec.output == RowKind::Act8)
      quantizeRows(block, gpuRowWidth(part.rows) / 32);
  }

  /// Whether registers suffice for more than the sums and what is at hand.
  bool fewColumns() const { return matvec.columns <= 2; }

  /// LLVM would keep what it has read of x for the next row, which registers do not hold for many columns. Behind a
  /// barrier it has to read it again.
  void forgetX() { blockBarrier(e); }

  Row rowOf(const MatvecPart &part, Value block, Value pass) {
    int64_t rows = grid.rowsOfPass(part);
    Value inBlock = e.add(e.mul(pass, rows), e.div(thread, part.lanes));
    Value wanted = e.add(e.mul(block, rows * part.passes), inBlock);
    return {inBlock, wanted, e.min(wanted, e.i64(part.rows - 1))};
  }

  RowDot dotOf(const MatvecPart &part, size_t segment, Value row) {
    WeightRow w{args.weights[segment], row, part.rows, matvec.width};
    Value lane = e.rem(thread, e.i64(part.lanes));
    return {e, target, matvec.segments[segment].layout, w, x, lane, part.lanes};
  }

  Emitter::Values beginRow(const MatvecPart &part, const Row &row) {
    Emitter::Values begun;
    begunOf.clear();
    for (size_t i = 0; i < part.segments; ++i) {
      Emitter::Values ofSegment = dotOf(part, part.firstSegment + i, row.row).begin();
      begunOf.push_back(ofSegment.size());
      begun.append(ofSegment);
    }
    return begun;
  }

  void finishRow(const MatvecPart &part, const Row &at, ValueRange begun, llvm::function_ref<void()> beginNext) {
    Value lane = e.rem(thread, e.i64(part.lanes)), column = e.min(lane, e.i64(matvec.columns - 1));
    Value place = e.mul(e.add(e.mul(column, part.rows), at.row), 4), bias, residual;
    // Loaded before the row, so that they are there after it.
    if (matvec.bias)
      bias = e.load(e.getF32Type(), e.at(args.biases[part.firstSegment], e.mul(at.row, 4)), 4);
    if (matvec.residual)
      residual = e.load(e.getF32Type(), e.at(args.residual[0], place), 4);
    Emitter::Values sums;
    for (size_t i = 0; i < part.segments; ++i) {
      RowDot dot = dotOf(part, part.firstSegment + i, at.row);
      if (i > 0 && !fewColumns())
        forgetX();
      bool last = i + 1 == part.segments;
      auto none = [] {};
      size_t count = begunOf[i];
      Emitter::Values totals = dot.finish(begun.take_front(count), last ? beginNext : none);
      begun = begun.drop_front(count);
      sums.push_back(ofColumn(reduce(totals, part.lanes), lane));
    }
    Value y = matvec.swiglu ? e.mulf(emitSilu(e, sums[0]), sums[1]) : sums[0];
    y = bias ? e.addf(y, bias) : y;
    y = residual ? e.addf(y, residual) : y;
    store(part, at, place, lane, y);
  }

  /// Lane t stores column t.
  void store(const MatvecPart &part, const Row &at, Value place, Value lane, Value y) {
    Value exists = e.less(at.wanted, e.i64(part.rows)), isColumn = e.less(lane, e.i64(matvec.columns));
    if (firstStored)
      isColumn = arith::AndIOp::create(e, isColumn, e.less(firstStored, e.add(lane, 1)));
    if (matvec.output == RowKind::Act8) {
      y = arith::SelectOp::create(e, exists, y, e.real(e.getF32Type(), 0));
      return e.ifThen(isColumn, [&] { e.store(y, e.at(made, e.mul(e.add(e.mul(lane, 32), at.inBlock), 4)), 4); });
    }
    e.ifThen(arith::AndIOp::create(e, exists, isColumn), [&] {
      Value result = args.results[matvec.swiglu ? 0 : part.firstSegment];
      if (matvec.output == RowKind::BFloat)
        e.store(roundToBfloat(e, y), e.at(result, e.div(place, 2)), 2);
      else
        e.store(y, e.at(result, place), 4);
    });
  }

  Emitter::Values reduce(Emitter::Values totals, int64_t lanes) {
    for (Value &total : totals)
      total = reduceLanes(e, total, gpu::AllReduceOperation::ADD, uint32_t(lanes));
    return totals;
  }

  /// Of all columns' sums, which all lanes have, lane t takes that of column t.
  Value ofColumn(const Emitter::Values &sums, Value lane) {
    Value own = sums[0];
    for (int64_t t = 1; t < matvec.columns; ++t) {
      Value isOwn = arith::CmpIOp::create(e, arith::CmpIPredicate::eq, lane, e.i64(t));
      own = arith::SelectOp::create(e, isOwn, sums[t], own);
    }
    return own;
  }

  /// The block's 32 rows are group `block` of each column, which warp t quantizes for column t.
  void quantizeRows(Value block, int64_t groups) {
    blockBarrier(e);
    Value warp = e.div(thread, 32), lane = e.rem(thread, e.i64(32));
    e.ifThen(e.less(warp, e.i64(matvec.columns)), [&] {
      Value y = e.load(e.getF32Type(), e.at(made, e.mul(thread, 4)), 4);
      QuantizedRows to{args.results[0], args.results[1], args.results[2]};
      storeQuantizedGroup(e, y, lane, e.add(e.mul(warp, groups), block), to);
    });
  }

  Emitter &e;
  const Matvec &matvec;
  const GpuTarget &target;
  MatvecGrid grid;
  Arguments args;
  std::optional<MatvecPrologue> prologue;
  ActivationPointers x;
  Value thread, made;
  Value firstStored;           ///< column; null: all of them are
  SmallVector<size_t> begunOf; ///< values that `beginRow` gives for each segment of a part
};

} // namespace

gpu::GPUFuncOp codegen::emitMatvec(gpu::GPUModuleOp module, const Matvec &matvec, const GpuTarget &target) {
  MatvecGrid grid(matvec, target);
  auto body = [&](Emitter &e, ValueRange arguments) { MatvecEmitter(e, matvec, target, arguments).emit(); };
  KernelFrame frame{matvec.name(), int64_t(Arguments::count(matvec)), matvec.more ? 0 : grid.blocks(), grid.warps,
                    /*numbers=*/matvec.more};
  auto function = emitKernel(module, frame, body);
  // So many blocks to a multiprocessor have to do: else ptxas spills some numbers for the sake of one more. One where
  // there are the sums of two segments and many columns; 32 warps, which leave a thread 64 registers, for bf16; for one
  // column 16 where first loads have been asked for before the launch before has ended, or entries of tables are made,
  // and 24 with the norm of a long row before bytes.
  auto needBlocks = [&](int64_t blocks) {
    function->setAttr("nvvm.minctasm", Builder(module.getContext()).getI32IntegerAttr(int32_t(blocks)));
  };
  bool prepares = matvec.prologue != Matvec::Prologue::None || matvec.output == RowKind::Act8;
  bool longBytes = matvec.width > 4096 &&
                   llvm::all_of(matvec.segments, [](const auto &segment) { return segment.layout.signedCodes; });
  bool tables = llvm::any_of(matvec.segments, [](const auto &segment) { return !segment.layout.table.empty(); });
  if (matvec.columns > 2 && matvec.swiglu)
    needBlocks(1);
  else if (matvec.columns > 2 && matvec.takes() == RowKind::BFloat)
    needBlocks(32 / grid.warps);
  else if (matvec.columns == 1 && !prepares && (target.overlappingLaunches || tables))
    needBlocks(16 / target.matvecWarps);
  else if (matvec.columns == 1 && prepares && !matvec.swiglu && longBytes && target.overlappingLaunches)
    needBlocks(24 / grid.warps);
  return function;
}

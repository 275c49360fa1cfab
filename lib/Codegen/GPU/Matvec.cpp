// A matmul with few columns, bound by the bytes of the weight: a warp, or a part of one where rows are short, takes a
// row, and its lanes share the k. Each lane loads 16 bytes of codes at a time and multiplies them by the codes of all
// columns, in exact integers for each scale, then adds the scaled products up in f32 in ascending order of its k; the
// lanes' sums are added by shuffles at the end.
#include "Matvec.h"

#include "EmitKernel.h"
#include "RowDot.h"
#include "lib/Codegen/CPU/Kernels.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

namespace {

class MatvecEmitter {
public:
  MatvecEmitter(Emitter &e, const Matvec &matvec, ValueRange arguments)
      : e(e), matvec(matvec), lanes(matvec.lanes()), weights(arguments.take_front(matvec.segments.size())),
        more(arguments.drop_front(matvec.segments.size() + 3)) {
    ValueRange activations = arguments.drop_front(matvec.segments.size());
    x = {activations[0], activations[1], activations[2], matvec.columns};
  }

  void emit(int64_t warps) {
    Value thread = threadIndex(e), block = blockIndex(e);
    Value wanted = e.add(e.mul(block, warps * 32 / lanes), e.div(thread, lanes)), lane = e.rem(thread, e.i64(lanes));
    // Lanes beyond the last row do its work again, since shuffles need the whole warp.
    row = e.min(wanted, e.i64(matvec.rows - 1));
    std::vector<Emitter::Values> totals;
    for (size_t i = 0; i < matvec.segments.size(); ++i) {
      WeightRow w{weights[i], row, matvec.rows, matvec.width};
      totals.push_back(reduce(emitRowDot(e, matvec.segments[i].layout, w, x, lane, lanes)));
    }
    Value first = arith::CmpIOp::create(e, arith::CmpIPredicate::eq, lane, e.i64(0));
    Value stores = arith::AndIOp::create(e, first, e.less(wanted, e.i64(matvec.rows)));
    e.ifThen(stores, [&] { totals.size() == 2 ? storeGated(totals[0], totals[1]) : storeSums(totals[0]); });
  }

private:
  Emitter::Values reduce(Emitter::Values totals) {
    auto cluster = lanes < 32 ? std::optional<uint32_t>(lanes) : std::nullopt;
    for (Value &total : totals)
      total = gpu::SubgroupReduceOp::create(e, total, gpu::AllReduceOperation::ADD, /*uniform=*/false, cluster);
    return totals;
  }

  /// Where the row's number of column t lies.
  Value place(int64_t t) { return e.add(e.mul(row, 4), t * matvec.rows * 4); }

  void storeSums(const Emitter::Values &totals) {
    Value bias;
    if (matvec.bias)
      bias = e.load(e.getF32Type(), e.at(more.front(), place(0)), 4);
    for (int64_t t = 0; t < matvec.columns; ++t) {
      Value y = totals[t];
      if (bias)
        y = e.addf(y, bias);
      if (matvec.residual)
        y = e.addf(y, e.load(e.getF32Type(), e.at(more.drop_front(matvec.bias).front(), place(t)), 4));
      e.store(y, e.at(more.back(), place(t)), 4);
    }
  }

  /// silu(gate) * up.
  void storeGated(const Emitter::Values &gate, const Emitter::Values &up) {
    for (int64_t t = 0; t < matvec.columns; ++t)
      e.store(e.mulf(emitSilu(e, gate[t]), up[t]), e.at(more.back(), place(t)), 4);
  }

  Emitter &e;
  const Matvec &matvec;
  int64_t lanes;
  ValueRange weights, more; ///< `more`: bias, residual, y
  ActivationPointers x;
  Value row;
};

} // namespace

int64_t Matvec::lanes() const {
  int64_t fewest = kFewestLanes;
  for (const Segment &segment : segments) {
    int64_t units = segment.layout.units(width), lanes = 32;
    auto steps = [&](int64_t count) { return (units + count - 1) / count; };
    while (lanes > fewest && steps(lanes / 2) == steps(32))
      lanes /= 2;
    fewest = lanes;
  }
  return fewest;
}

int64_t Matvec::blocks(const GpuTarget &target) const {
  int64_t rowsOfBlock = 32 / lanes() * target.matvecWarps;
  return (rows + rowsOfBlock - 1) / rowsOfBlock;
}

std::string Matvec::name() const {
  std::string name = segments.size() == 2 ? "swiglu" : "matvec";
  for (const Segment &segment : segments)
    name += "_" + segment.format;
  return name + "_" + std::to_string(rows) + "x" + std::to_string(width) + "_t" + std::to_string(columns) +
         (bias ? "_bias" : "") + (residual ? "_residual" : "");
}

gpu::GPUFuncOp codegen::emitMatvec(gpu::GPUModuleOp module, const Matvec &matvec, const GpuTarget &target) {
  int64_t pointers = int64_t(matvec.segments.size()) + 4 + matvec.bias + matvec.residual;
  auto body = [&](Emitter &e, ValueRange arguments) { MatvecEmitter(e, matvec, arguments).emit(target.matvecWarps); };
  return emitKernel(module, {matvec.name(), pointers, matvec.blocks(target), target.matvecWarps}, body);
}

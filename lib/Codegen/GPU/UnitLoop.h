// The loop over a lane's units of a row, loaded ahead of their use.
#ifndef QUERN_LIB_CODEGEN_GPU_UNITLOOP_H
#define QUERN_LIB_CODEGEN_GPU_UNITLOOP_H

#include "lib/Codegen/Common/Emitter.h"

namespace quern::codegen {

/// Tells LLVM not to unroll the loop that gives these values, if any: what it would gather for want of a loop does not
/// fit the registers.
inline void keepRolled(mlir::ValueRange results) {
  if (results.empty())
    return;
  mlir::MLIRContext *context = results.front().getContext();
  auto unroll = mlir::LLVM::LoopUnrollAttr::get(context, mlir::BoolAttr::get(context, true), {}, {}, {}, {}, {}, {});
  results.front().getDefiningOp()->setAttr(
      "loop_annotation",
      mlir::LLVM::LoopAnnotationAttr::get(context, {}, {}, {}, unroll, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}));
}

/// Lane `lane` takes units lane, lane + lanes, ...: `depth` of them are loaded together, before the `depth` ones before
/// them are worked on.
class UnitLoop {
public:
  UnitLoop(int64_t units, mlir::Value lane, int64_t lanes, int64_t most)
      : units(units), lanes(lanes), steps((units + lanes - 1) / lanes), depth(chooseDepth(steps, most)), lane(lane) {}

  /// The first units, loaded; `dot.load(unit)` gives as many values for each unit.
  template <typename Dot> Emitter::Values begin(Emitter &e, Dot &dot) {
    return loadBatch(e, dot, e.i64(0), batches() == 1);
  }

  /// The sums of all units, of which the first were loaded by `begin`: `dot.add(unit, loaded, totals)` adds one up.
  /// `beforeLast` emits what is to be on its way while the last ones are worked on.
  template <typename Dot>
  Emitter::Values finish(Emitter &e, Dot &dot, mlir::ValueRange begun, Emitter::Values totals,
                         llvm::function_ref<void()> beforeLast) {
    size_t columns = totals.size();
    Emitter::Values loaded(begun);
    if (batches() > 1) {
      totals.append(loaded);
      totals = e.loop(e.i64(0), e.i64(batches() - 1), e.i64(1), totals, [&](Value batch, mlir::ValueRange carried) {
        Emitter::Values sums(carried.take_front(columns));
        Emitter::Values next = loadBatch(e, dot, e.add(batch, 1), true);
        for (int64_t j = 0; j < depth; ++j)
          dot.add(unit(e, batch, j), share(carried.drop_front(columns), j), sums);
        sums.append(next);
        return sums;
      });
      keepRolled(totals);
      loaded.assign(totals.begin() + columns, totals.end());
      totals.truncate(columns);
    }
    beforeLast();
    for (int64_t j = 0; (batches() - 1) * depth + j < steps; ++j)
      addLast(e, dot, batches() - 1, j, share(loaded, j), totals);
    return totals;
  }

private:
  using Value = mlir::Value;

  int64_t batches() const { return (steps + depth - 1) / depth; }

  /// At most `most`, and few that come to nothing at the end.
  static int64_t chooseDepth(int64_t steps, int64_t most) {
    most = std::min(std::max<int64_t>(most, 1), steps);
    for (int64_t depth = most; depth > most / 2; --depth)
      if (steps % depth == 0)
        return depth;
    return most;
  }

  Value unit(Emitter &e, Value batch, int64_t j) { return e.add(e.add(e.mul(batch, depth * lanes), j * lanes), lane); }

  /// The last unit of the row in place of those beyond it.
  Value clamped(Emitter &e, Value unit) { return e.min(unit, e.i64(units - 1)); }

  template <typename Dot> Emitter::Values loadBatch(Emitter &e, Dot &dot, Value batch, bool reachesEnd) {
    Emitter::Values loaded;
    for (int64_t j = 0; j < depth; ++j) {
      Value number = unit(e, batch, j);
      loaded.append(dot.load(reachesEnd ? clamped(e, number) : number));
    }
    return loaded;
  }

  mlir::ValueRange share(mlir::ValueRange loaded, int64_t j) {
    size_t each = loaded.size() / depth;
    return loaded.slice(j * each, each);
  }

  /// Lanes that have no unit left drop what they make of the row's last one.
  template <typename Dot>
  void addLast(Emitter &e, Dot &dot, int64_t batch, int64_t j, mlir::ValueRange loaded, Emitter::Values &totals) {
    Value number = unit(e, e.i64(batch), j);
    if ((batch * depth + j + 1) * lanes <= units)
      return dot.add(number, loaded, totals);
    Emitter::Values sums = totals;
    dot.add(clamped(e, number), loaded, sums);
    Value isThere = e.less(number, e.i64(units));
    for (auto [total, sum] : llvm::zip(totals, sums))
      total = mlir::arith::SelectOp::create(e, isThere, sum, total);
  }

  int64_t units, lanes, steps, depth;
  Value lane;
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_UNITLOOP_H

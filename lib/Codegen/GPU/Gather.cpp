// A block takes a row, a thread every 128th number of it.
#include "Gather.h"

#include "EmitKernel.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

static constexpr int64_t kWarps = 4;

static Value rowOf(Emitter &e, Value base, Value row, int64_t width) { return e.at(base, e.mul(row, width * 4)); }

static void copyNumber(Emitter &e, Value from, Value i, Value to, Value k) {
  e.store(e.load(e.getF32Type(), e.at(from, e.mul(i, 4)), 4), e.at(to, e.mul(k, 4)), 4);
}

std::string codegen::gatherRowsName(int64_t width) { return "gather_rows_" + std::to_string(width); }

gpu::GPUFuncOp codegen::emitGatherRows(gpu::GPUModuleOp module, int64_t width, const GpuTarget &) {
  return emitKernel(module, {gatherRowsName(width), 3, 0, kWarps}, [&](Emitter &e, ValueRange arguments) {
    Value o = blockIndex(e), from = rowOf(e, arguments[0], loadIndex(e, arguments[1], o), width);
    Value out = rowOf(e, arguments[2], o, width);
    e.loop(threadIndex(e), e.i64(width), e.i64(32 * kWarps), [&](Value k) { copyNumber(e, from, k, out, k); });
  });
}

std::string codegen::gatherColumnsName(int64_t from, int64_t width) {
  return "gather_columns_" + std::to_string(from) + "to" + std::to_string(width);
}

gpu::GPUFuncOp codegen::emitGatherColumns(gpu::GPUModuleOp module, int64_t from, int64_t width, const GpuTarget &) {
  KernelFrame frame{gatherColumnsName(from, width), 3, 0, kWarps};
  return emitKernel(module, frame, [&](Emitter &e, ValueRange arguments) {
    Value t = blockIndex(e), x = rowOf(e, arguments[0], t, from), out = rowOf(e, arguments[2], t, width);
    e.loop(threadIndex(e), e.i64(width), e.i64(32 * kWarps),
           [&](Value k) { copyNumber(e, x, loadIndex(e, arguments[1], k), out, k); });
  });
}

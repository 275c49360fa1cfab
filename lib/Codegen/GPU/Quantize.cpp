// Quantizes activations: a warp takes a group of 32, a lane a number.
#include "Quantize.h"

#include "EmitKernel.h"
#include "QuantizeGroup.h"
#include "quern/Codegen/GpuLayout.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

namespace {

struct QuantizeEmitter {
  Emitter &e;
  int64_t width;
  ValueRange arguments; ///< x, codes, scales, sums

  void emit(int64_t warps) {
    int64_t padded = gpuRowWidth(width), groups = padded / 32;
    Value thread = threadIndex(e), lane = e.rem(thread, e.i64(32));
    Value group = e.add(e.mul(blockIndex(e), warps), e.div(thread, 32)); // of all rows together
    Value row = e.div(group, groups), k = e.add(e.mul(e.rem(group, e.i64(groups)), 32), lane);
    Value x = loadOrZero(row, k);
    storeQuantizedGroup(e, x, lane, group, {arguments[1], arguments[2], arguments[3]});
  }

  Value loadOrZero(Value row, Value k) {
    auto load = [&]() -> Value {
      Value place = e.mul(e.add(e.mul(row, width), k), 4);
      return e.load(e.getF32Type(), e.at(arguments[0], place), 4);
    };
    if (gpuRowWidth(width) == width)
      return load();
    Value zero = e.real(e.getF32Type(), 0);
    return e.ifElse(
        e.less(k, e.i64(width)), [&] { return Emitter::Values{load()}; }, [&] { return Emitter::Values{zero}; })[0];
  }
};

} // namespace

static constexpr int64_t kWarps = 4; // of a block
static_assert(kGpuRowMultiple == kWarps * 32, "the warps of a block take whole rows' worth");

std::string codegen::quantizeName(int64_t rows, int64_t width) {
  return "quantize_" + (rows ? std::to_string(rows) + "x" : std::string()) + std::to_string(width);
}

int64_t codegen::quantizeBlocks(int64_t width) { return gpuRowWidth(width) / kGpuRowMultiple; }

gpu::GPUFuncOp codegen::emitQuantize(gpu::GPUModuleOp module, int64_t rows, int64_t width, const GpuTarget &target) {
  auto body = [&](Emitter &e, ValueRange arguments) { QuantizeEmitter{e, width, arguments}.emit(kWarps); };
  return emitKernel(module, {quantizeName(rows, width), 4, rows * quantizeBlocks(width), kWarps}, body);
}

// Quantizes activations: a warp takes four groups of 32, a lane four numbers.
#include "Quantize.h"

#include "EmitKernel.h"
#include "QuantizeGroup.h"
#include "quern/Codegen/GpuLayout.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

namespace {

constexpr int64_t kWarps = 4; // of a block
constexpr int64_t kChunk = kGpuRowMultiple;
static_assert(kChunk == 32 * 4, "a lane takes four numbers");

struct QuantizeEmitter {
  Emitter &e;
  int64_t width;
  ValueRange arguments; ///< x, codes, scales, sums

  void emit() {
    int64_t chunks = gpuRowWidth(width) / kChunk;
    Value thread = threadIndex(e), lane = e.rem(thread, e.i64(32));
    // Divided in 32 bits, which takes a third of the instructions.
    Value block = arith::TruncIOp::create(e, e.getI32Type(), blockIndex(e));
    Value blocks = e.number(e.getI32Type(), quantizeBlocks(width)), row32 = e.div(block, blocks);
    Value blockOfRow = e.sub(block, e.mul(row32, blocks));
    Value row = wide(row32), chunk = e.add(e.mul(wide(blockOfRow), kWarps), e.div(thread, 32));
    auto ofChunk = [&] {
      storeQuantizedQuads(e, loadOrZeros(row, e.add(e.mul(chunk, kChunk), e.mul(lane, 4))), lane,
                          e.add(e.mul(row, chunks), chunk), {arguments[1], arguments[2], arguments[3]});
    };
    if (chunks % kWarps == 0)
      return ofChunk();
    e.ifThen(e.less(chunk, e.i64(chunks)), ofChunk); // all lanes of a warp, or none
  }

  Value wide(Value number) { return arith::ExtUIOp::create(e, e.getI64Type(), number); }

  /// Four numbers of the row from k on. Rows have whole groups of 32, so that all are in it or none.
  Emitter::Values loadOrZeros(Value row, Value k) {
    auto load = [&] {
      Value four = e.load(e.f32s(4), e.at(arguments[0], e.mul(e.add(e.mul(row, width), k), 4)), 16);
      Emitter::Values numbers;
      for (int64_t i = 0; i < 4; ++i)
        numbers.push_back(vector::ExtractOp::create(e, four, ArrayRef<int64_t>{i}));
      return numbers;
    };
    if (gpuRowWidth(width) == width)
      return load();
    Emitter::Values zeros(4, e.real(e.getF32Type(), 0));
    return e.ifElse(e.less(k, e.i64(width)), load, [&] { return zeros; });
  }
};

} // namespace

std::string codegen::quantizeName(int64_t rows, int64_t width) {
  return "quantize_" + (rows ? std::to_string(rows) + "x" : std::string()) + std::to_string(width);
}

int64_t codegen::quantizeBlocks(int64_t width) { return (gpuRowWidth(width) / kChunk + kWarps - 1) / kWarps; }

gpu::GPUFuncOp codegen::emitQuantize(gpu::GPUModuleOp module, int64_t rows, int64_t width, const GpuTarget &target) {
  auto body = [&](Emitter &e, ValueRange arguments) { QuantizeEmitter{e, width, arguments}.emit(); };
  return emitKernel(module, {quantizeName(rows, width), 4, rows * quantizeBlocks(width), kWarps}, body);
}

#include "RoundRows.h"

#include "EmitKernel.h"
#include "QuantizeGroup.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

std::string codegen::roundRowsName(int64_t width) { return "round_bf16_" + std::to_string(width); }

gpu::GPUFuncOp codegen::emitRoundRows(gpu::GPUModuleOp module, int64_t width) {
  return emitKernel(module, {roundRowsName(width), 2, /*blocks=*/0, kRoundThreads / 32},
                    [&](Emitter &e, ValueRange arguments) {
                      Value k = e.add(e.mul(blockIndex(e), kRoundThreads), threadIndex(e));
                      e.ifThen(e.less(k, e.i64(width)), [&] {
                        Value place = e.add(e.mul(blockIndex(e, gpu::Dimension::y), width), k);
                        Value x = e.load(e.getF32Type(), e.at(arguments[0], e.mul(place, 4)), 4);
                        e.store(roundToBfloat(e, x), e.at(arguments[1], e.mul(place, 2)), 2);
                      });
                    });
}

#include "Elementwise.h"

#include "EmitKernel.h"
#include "QuantizeGroup.h"
#include "lib/Codegen/CPU/Kernels.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

std::string codegen::elementwiseName(Elementwise kind, int64_t width) {
  const char *name = kind == Elementwise::RoundToBfloat ? "round_bf16_" : kind == Elementwise::Sum ? "sum_" : "swiglu_";
  return name + std::to_string(width);
}

gpu::GPUFuncOp codegen::emitElementwise(gpu::GPUModuleOp module, Elementwise kind, int64_t width) {
  bool rounds = kind == Elementwise::RoundToBfloat;
  auto body = [&](Emitter &e, ValueRange arguments) {
    Value k = e.add(e.mul(blockIndex(e), kElementwiseThreads), threadIndex(e));
    e.ifThen(e.less(k, e.i64(width)), [&] {
      Value place = e.add(e.mul(blockIndex(e, gpu::Dimension::y), width), k);
      auto load = [&](Value rows) { return e.load(e.getF32Type(), e.at(rows, e.mul(place, 4)), 4); };
      Value a = load(arguments[0]);
      if (rounds)
        return e.store(roundToBfloat(e, a), e.at(arguments[1], e.mul(place, 2)), 2);
      Value b = load(arguments[1]);
      Value y = kind == Elementwise::Sum ? e.addf(a, b) : e.mulf(emitSilu(e, a), b);
      e.store(y, e.at(arguments[2], e.mul(place, 4)), 4);
    });
  };
  return emitKernel(module, {elementwiseName(kind, width), rounds ? 2 : 3, /*blocks=*/0, kElementwiseThreads / 32},
                    body);
}

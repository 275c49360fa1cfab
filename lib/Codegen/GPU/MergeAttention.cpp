// A block takes 32 numbers of a row's result, a lane one. Its warps go over the splits of the head that have keys,
// eight at a time, with a running maximum, and the first warp merges what they have.
#include "DecodeAttention.h"
#include "EmitKernel.h"
#include "QuantizeGroup.h"
#include "quern/Codegen/GpuLayout.h"

#include <limits>

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

int64_t MergeAttention::groups() const {
  return quantized ? gpuRowWidth(heads * headDim) / 32 : (heads * headDim + 31) / 32;
}

std::string MergeAttention::name() const {
  return "merge_attention_" + std::to_string(heads) + "x" + std::to_string(headDim) + "_s" + std::to_string(splits) +
         (quantized ? "_act8" : "");
}

namespace {

/// What is known of a head's element: the maximum of the scores, and the sums of weights and of weighted values.
struct Running {
  Value maximum, sum, value;
};

class MergeEmitter {
public:
  MergeEmitter(Emitter &e, const MergeAttention &merge, ValueRange arguments)
      : e(e), merge(merge), arguments(arguments), group(blockIndex(e)), row(blockIndex(e, gpu::Dimension::y)),
        thread(threadIndex(e)), warp(e.div(thread, 32)), lane(e.rem(thread, e.i64(32))) {}

  void emit() {
    Value k = e.add(e.mul(group, 32), lane), isInside = e.less(k, e.i64(merge.heads * merge.headDim));
    Value shared = sharedMemory(e, "running", 3 * kBytes);
    auto found = ofWarp(e.min(k, e.i64(merge.heads * merge.headDim - 1)));
    for (int64_t i = 0; i < 3; ++i)
      e.store(found[i], e.at(shared, e.add(e.mul(thread, 4), i * kBytes)), 4);
    blockBarrier(e);
    e.ifThen(arith::CmpIOp::create(e, arith::CmpIPredicate::eq, warp, e.i64(0)), [&] {
      Value number = arith::SelectOp::create(e, isInside, ofWarps(found, shared), e.real(e.getF32Type(), 0));
      if (merge.quantized)
        return storeQuantizedGroup(e, number, lane, e.add(e.mul(row, merge.groups()), group),
                                   {arguments[3], arguments[4], arguments[5]});
      Value at = e.add(e.mul(row, merge.heads * merge.headDim), k);
      e.ifThen(isInside, [&] { e.store(number, e.at(arguments[3], e.mul(at, 4)), 4); });
    });
  }

private:
  static constexpr int64_t kTogether = 8;                         ///< splits whose loads are on their way at once
  static constexpr int64_t kBytes = MergeAttention::kWarps * 128; ///< of an f32 of each thread

  /// The maximum, sum and value of the splits that the warp takes.
  Emitter::Values ofWarp(Value k) {
    Value head = e.div(k, merge.headDim), d = e.rem(k, e.i64(merge.headDim));
    Value keys = e.add(loadIndex(e, arguments[2], row), 1), length = keysOfSplit(e, keys, merge.splits);
    Value count = e.div(e.add(keys, e.add(length, -1)), length);
    Value first = e.mul(e.add(e.mul(row, merge.heads), head), merge.splits);
    Value zero = e.real(e.getF32Type(), 0), none = e.real(e.getF32Type(), -std::numeric_limits<double>::infinity());
    Value stride = e.i64(kTogether * MergeAttention::kWarps);
    return e.loop(e.mul(warp, kTogether), count, stride, {none, zero, zero}, [&](Value at, ValueRange carried) {
      std::vector<Running> splits;
      for (int64_t i = 0; i < kTogether; ++i) {
        Value split = e.add(at, i), slot = e.add(first, e.min(split, e.add(count, -1)));
        splits.push_back(load(slot, d));
        splits.back().maximum = arith::SelectOp::create(e, e.less(split, count), splits.back().maximum, none);
      }
      return add({carried[0], carried[1], carried[2]}, splits);
    });
  }

  /// The result, of what the first warp has and the others have shared. Those without keys have a maximum of -infinity.
  Value ofWarps(ArrayRef<Value> own, Value shared) {
    std::vector<Running> others;
    for (int64_t other = 1; other < MergeAttention::kWarps; ++other) {
      auto read = [&](int64_t i) -> Value {
        return e.load(e.getF32Type(), e.at(shared, e.add(e.mul(lane, 4), other * 128 + i * kBytes)), 4);
      };
      others.push_back({read(0), read(1), read(2)});
    }
    auto all = add({own[0], own[1], own[2]}, others);
    return arith::DivFOp::create(e, all[2], all[1]);
  }

  Running load(Value slot, Value d) {
    Value state = e.load(e.f32s(2), e.at(arguments[1], e.mul(slot, 8)), 8);
    Value place = e.add(e.mul(slot, merge.headDim), d);
    return {vector::ExtractOp::create(e, state, ArrayRef<int64_t>{0}),
            vector::ExtractOp::create(e, state, ArrayRef<int64_t>{1}),
            e.load(e.getF32Type(), e.at(arguments[0], e.mul(place, 4)), 4)};
  }

  Emitter::Values add(const Running &so, ArrayRef<Running> splits) {
    Value greatest = so.maximum;
    for (const Running &split : splits)
      greatest = arith::MaxNumFOp::create(e, greatest, split.maximum);
    Value factor = math::Exp2Op::create(e, e.subf(so.maximum, greatest));
    Value sum = e.mulf(so.sum, factor), value = e.mulf(so.value, factor);
    for (const Running &split : splits) {
      Value weight = math::Exp2Op::create(e, e.subf(split.maximum, greatest));
      sum = e.fma(weight, split.sum, sum);
      value = e.fma(weight, split.value, value);
    }
    return {greatest, sum, value};
  }

  Emitter &e;
  const MergeAttention &merge;
  ValueRange arguments; ///< values, states, positions, results
  Value group, row, thread, warp, lane;
};

} // namespace

gpu::GPUFuncOp codegen::emitMergeAttention(gpu::GPUModuleOp module, const MergeAttention &merge, const GpuTarget &) {
  KernelFrame frame{merge.name(), merge.quantized ? 6 : 4, 0, MergeAttention::kWarps};
  return emitKernel(module, frame, [&](Emitter &e, ValueRange arguments) { MergeEmitter(e, merge, arguments).emit(); });
}

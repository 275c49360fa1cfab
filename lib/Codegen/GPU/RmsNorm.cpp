// A block takes a row and keeps it in registers: a warp takes groups of 32 neighbouring numbers, a lane one of each.
// Squares are added up in each thread, then over lanes and warps, in an order that depends on nothing.
#include "RmsNorm.h"

#include "EmitKernel.h"
#include "QuantizeGroup.h"
#include "quern/Codegen/GpuLayout.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/bit.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

namespace {

/// A row or a head in the registers of one warp or of several.
class RowNormalizer {
public:
  /// `first` is the warp's number among the `warps` that share the row. Groups beyond the row are zeros: `groups` of
  /// them in all.
  RowNormalizer(Emitter &e, int64_t width, int64_t groups, Value first, int64_t warps)
      : e(e), width(width), groups(groups), warps(warps), first(first), lane(e.rem(threadIndex(e), e.i64(32))) {}

  void load(Value row) {
    for (int64_t step = 0; step < steps(); ++step)
      numbers.push_back(loadOrZero(row, step));
  }

  void normalize(double eps, Value gain) {
    Value factor = emitNormFactor(e, sumOfSquares(), width, eps);
    for (int64_t step = 0; step < steps(); ++step)
      numbers[step] = e.mulf(e.mulf(numbers[step], factor), loadOrZero(gain, step));
  }

  void store(Value out) {
    for (int64_t step = 0; step < steps(); ++step)
      ifInRow(step, [&] { e.store(numbers[step], e.at(out, e.mul(place(step), 4)), 4); });
  }

  /// `row` is the row's number in `out`.
  void quantize(Value row, const QuantizedRows &out) {
    for (int64_t step = 0; step < steps(); ++step) {
      Value group = e.add(first, step * warps);
      auto body = [&] { storeQuantizedGroup(e, numbers[step], lane, e.add(e.mul(row, groups), group), out); };
      (step + 1) * warps <= groups ? body() : e.ifThen(e.less(group, e.i64(groups)), body);
    }
  }

private:
  int64_t steps() const { return (groups + warps - 1) / warps; }
  Value place(int64_t step) { return e.add(e.mul(e.add(first, step * warps), 32), lane); }
  bool isInRow(int64_t step) const { return (step + 1) * warps * 32 <= width; }

  void ifInRow(int64_t step, llvm::function_ref<void()> body) {
    isInRow(step) ? body() : e.ifThen(e.less(place(step), e.i64(width)), body);
  }

  Value loadOrZero(Value row, int64_t step) {
    Type f32 = e.getF32Type();
    auto load = [&] { return e.load(f32, e.at(row, e.mul(place(step), 4)), 4); };
    if (isInRow(step))
      return load();
    return e.ifElse(
        e.less(place(step), e.i64(width)), [&] { return Emitter::Values{load()}; },
        [&] { return Emitter::Values{e.real(f32, 0)}; })[0];
  }

  Value sumOfSquares() {
    Value squares = e.real(e.getF32Type(), 0);
    for (Value number : numbers)
      squares = e.fma(number, number, squares);
    return reduceBlock(e, squares, gpu::AllReduceOperation::ADD, warps);
  }

  Emitter &e;
  int64_t width, groups, warps;
  Value first, lane;
  Emitter::Values numbers;
};

} // namespace

Value codegen::emitNormFactor(Emitter &e, Value sum, int64_t width, double eps) {
  Value mean = arith::DivFOp::create(e, sum, e.real(e.getF32Type(), double(width)));
  Value root = math::SqrtOp::create(e, e.addf(mean, e.real(e.getF32Type(), eps)));
  return arith::DivFOp::create(e, e.real(e.getF32Type(), 1), root);
}

std::string codegen::floatName(double number) {
  return llvm::utohexstr(llvm::bit_cast<uint32_t>(float(number)), /*LowerCase=*/true);
}

std::string RmsNorm::name() const {
  return "rms_norm_" + std::to_string(width) + "_eps" + floatName(eps) + (quantized ? "_act8" : "");
}

/// Groups of 32 that a result has room for.
static int64_t groupsOf(const RmsNorm &norm) {
  return norm.quantized ? gpuRowWidth(norm.width) / 32 : (norm.width + 31) / 32;
}

int64_t RmsNorm::warps() const {
  int64_t groups = groupsOf(*this), steps = std::max<int64_t>(4, (groups + 31) / 32);
  return (groups + steps - 1) / steps;
}

gpu::GPUFuncOp codegen::emitRmsNorm(gpu::GPUModuleOp module, const RmsNorm &norm, const GpuTarget &) {
  KernelFrame frame{norm.name(), norm.quantized ? 5 : 3, 0, norm.warps()};
  return emitKernel(module, frame, [&](Emitter &e, ValueRange arguments) {
    Value row = blockIndex(e), warp = e.div(threadIndex(e), 32), from = e.mul(row, norm.width * 4);
    RowNormalizer normalizer(e, norm.width, groupsOf(norm), warp, frame.warps);
    normalizer.load(e.at(arguments[0], from));
    normalizer.normalize(norm.eps, arguments[1]);
    if (norm.quantized)
      normalizer.quantize(row, {arguments[2], arguments[3], arguments[4]});
    else
      normalizer.store(e.at(arguments[2], from));
  });
}

std::string HeadNorm::name() const {
  return "head_norm_" + std::to_string(heads) + "x" + std::to_string(headDim) + "_eps" + floatName(eps);
}

gpu::GPUFuncOp codegen::emitHeadNorm(gpu::GPUModuleOp module, const HeadNorm &norm, const GpuTarget &) {
  KernelFrame frame{norm.name(), 3, 0, HeadNorm::kWarps};
  return emitKernel(module, frame, [&](Emitter &e, ValueRange arguments) {
    Value head = e.add(e.mul(blockIndex(e), HeadNorm::kWarps), e.div(threadIndex(e), 32));
    e.ifThen(e.less(head, e.i64(norm.heads)), [&] {
      Value row = blockIndex(e, gpu::Dimension::y);
      Value from = e.mul(e.add(e.mul(row, norm.heads), head), norm.headDim * 4);
      RowNormalizer normalizer(e, norm.headDim, (norm.headDim + 31) / 32, e.i64(0), 1);
      normalizer.load(e.at(arguments[0], from));
      normalizer.normalize(norm.eps, arguments[1]);
      normalizer.store(e.at(arguments[2], from));
    });
  });
}

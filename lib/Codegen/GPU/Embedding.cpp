#include "Embedding.h"

#include "EmitKernel.h"
#include "UnitReader.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

namespace {

class EmbeddingEmitter {
public:
  EmbeddingEmitter(Emitter &e, const Embedding &embedding, const GpuTarget &target, ValueRange arguments)
      : e(e), embedding(embedding), layout(embedding.table.layout), target(target), arguments(arguments) {}

  void emit() {
    Value t = blockIndex(e, gpu::Dimension::y);
    row = loadIndex(e, arguments[0], t);
    out = e.at(arguments[2], e.mul(t, embedding.width * 4));
    Value unit = e.add(e.mul(blockIndex(e), Embedding::kWarps * 32), threadIndex(e));
    e.ifThen(e.less(unit, e.i64(layout.units(embedding.width))), [&] { layout.isFloat() ? copy(unit) : decode(unit); });
  }

private:
  /// The unit of a row of plain numbers, of which the last may have fewer.
  void copy(Value unit) {
    Value from = e.at(arguments[1], e.mul(row, layout.rowBytes(embedding.width).front()));
    for (int64_t i = 0; i < layout.unit(); ++i) {
      Value k = e.add(e.mul(unit, layout.unit()), i);
      auto one = [&] {
        Value number = loadFloat(e.at(from, e.mul(k, layout.floatBytes)));
        e.store(number, e.at(out, e.mul(k, 4)), 4);
      };
      storeWithin(k, one);
    }
  }

  /// As f32. A bf16 is the upper half of one: not all of OpenCL's devices have a type for it.
  Value loadFloat(Value from) {
    if (layout.floatBytes == 4)
      return e.load(e.getF32Type(), from, 4);
    if (!layout.bfloat)
      return e.widen(e.load(e.getF16Type(), from, 2));
    Value bits = arith::ExtUIOp::create(e, e.getI32Type(), e.load(e.getI16Type(), from, 2));
    return arith::BitcastOp::create(e, e.getF32Type(), e.shiftLeft(bits, 16));
  }

  void storeWithin(Value k, llvm::function_ref<void()> store) {
    if (embedding.width % layout.unit() == 0)
      return store();
    e.ifThen(e.less(k, e.i64(embedding.width)), store);
  }

  void decode(Value number) {
    UnitReader reader(e, target, layout, {arguments[1], row, embedding.table.rows, embedding.width});
    Emitter::Values loaded = reader.load(number);
    UnitReader::Unit unit(reader, number, loaded);
    for (int64_t at = 0; at < layout.unit(); at += layout.piece()) {
      ScalePair pair = unit.scale(at / layout.piece());
      for (int64_t k = at; k < at + layout.piece(); k += 4)
        storeQuad(unit.quad(k / 4), pair, e.add(e.mul(number, layout.unit()), k));
    }
  }

  /// s * t(c) -/+ m, each step rounded. Rows are whole fours: a block has at least 32 numbers.
  void storeQuad(Quad quad, ScalePair pair, Value k) {
    Value numbers = e.splat(e.real(e.getF32Type(), 0), e.f32s(4));
    for (int64_t i = 0; i < 4; ++i) {
      Value code = byteOf(quad.codes, i, layout.signedCodes || !layout.table.empty());
      if (quad.digits)
        code = e.add(code, e.shiftLeft(byteOf(quad.digits, i, true), layout.digitShift));
      if (layout.zero)
        code = e.sub(code, e.number(e.getI32Type(), layout.zero));
      Value y = e.mulf(pair.scale, e.toFloat(code));
      if (pair.minimum)
        y = layout.minimumAdded ? e.addf(y, pair.minimum) : e.subf(y, pair.minimum);
      numbers = vector::InsertOp::create(e, y, numbers, ArrayRef<int64_t>{i});
    }
    storeWithin(k, [&] { e.store(numbers, e.at(out, e.mul(k, 4)), 16); });
  }

  Value byteOf(Value word, int64_t i, bool isSigned) {
    if (isSigned)
      return e.signedShiftRight(e.shiftLeft(word, 24 - 8 * i), 24);
    return e.bitAnd(e.shiftRight(word, 8 * i), 255);
  }

  Emitter &e;
  const Embedding &embedding;
  const GpuLayout &layout;
  const GpuTarget &target;
  ValueRange arguments;
  Value row, out;
};

} // namespace

int64_t Embedding::blocks() const { return (table.layout.units(width) + kWarps * 32 - 1) / (kWarps * 32); }

std::string Embedding::name() const {
  return "embedding_" + table.format + "_" + std::to_string(table.rows) + "x" + std::to_string(width);
}

gpu::GPUFuncOp codegen::emitEmbedding(gpu::GPUModuleOp module, const Embedding &embedding, const GpuTarget &target) {
  return emitKernel(
      module, {embedding.name(), 3, /*blocks=*/0, Embedding::kWarps},
      [&](Emitter &e, ValueRange arguments) { EmbeddingEmitter(e, embedding, target, arguments).emit(); });
}

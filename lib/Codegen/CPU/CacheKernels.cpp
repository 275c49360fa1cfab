// Appending keys and values to the cache, in each of its layouts (see CacheLayout.h).
#include "CacheAccess.h"
#include "KernelBody.h"
#include "Kernels.h"

using namespace mlir;
using namespace quern::codegen;

namespace {

/// Stores one head of one row at its position.
class PositionWriter {
public:
  PositionWriter(Emitter &e, const CacheLayout &layout, bool signedCodes, Value position)
      : e(e), layout(layout), signedCodes(signedCodes), tile(e.mul(e.div(position, kKeyTile), layout.tileBytes())),
        inTile(e.rem(position, e.i64(kKeyTile))) {}

  void numbers(Value keys, Value values, Value key, Value value);
  void bytes(Value keys, Value values, Value key, Value value);

private:
  /// Quantizes a head's vector; `place` stores 16 signed bytes that begin at an element.
  void quantize(Value to, Value from, llvm::function_ref<void(Value, int64_t)> place);
  Value blockStart() { return e.mul(e.div(inTile, kKeyBlock), kKeyBlock * layout.headDim * layout.elementBytes()); }

  Emitter &e;
  const CacheLayout &layout;
  bool signedCodes;
  Value tile, inTile;
};

} // namespace

void PositionWriter::numbers(Value keys, Value values, Value key, Value value) {
  int64_t bytes = layout.elementBytes();
  VectorType stored = cacheNumbers(e, layout);
  auto rounded = [&](Value from) -> Value {
    Value x = e.load(e.f32s(), from, 4);
    return stored == e.f32s() ? x : arith::TruncFOp::create(e, stored, x).getOut();
  };
  Value block = e.at(e.at(keys, tile), blockStart());
  Value slot = e.at(block, e.mul(e.rem(inTile, e.i64(kKeyBlock)), bytes));
  Value row = e.at(e.at(values, tile), e.mul(inTile, layout.headDim * bytes));
  e.loop(e.i64(0), e.i64(layout.headDim), e.i64(kKeyBlock), [&](Value d) {
    Value offset = e.mul(d, 4), column = e.at(slot, e.mul(d, kKeyBlock * bytes));
    Value elements = rounded(e.at(key, offset));
    for (int64_t i = 0; i < kKeyBlock; ++i)
      e.store(vector::ExtractOp::create(e, elements, ArrayRef<int64_t>{i}), e.at(column, i * kKeyBlock * bytes), bytes);
    e.store(rounded(e.at(value, offset)), e.at(row, e.mul(d, bytes)), bytes);
  });
}

void PositionWriter::quantize(Value to, Value from, llvm::function_ref<void(Value, int64_t)> place) {
  for (int64_t group = 0; group < layout.groups(); ++group) {
    Emitter::Values x;
    for (int64_t d = group * kCacheGroup; d < std::min((group + 1) * kCacheGroup, layout.headDim); d += 16)
      x.push_back(e.load(e.f32s(), e.at(from, d * 4), 4));
    QuantizedGroup quantized = emitQuantizeGroup(e, x, 127);
    for (auto [part, codes] : llvm::enumerate(quantized.codes))
      place(arith::TruncIOp::create(e, e.i8s(16), codes), group * kCacheGroup + int64_t(part) * 16);
    Value scale = arith::TruncFOp::create(e, e.getF16Type(), quantized.scale);
    e.store(scale, e.at(e.at(to, e.mul(inTile, 2)), layout.scalesAt() + group * layout.scaleGroupBytes()), 2);
  }
}

void PositionWriter::bytes(Value keys, Value values, Value key, Value value) {
  Value keyTile = e.at(keys, tile), valueTile = e.at(values, tile);
  Value slot = e.at(e.at(keyTile, blockStart()), e.mul(e.rem(inTile, e.i64(kKeyBlock)), 4));
  quantize(keyTile, key, [&](Value codes, int64_t d) {
    Value stored = signedCodes ? codes : e.bitXor(codes, -128); // code + 128 as an unsigned byte
    Value fours = e.bitcast(stored, e.i32s(4));
    for (int64_t i = 0; i < 4; ++i)
      e.store(vector::ExtractOp::create(e, fours, ArrayRef<int64_t>{i}), e.at(slot, (d / 4 + i) * kKeyBlock * 4), 4);
  });
  Value four = e.mul(e.div(inTile, 4), 4 * layout.headDim);
  Value column = e.at(e.at(valueTile, four), e.rem(inTile, e.i64(4)));
  quantize(valueTile, value, [&](Value codes, int64_t d) {
    for (int64_t i = 0; i < 16; ++i)
      e.store(vector::ExtractOp::create(e, codes, ArrayRef<int64_t>{i}), e.at(column, (d + i) * 4), 1);
  });
}

func::FuncOp quern::codegen::emitCacheAppend(ModuleOp module, StringRef name, const CacheLayout &layout,
                                             const Target &target) {
  KernelBody k(module, name, "ppipipppii"); // call, k, kStride, v, vStride, positions, caches, capacities, T, layer
  Emitter &e = k.e;
  k.forRows(k.args[8], [&](Value t) {
    Value position = loadPosition(e, k.args[5], t);
    Value key = k.row(k.args[1], t, k.args[2]), value = k.row(k.args[3], t, k.args[4]);
    e.loop(e.i64(0), e.i64(layout.kvHeads), e.i64(1), [&](Value head) {
      auto [keys, values] = headCache(e, k.args[6], k.args[7], t, k.args[9], head, layout);
      Value from = e.mul(head, layout.headDim * 4);
      PositionWriter writer(e, layout, target.signedCodes, position);
      if (layout.bytes())
        writer.bytes(keys, values, e.at(key, from), e.at(value, from));
      else
        writer.numbers(keys, values, e.at(key, from), e.at(value, from));
    });
  });
  return k.finish();
}

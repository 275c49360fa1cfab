#include "ScaleReader.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

ScaleReader::ScaleReader(Emitter &e, const GpuLayout &layout, int64_t rows, int64_t width)
    : e(e), layout(layout), regions(layout.regions(rows, width)), rowBytes(layout.rowBytes(width)) {}

bool ScaleReader::hasMinimum(const GpuLayout &layout) {
  constexpr GpuScales with[] = {GpuScales::HalfAndMinimum, GpuScales::SixBits, GpuScales::Nibbles};
  return llvm::is_contained(with, layout.scales);
}

Value ScaleReader::word(Value pointer, int64_t bytes) const {
  auto type = IntegerType::get(e.getContext(), unsigned(8 * bytes));
  Value loaded = e.load(type, pointer, unsigned(bytes));
  return bytes == 4 ? loaded : arith::ExtUIOp::create(e, e.getI32Type(), loaded).getResult();
}

Value ScaleReader::half(Value word) const {
  Value bits = arith::TruncIOp::create(e, e.getI16Type(), word);
  return e.widen(arith::BitcastOp::create(e, e.getF16Type(), bits));
}

Value ScaleReader::byte(Value word, int64_t index, bool isSigned) const {
  if (isSigned)
    return e.signedShiftRight(e.shiftLeft(word, 24 - 8 * index), 24);
  return e.bitAnd(e.shiftRight(word, 8 * index), 255);
}

Emitter::Values ScaleReader::load(Value weight, Value row, int64_t more, Value group) const {
  size_t first = layout.planes.size();
  auto read = [&](size_t number, Value index, int64_t bytes) {
    Value region = e.at(e.at(weight, regions[first + number]), e.mul(row, rowBytes[first + number]));
    return word(e.at(e.at(region, e.mul(index, bytes)), more * rowBytes[first + number]), bytes);
  };
  Value superBlock = e.div(group, 8);
  switch (layout.scales) {
  case GpuScales::Half:
    return {read(0, group, 2)};
  case GpuScales::Power:
    return {read(0, group, 1)};
  case GpuScales::Single:
    return {read(0, group, 4)};
  case GpuScales::HalfAndMinimum:
    return {read(0, group, 2), read(1, group, 2)};
  case GpuScales::SignedBytes: // the bytes of both halves of the group
    return {read(0, group, 2), read(1, superBlock, 2)};
  case GpuScales::Nibbles:
    return {read(0, group, 2), read(1, superBlock, 4)};
  case GpuScales::BytesAndHalf:
    return {read(0, group, 1), read(1, superBlock, 2)};
  case GpuScales::SixBits:
    break;
  }
  Value place = e.add(e.mul(row, rowBytes[first]), e.mul(superBlock, 16));
  Value from = e.at(e.at(e.at(weight, regions[first]), place), more * rowBytes[first]);
  Value four = e.load(e.i32s(4), from, 16);
  Emitter::Values words;
  for (int64_t i = 0; i < 4; ++i)
    words.push_back(vector::ExtractOp::create(e, four, ArrayRef<int64_t>{i}));
  return words;
}

SmallVector<ScalePair> ScaleReader::decode(ValueRange words, Value group) const {
  auto times = [&](Value super, Value factor) { return e.mulf(super, e.toFloat(factor)); };
  switch (layout.scales) {
  case GpuScales::Half:
    return {{half(words[0]), {}}};
  case GpuScales::Power:
    return {{emitPowerOfTwo(e, words[0]), {}}};
  case GpuScales::Single:
    return {{arith::BitcastOp::create(e, e.getF32Type(), words[0]), {}}};
  case GpuScales::HalfAndMinimum:
    return {{half(words[0]), half(words[1])}};
  case GpuScales::BytesAndHalf:
    return {{times(half(words[1]), byte(words[0], 0, true)), {}}};
  case GpuScales::SignedBytes: {
    Value super = half(words[1]);
    return {{times(super, byte(words[0], 0, true)), {}}, {times(super, byte(words[0], 1, true)), {}}};
  }
  case GpuScales::Nibbles: {
    Value scale = half(words[1]), minimum = half(e.shiftRight(words[1], 16));
    auto part = [&](int64_t index) {
      Value both = byte(words[0], index, false);
      return ScalePair{times(scale, e.bitAnd(both, 15)), times(minimum, e.shiftRight(both, 4))};
    };
    return {part(0), part(1)};
  }
  case GpuScales::SixBits:
    break;
  }
  return {decodeSixBits(words, group)};
}

ScalePair ScaleReader::decodeSixBits(ValueRange words, Value group) const {
  Value shift = arith::TruncIOp::create(e, e.getI32Type(), e.mul(e.rem(group, e.i64(8)), 4));
  auto nibble = [&](Value word) { return e.bitAnd(arith::ShRUIOp::create(e, word, shift).getResult(), 15); };
  Value high = nibble(words[3]);
  Value scale = e.bitOr(nibble(words[1]), e.shiftLeft(e.bitAnd(high, 3), 4));
  Value minimum = e.bitOr(nibble(words[2]), e.shiftLeft(e.shiftRight(high, 2), 4));
  Value superMinimum = half(e.shiftRight(words[0], 16));
  return {e.mulf(half(words[0]), e.toFloat(scale)), e.mulf(superMinimum, e.toFloat(minimum))};
}

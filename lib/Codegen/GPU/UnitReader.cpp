#include "UnitReader.h"

#include "ByteOps.h"
#include "ScaleReader.h"
#include "quern/Codegen/PanelLayout.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

UnitReader::UnitReader(Emitter &e, const GpuTarget &target, const GpuLayout &layout, const WeightRow &w)
    : e(e), target(target), layout(layout), width(w.width), regions(layout.regions(w.rows, w.width)),
      rowBytes(layout.rowBytes(w.width)), weight(w.weight), row(w.row) {}

/// Where this row starts in a region.
Value UnitReader::region(size_t number) { return e.at(e.at(weight, regions[number]), e.mul(row, rowBytes[number])); }

Emitter::Values UnitReader::load(Value unit) {
  Emitter::Values loaded;
  int64_t units = layout.units(width);
  for (size_t plane = 0; plane < layout.planes.size(); ++plane) {
    Value start = e.at(region(plane), e.mul(unit, kGpuLoadBytes));
    for (int64_t piece = 0; piece < layout.pieces(plane); ++piece)
      loaded.push_back(e.load(e.i32s(4), e.at(start, piece * units * kGpuLoadBytes), kGpuLoadBytes));
  }
  loadScales(unit, loaded);
  return loaded;
}

/// The numbers of `bytes` bytes that a region has for each `share` k, as many as a unit has, by one load.
Value UnitReader::loadEach(size_t number, Value unit, Type element, int64_t share, unsigned bytes) {
  int64_t count = layout.unit() / share;
  if (count > 1)
    return e.load(e.vec(count, element), e.at(region(number), e.mul(unit, count * bytes)), unsigned(count * bytes));
  return e.load(element, e.at(region(number), e.mul(e.div(unit, share / layout.unit()), bytes)), bytes);
}

/// The bytes of a unit's scales as an i32, or a vector of two.
Value UnitReader::loadBytes(Value unit) {
  int64_t count = std::max<int64_t>(1, layout.unit() / layout.group);
  Value at = e.at(region(layout.planes.size()),
                  layout.unit() < layout.group ? e.div(unit, layout.group / layout.unit()) : e.mul(unit, count));
  if (count == 8)
    return e.load(e.i32s(2), at, 8);
  Value bytes = e.load(e.getIntegerType(unsigned(8 * count)), at, unsigned(count));
  return count == 4 ? bytes : arith::ExtUIOp::create(e, e.getI32Type(), bytes);
}

void UnitReader::loadScales(Value unit, Emitter::Values &into) {
  size_t first = layout.planes.size();
  auto ofSuperBlock = [&](size_t number, Type type, unsigned bytes) {
    Value superBlock = e.div(e.mul(unit, layout.unit()), kSuperBlock);
    into.push_back(e.load(type, e.at(region(number), e.mul(superBlock, bytes)), bytes));
  };
  switch (layout.scales) {
  case GpuScales::HalfAndMinimum:
    into.push_back(loadEach(first, unit, e.getF16Type(), 32, 2));
    into.push_back(loadEach(first + 1, unit, e.getF16Type(), 32, 2));
    break;
  case GpuScales::Half:
    into.push_back(loadEach(first, unit, e.getF16Type(), 32, 2));
    break;
  case GpuScales::Single:
    into.push_back(loadEach(first, unit, e.getF32Type(), 32, 4));
    break;
  case GpuScales::Power:
    into.push_back(loadBytes(unit));
    break;
  case GpuScales::SixBits:
    ofSuperBlock(first, e.i32s(4), 16);
    break;
  case GpuScales::Nibbles:
    into.push_back(loadBytes(unit));
    ofSuperBlock(first + 1, e.vec(2, e.getF16Type()), 4);
    break;
  case GpuScales::SignedBytes:
  case GpuScales::BytesAndHalf:
    into.push_back(loadBytes(unit));
    ofSuperBlock(first + 1, e.getF16Type(), 2);
    break;
  }
}

UnitReader::Unit::Unit(UnitReader &reader, Value number, ValueRange loaded)
    : reader(reader), e(reader.e), layout(reader.layout), number(number), loaded(loaded), firstScale(0) {
  for (size_t plane = 0; plane < layout.planes.size(); ++plane)
    firstScale += layout.pieces(plane);
}

/// Of a loaded value, which is a vector unless a unit has one number of its kind.
Value UnitReader::Unit::element(size_t value, int64_t index) {
  Value whole = loaded[value];
  return isa<VectorType>(whole.getType()) ? vector::ExtractOp::create(e, whole, ArrayRef<int64_t>{index}).getResult()
                                          : whole;
}

/// Word `index` of a plane, in the order in which they lie in its pieces.
Value UnitReader::Unit::word(size_t plane, int64_t index) {
  size_t first = 0;
  for (size_t before = 0; before < plane; ++before)
    first += layout.pieces(before);
  return element(first + index / 4, index % 4);
}

/// What a plane has of quad q: a field of each byte.
Value UnitReader::Unit::field(size_t plane, int64_t q) {
  int64_t bits = layout.planes[plane], quads = 32 / bits;
  Value part = e.shiftRight(word(plane, q / quads * 4 + q % 4), bits * (q % quads / 4));
  return bits < 8 ? e.bitAnd(part, ((1 << bits) - 1) * 0x01010101) : part;
}

/// The lower four bits of the codes choose among 16 entries, and the bits above among the 16s. Looking a word of
/// nibbles up gives two quads; what is made twice LLVM makes once.
Value UnitReader::Unit::lookUp(int64_t q, ArrayRef<int8_t> table) {
  Value nibbles = word(0, q / 8 * 4 + q % 4);
  bool high = q % 8 / 4;
  SmallVector<Value> found;
  for (size_t first = 0; first < table.size(); first += 16) {
    auto [low, upper] = emitNibbleLookup(e, reader.target, nibbles, table.slice(first, 16));
    found.push_back(high ? upper : low);
  }
  for (unsigned bit = 0; found.size() > 1; ++bit) {
    SmallVector<Value> next;
    for (size_t i = 0; i < found.size(); i += 2)
      next.push_back(emitByteSelect(e, field(1, q), bit, found[i], found[i + 1]));
    found = next;
  }
  return found.front();
}

Quad UnitReader::Unit::quad(int64_t q) {
  if (!layout.table.empty())
    return {lookUp(q, layout.table), layout.digits.empty() ? Value() : lookUp(q, layout.digits)};
  Value whole = field(0, q);
  unsigned below = layout.planes[0];
  for (size_t plane = 1; plane < layout.planes.size(); ++plane) {
    whole = e.bitOr(whole, e.shiftLeft(field(plane, q), below));
    below += layout.planes[plane];
  }
  return {whole, {}};
}

/// Byte `index` of those of the scales, as i32.
Value UnitReader::Unit::byte(int64_t index, bool isSigned) {
  Value word = element(firstScale, index / 4);
  int64_t shift = 8 * (index % 4);
  return isSigned ? e.signedShiftRight(e.shiftLeft(word, 24 - shift), 24) : e.bitAnd(e.shiftRight(word, shift), 255);
}

Value codegen::emitPowerOfTwo(Emitter &e, Value exponent) {
  auto is = [&](int64_t value) {
    return e.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::eq, exponent, e.number(e.getI32Type(), value));
  };
  auto choose = [&](Value condition, int64_t bits, Value otherwise) -> Value {
    return arith::SelectOp::create(e, condition, e.number(e.getI32Type(), bits), otherwise);
  };
  Value bits = choose(is(0), 0x00400000, e.shiftLeft(exponent, 23));
  return arith::BitcastOp::create(e, e.getF32Type(), choose(is(255), 0x7fc00000, bits));
}

/// GpuScales::SixBits.
ScalePair UnitReader::Unit::sixBits(int64_t p) {
  Value supers = e.widen(LLVM::BitcastOp::create(e, e.vec(2, e.getF16Type()), element(firstScale, 0)));
  auto super = [&](int64_t i) -> Value { return vector::ExtractOp::create(e, supers, ArrayRef<int64_t>{i}); };
  Value k = e.add(e.mul(number, layout.unit()), p * layout.piece());
  Value group = e.rem(e.div(k, 32), e.i64(kSuperBlock / 32));
  Value shift = arith::TruncIOp::create(e, e.getI32Type(), e.mul(group, 4));
  auto nibble = [&](int64_t word) {
    return e.bitAnd(arith::ShRUIOp::create(e, element(firstScale, word), shift).getResult(), 15);
  };
  Value high = nibble(3);
  Value scale = e.bitOr(nibble(1), e.shiftLeft(e.bitAnd(high, 3), 4));
  Value minimum = e.bitOr(nibble(2), e.shiftLeft(e.shiftRight(high, 2), 4));
  return {e.mulf(super(0), e.toFloat(scale)), e.mulf(super(1), e.toFloat(minimum))};
}

ScalePair UnitReader::Unit::scale(int64_t p) {
  // A unit that is less than a group has one number of each kind, its neighbour the same.
  int64_t index = p * layout.piece() / layout.group;
  switch (layout.scales) {
  case GpuScales::Half:
    return {e.widen(element(firstScale, index)), {}};
  case GpuScales::HalfAndMinimum:
    return {e.widen(element(firstScale, index)), e.widen(element(firstScale + 1, index))};
  case GpuScales::Single:
    return {element(firstScale, index), {}};
  case GpuScales::Power:
    return {e.mulf(emitPowerOfTwo(e, byte(index, false)), e.real(e.getF32Type(), layout.factor)), {}};
  case GpuScales::SixBits:
    return sixBits(p);
  case GpuScales::Nibbles: {
    Value both = byte(index, false);
    auto times = [&](int64_t i, Value factor) {
      return e.mulf(e.widen(element(firstScale + 1, i)), e.toFloat(factor));
    };
    return {times(0, e.bitAnd(both, 15)), times(1, e.shiftRight(both, 4))};
  }
  default:
    return {e.mulf(e.widen(element(firstScale + 1, 0)), e.toFloat(byte(index, true))), {}};
  }
}

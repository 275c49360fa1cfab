#include "CodeReader.h"

#include "ByteOps.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

CodeReader::CodeReader(Emitter &e, const GpuTarget &target, const GpuLayout &layout, int64_t rows, int64_t width)
    : e(e), target(target), layout(layout), floatCodes(FloatCodes::of(layout)), units(layout.units(width)),
      regions(layout.regions(rows, width)), rowBytes(layout.rowBytes(width)) {}

bool CodeReader::hasBytes(const GpuLayout &layout) {
  if (layout.isFloat() || !layout.digits.empty())
    return false;
  if (layout.signedCodes)
    return layout.zero == 0;
  return layout.bits() < 8 && (layout.zero == 0 || layout.zero == 1u << (layout.bits() - 1));
}

Value CodeReader::bytesAt(Value weight, Value row, int64_t more, Value sixteenth) const {
  Value start = e.at(e.at(weight, regions[0]), e.mul(row, rowBytes[0]));
  return e.at(e.at(start, e.mul(sixteenth, kGpuLoadBytes)), more * rowBytes[0]);
}

Emitter::Values CodeReader::piecesAt(Value weight, Value row, int64_t more, Value group) const {
  if (!areBytes())
    return planesAt(weight, row, more, group);
  Value first = bytesAt(weight, row, more, e.mul(group, 2));
  return {first, e.at(first, kGpuLoadBytes)};
}

Emitter::Values CodeReader::planesAt(Value weight, Value row, int64_t more, Value group) const {
  int64_t groups = layout.unit() / 32;
  Value unit = e.div(group, groups), within = e.rem(group, e.i64(groups));
  Emitter::Values places;
  for (size_t plane = 0; plane < layout.planes.size(); ++plane) {
    int64_t groupsOfPiece = 4 / layout.planes[plane]; // 16 bytes
    Value piece = e.add(e.mul(e.div(within, groupsOfPiece), units), unit);
    Value start = e.at(e.at(weight, regions[plane]), e.mul(row, rowBytes[plane]));
    places.push_back(e.at(e.at(start, e.mul(piece, kGpuLoadBytes)), more * rowBytes[plane]));
  }
  return places;
}

Value CodeReader::fieldShift(unsigned width, Value group) const {
  Value field = e.rem(group, e.i64(4 / width));
  return arith::TruncIOp::create(e, e.getI32Type(), e.mul(field, 2 * width));
}

Value CodeReader::field(ValueRange planes, size_t plane, int64_t quad, unsigned to, Value group) const {
  unsigned width = layout.planes[plane];
  Value word = vector::ExtractOp::create(e, planes[plane], ArrayRef<int64_t>{quad % 4});
  if (width < 4)
    word = arith::ShRUIOp::create(e, word, fieldShift(width, group));
  unsigned from = width * unsigned(quad / 4), mask = ((1u << width) - 1) << to;
  word = from > to ? e.shiftRight(word, from - to) : e.shiftLeft(word, to - from);
  return e.bitAnd(word, int32_t(mask * 0x01010101u));
}

/// The lower four bits of a code choose among 16 entries, and the bits above among the 16s. Looking a word of nibbles
/// up gives two quads; what is made twice LLVM makes once.
Value CodeReader::lookUp(ValueRange planes, int64_t quad, Value group, ArrayRef<int8_t> table) const {
  Value nibbles = vector::ExtractOp::create(e, planes[0], ArrayRef<int64_t>{quad % 4});
  SmallVector<Value> found;
  for (size_t first = 0; first < table.size(); first += 16) {
    auto [low, high] = emitNibbleLookup(e, target, nibbles, table.slice(first, 16));
    found.push_back(quad < 4 ? low : high);
  }
  for (unsigned bit = 0; found.size() > 1; ++bit) {
    SmallVector<Value> next;
    for (size_t i = 0; i < found.size(); i += 2)
      next.push_back(emitByteSelect(e, field(planes, 1, quad, 0, group), bit, found[i], found[i + 1]));
    found = next;
  }
  return found.front();
}

/// Of all planes, from the bytes' bit `to` on.
Value CodeReader::fields(ValueRange planes, int64_t quad, unsigned to, Value group) const {
  Value code;
  for (size_t plane = 0; plane < layout.planes.size(); ++plane) {
    Value bits = field(planes, plane, quad, to, group);
    code = code ? e.bitOr(code, bits) : bits;
    to += layout.planes[plane];
  }
  return code;
}

Emitter::Values CodeReader::unpack(ValueRange pieces, Value group) const {
  Emitter::Values codes;
  for (int64_t quad = 0; quad < 8; ++quad) {
    Value code =
        layout.table.empty() ? fields(pieces, quad, shift(), group) : lookUp(pieces, quad, group, layout.table);
    codes.push_back(layout.zero ? e.bitXor(code, int32_t(0x80808080)) : code);
  }
  return codes;
}

Emitter::Values CodeReader::halves(ValueRange pieces, Value group) const {
  bool areNibbles = layout.table.empty() && layout.planes == std::vector<unsigned>{4};
  Emitter::Values halves;
  for (int64_t quad = 0; quad < 8; ++quad) {
    if (areBytes() || areNibbles) {
      Value word = vector::ExtractOp::create(e, pieces[areBytes() ? size_t(quad / 4) : 0], ArrayRef<int64_t>{quad % 4});
      halves.append(areBytes() ? emitHalvesOfBytes(e, word) : halvesOfNibbles(word, quad >= 4));
    } else if (!layout.table.empty()) {
      halves.append(halvesOfTable(pieces, quad, group));
    } else {
      halves.append(emitHalvesAbove(e, fields(pieces, quad, 0, group), layout.zero));
    }
  }
  return halves;
}

Emitter::Values CodeReader::halvesOfTable(ValueRange planes, int64_t quad, Value group) const {
  if (floatCodes)
    return floatCodes->halves(e, fields(planes, quad, 0, group));
  Emitter::Values entries = emitHalvesOfBytes(e, lookUp(planes, quad, group, layout.table));
  if (layout.digits.empty())
    return entries;
  Emitter::Values digits = emitHalvesOfBytes(e, lookUp(planes, quad, group, layout.digits));
  for (auto [entry, digit] : llvm::zip_equal(entries, digits))
    entry = LLVM::FMAOp::create(e, digit, e.real(digit.getType(), double(1 << layout.digitShift)), entry);
  return entries;
}

/// A nibble in the last bits of the f16 1024 is 1024 plus the code; one above it 1024 plus 16 times the code.
Emitter::Values CodeReader::halvesOfNibbles(Value word, bool high) const {
  VectorType two = e.vec(2, e.getF16Type());
  Emitter::Values halves;
  for (int64_t byte = 0; byte < 2; ++byte) {
    Value bits = e.bitAnd(byte ? e.shiftRight(word, 8) : word, high ? 0x00f000f0 : 0x000f000f);
    Value number = LLVM::BitcastOp::create(e, two, e.bitOr(bits, e.number(e.getI32Type(), 0x64006400)));
    if (high)
      halves.push_back(LLVM::FMAOp::create(e, number, e.real(two, 1.0 / 16), e.real(two, -64.0 - layout.zero)));
    else
      halves.push_back(e.subf(number, e.real(two, 1024.0 + layout.zero)));
  }
  return halves;
}

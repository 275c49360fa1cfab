#include "PanelReader.h"

#include "dialects/DQ/DQ.h"

using namespace mlir;
using namespace quern::codegen;

/// The line at `line` as `type`, or this row's part of it, `laneBytes` bytes a row.
Value PanelReader::loadLine(Value line, VectorType type, int64_t laneBytes) {
  if (prefetch)
    e.prefetch(e.at(line, prefetch));
  if (lane)
    return e.load(type, e.at(line, e.mul(lane, laneBytes)), laneBytes);
  return e.load(type, line, type.getNumElements() * type.getElementTypeBitWidth() / 8);
}

PanelReader::Super PanelReader::splitPair(Value pair) {
  auto halves = [&](Value words) {
    Value low = arith::TruncIOp::create(e, e.vec(lanes, e.getI16Type()), words);
    return e.widen(e.bitcast(low, e.vec(lanes, e.getF16Type())));
  };
  return {halves(pair), halves(e.shiftRight(pair, 16))};
}

Value PanelReader::loadFirstPair(Value panel) {
  Value address = lane ? e.at(panel, e.mul(lane, 4)) : panel;
  return e.load(e.i32s(lanes), address, lane ? 4 : 64);
}

PanelReader::Super PanelReader::loadSuper(Value panel, Value index) {
  if (layout.scale == ScaleLayout::Nibbles)
    return splitPair(loadFirstPair(e.at(panel, e.mul(index, kLineBytes))));
  if (layout.scale != ScaleLayout::SignedBytes)
    return {};
  Value address = e.at(panel, e.mul(index, 32));
  if (lane)
    address = e.at(address, e.mul(lane, 2));
  return {e.widen(e.load(e.vec(lanes, e.getF16Type()), address, lane ? 2 : 32)), {}};
}

void PanelReader::beginSubunit(Value pointer) {
  subunit = pointer;
  allHighLines.clear();
  scaleWords = layout.hasSuperBlocks() ? loadLine(subunit, e.i32s(lanes), 4) : Value();
  if (prefetch && !layout.hasSuperBlocks())
    for (int64_t line = 0; line < layout.scaleLines(); ++line)
      e.prefetch(e.at(subunit, line * kLineBytes + prefetch));
}

Value PanelReader::gatherPair(Value pair) {
  return e.bitOr(e.shiftRight(pair, 8), e.bitAnd(scaleWords, int64_t(int32_t(0xff000000u))));
}

void PanelReader::loadHighLines() {
  for (int64_t index = 0; index < layout.highLines(); ++index)
    allHighLines.push_back(loadLine(e.at(subunit, (layout.scaleLines() + index) * kLineBytes), lineBytes(), 4));
}

void PanelReader::enterGroup(Value index, Value shifted) {
  int64_t highLine = layout.scaleLines() * kLineBytes, codeLine = highLine + layout.highLines() * kLineBytes;
  words = shifted;
  groupScales = e.at(subunit, e.mul(index, layout.groupScaleBytes()));
  highStart = e.at(e.at(subunit, e.mul(index, layout.highBits * kLineBytes)), highLine);
  codeStart = e.at(e.at(subunit, e.mul(index, layout.lowBits * kLineBytes)), codeLine);
  codeCache.assign(layout.lowBits, {});
  highCache.assign(layout.highBits, {});
}

void PanelReader::enterGroup(unsigned index, Value shifted) {
  enterGroup(e.i64(index), shifted);
  if (!allHighLines.empty())
    for (unsigned i = 0; i < layout.highBits; ++i)
      highCache[i] = allHighLines[index * layout.highBits + i];
}

std::pair<Value, Value> PanelReader::scales(unsigned index, const Super &super) {
  auto plain = [&](int64_t line) {
    bool single = layout.scale == ScaleLayout::Single, bfloat = layout.scale == ScaleLayout::BFloat;
    Type element = single ? Type(e.getF32Type()) : bfloat ? Type(e.getBF16Type()) : Type(e.getF16Type());
    Value address = e.at(groupScales, line * kLineBytes);
    if (lane)
      address = e.at(address, e.mul(lane, layout.scaleBytes()));
    Value stored = e.load(e.vec(lanes, element), address, lane ? layout.scaleBytes() : layout.groupScaleBytes());
    return single ? stored : e.widen(stored);
  };
  auto field = [&](unsigned shift, int64_t mask) { return e.toFloat(e.bitAnd(e.shiftRight(words, shift), mask)); };
  auto signedByte = [&](unsigned byte) { return e.toFloat(e.signedShiftRight(e.shiftLeft(words, 24 - 8 * byte), 24)); };
  switch (layout.scale) {
  case ScaleLayout::Half:
  case ScaleLayout::BFloat:
  case ScaleLayout::Single:
    return {plain(0), {}};
  case ScaleLayout::HalfAndMinimum:
    return {plain(0), plain(1)};
  case ScaleLayout::SixBits:
    return {e.mulf(super.d, field(0, 63)), e.mulf(super.dmin, field(12, 63))};
  case ScaleLayout::Nibbles:
    return {e.mulf(super.d, field(8 * index, 15)), e.mulf(super.dmin, field(8 * index + 4, 15))};
  case ScaleLayout::SignedBytes:
    return {e.mulf(super.d, signedByte(index)), {}};
  case ScaleLayout::BytesAndHalf: {
    Value d = splitPair(e.shiftRight(scaleWords, 16)).d;
    return {e.mulf(d, signedByte(0)), {}};
  }
  }
  return {};
}

Value PanelReader::codeLine(int64_t index) {
  if (!codeCache[index])
    codeCache[index] = loadLine(e.at(codeStart, index * kLineBytes), lineBytes(), 4);
  return codeCache[index];
}

/// Bytes shifted to the left, or to the right where `left` is negative, in words of 32 bits: what comes in from a
/// neighbouring byte is masked off by the caller anyway. LLVM would make byte shifts into matrix products, on the pipes
/// that the dot products need.
Value PanelReader::moveBits(Value bytes, int64_t left) {
  if (left == 0)
    return bytes;
  Value words = e.bitcast(bytes, e.i32s(lanes));
  words = left > 0 ? e.shiftLeft(words, left) : e.shiftRight(words, -left);
  return e.bitcast(words, lineBytes());
}

/// The high bits of a k-line, moved above the low ones.
Value PanelReader::highBits(unsigned line) {
  int64_t index = layout.highBits == 1 ? 0 : line / 4;
  unsigned from = layout.highBits == 1 ? line : 2 * (line % 4);
  if (!highCache[index])
    highCache[index] = loadLine(e.at(highStart, index * kLineBytes), lineBytes(), 4);
  Value bits = moveBits(highCache[index], int64_t(layout.lowBits) - int64_t(from));
  return e.bitAnd(bits, int64_t((1u << layout.highBits) - 1) << layout.lowBits);
}

Value PanelReader::lowBits(unsigned line) {
  if (layout.lowBits == 8)
    return codeLine(line);
  if (layout.lowBits == 4)
    return e.bitAnd(moveBits(codeLine(line % 4), -int64_t(line / 4 * 4)), 15);
  return e.bitAnd(moveBits(codeLine(line / 4), -2 * int64_t(line % 4)), 3);
}

/// Entries of the table: sixteen at a time by the low bits, chosen by the high ones. Unsigned for the dot product:
/// entries plus 128, the zero point of such layouts.
Value PanelReader::lookUp(unsigned line, bool asSigned, unsigned digit) {
  std::vector<int8_t> table = layout.digitTable(digit);
  if (!asSigned)
    for (int8_t &entry : table)
      entry = int8_t(uint8_t(entry) ^ 0x80);
  Value low = lowBits(line), high = layout.highBits ? highBits(line) : Value(), found;
  for (unsigned part = 0; part < 1u << layout.highBits; ++part) {
    Value entries = dq::LookupOp::create(e, low.getType(), low, llvm::ArrayRef(table).slice(16 * part, 16));
    if (!found) {
      found = entries;
      continue;
    }
    Value here = arith::CmpIOp::create(e, arith::CmpIPredicate::eq, high, e.number(high.getType(), 16 * part));
    found = arith::SelectOp::create(e, here, entries, found);
  }
  return found;
}

Value PanelReader::codes(unsigned line, bool asSigned, unsigned digit) {
  if (!layout.table.empty())
    return lookUp(line, asSigned, digit);
  Value codes = lowBits(line);
  if (layout.highBits)
    codes = e.bitOr(codes, highBits(line));
  return asSigned ? e.bitXor(codes, 0x80) : codes;
}

#include "ByteOps.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

Value codegen::emitByteDot(Emitter &e, Value codes, bool codesSigned, Value x, Value sum) {
  auto bytes = [&](Value word) -> Value { return LLVM::BitcastOp::create(e, e.i8s(4), word); };
  auto type = codesSigned ? NVVM::DotAccumulateType::SIGNED : NVVM::DotAccumulateType::UNSIGNED;
  return NVVM::DotAccumulate4WayOp::create(e, e.getI32Type(), bytes(codes), type, bytes(x),
                                           NVVM::DotAccumulateType::SIGNED, sum);
}

Value codegen::emitByteSelect(Emitter &e, Value bits, unsigned bit, Value a, Value b) {
  Value ones = e.bitAnd(e.shiftRight(bits, bit), 0x01010101);
  Value mask = e.mul(ones, e.number(e.getI32Type(), 255)); // a byte of ones for each bit that is set
  return arith::XOrIOp::create(e, a, arith::AndIOp::create(e, mask, arith::XOrIOp::create(e, a, b)));
}

/// Entries `first` to `first + 4` as a word.
static Value entries(Emitter &e, ArrayRef<int8_t> table, size_t first) {
  uint32_t word = 0;
  for (size_t i = 0; i < 4; ++i)
    word |= uint32_t(uint8_t(table[first + i])) << (8 * i);
  return e.number(e.getI32Type(), int32_t(word));
}

Value codegen::emitBytePermute(Emitter &e, Value low, Value high, Value selector) {
  return NVVM::PermuteOp::create(e, e.getI32Type(), low, high, selector, NVVM::PermuteMode::DEFAULT);
}

/// A byte below the byte 0x64 is the f16 1024 plus the byte.
Emitter::Values codegen::emitHalvesAbove(Emitter &e, Value word, int64_t zero, double factor) {
  Value above = e.number(e.getI32Type(), 0x64646464);
  VectorType halves = e.vec(2, e.getF16Type());
  Emitter::Values numbers;
  for (int64_t places : {0x4240, 0x4341}) {
    Value both = emitBytePermute(e, word, above, e.number(e.getI32Type(), places));
    Value pair = LLVM::BitcastOp::create(e, halves, both);
    double offset = double(1024 + zero) * factor;
    if (factor == 1)
      numbers.push_back(e.subf(pair, e.real(halves, offset)));
    else // exact, in one operation as well
      numbers.push_back(LLVM::FMAOp::create(e, pair, e.real(halves, factor), e.real(halves, -offset)));
  }
  return numbers;
}

Emitter::Values codegen::emitHalvesOfBytes(Emitter &e, Value word, double factor) {
  return emitHalvesAbove(e, e.bitXor(word, int32_t(0x80808080)), 128, factor);
}

/// A permutation picks among eight bytes by three bits of each of four nibbles, so the entries are looked up in both
/// halves of the table, and the nibbles' top bits choose of the two. What comes out is in the order of the nibbles: the
/// low one of a byte before its high one.
static std::pair<Value, Value> permuteTable(Emitter &e, Value word, ArrayRef<int8_t> table) {
  Value threeBits = e.bitAnd(word, 0x77777777);
  Value ofTwo = e.bitOr(e.shiftRight(e.bitAnd(word, 0x88888888), 1), e.number(e.getI32Type(), 0x32103210));
  Value found[2];
  for (int64_t half = 0; half < 2; ++half) {
    Value selector = e.shiftRight(threeBits, 16 * half);
    Value below = emitBytePermute(e, entries(e, table, 0), entries(e, table, 4), selector);
    Value above = emitBytePermute(e, entries(e, table, 8), entries(e, table, 12), selector);
    found[half] = emitBytePermute(e, below, above, e.shiftRight(ofTwo, 16 * half));
  }
  auto gather = [&](int64_t places) {
    return emitBytePermute(e, found[0], found[1], e.number(e.getI32Type(), places));
  };
  return {gather(0x6420), gather(0x7531)};
}

/// The same by a tree of choices, one bit of the codes after the other.
static Value selectEntries(Emitter &e, Value codes, ArrayRef<int8_t> table) {
  SmallVector<Value> words;
  for (int8_t entry : table)
    words.push_back(e.number(e.getI32Type(), int32_t(uint32_t(uint8_t(entry)) * 0x01010101u)));
  for (unsigned bit = 0; words.size() > 1; ++bit) {
    SmallVector<Value> next;
    for (size_t i = 0; i < words.size(); i += 2)
      next.push_back(emitByteSelect(e, codes, bit, words[i], words[i + 1]));
    words = next;
  }
  return words.front();
}

std::pair<Value, Value> codegen::emitNibbleLookup(Emitter &e, const GpuTarget &target, Value word,
                                                  ArrayRef<int8_t> table) {
  if (target.bytePermute)
    return permuteTable(e, word, table);
  return {selectEntries(e, word, table), selectEntries(e, e.shiftRight(word, 4), table)};
}

// What the decoders of single opcodes need: the opcode's words and operands, taken one by one, and slots for names.
#ifndef QUERN_TEST_PTX_DECODER_H
#define QUERN_TEST_PTX_DECODER_H

#include "test/ptx/Program.h"

#include <algorithm>
#include <initializer_list>
#include <unordered_map>

namespace quern::ptx {

class KernelNames;

/// One instruction while it is decoded. Whatever is asked for and not there sets an error, and gives a harmless value;
/// so does a word or an operand that nothing took. The first error is what `finish` returns.
class Decoder {
public:
  Decoder(const SyntaxInstruction &syntax, KernelNames &names, Instruction &out);

  // The opcode's words after the first.
  bool take(std::string_view word);
  /// Takes the word that is one of these; its index, or -1 without an error.
  int takeOneOf(std::initializer_list<std::string_view> words);
  /// The next word, which has to be a type.
  Type takeType();
  /// Drops these words where they stand next: they change nothing here (cache hints, `uni`).
  void ignore(std::initializer_list<std::string_view> words);
  bool moreWords() const { return nextWord < syntax.words.size(); }
  const std::string &opcode() const { return syntax.words.front(); }

  // The operands in order, each becoming the next slot of the instruction.
  void slot();
  /// A destination; `_` is a slot that nobody reads.
  void destination();
  void slots(int count);
  /// `{a, b, ...}` of just that many, or a single operand where `count` is 1.
  void vector(int count);
  /// `a|p`; without the second, a slot that nobody reads.
  void pairOfDestinations();
  /// `[base+offset]`: a slot, and the instruction's offset.
  void address();
  void memberMask();
  /// Forgets the slot taken last: the next one stands in for it.
  void dropSlot() { slotList.pop_back(); }
  void label();
  void constantSlot(uint64_t bits);
  size_t operandsLeft() const { return syntax.operands.size() - nextOperand; }
  /// The operand that comes next, if any.
  const SyntaxOperand *peek() const;
  /// Sets the handler; null says that the opcode has no such type.
  void run(Alone alone);
  void runTogether(Together together);

  /// True if the next operand is a predicate register.
  bool predicateNext() const;
  /// The instruction is there from this compute capability on: 80 of sm_80.
  void needs(int capability) { leastCapability = std::max(leastCapability, capability); }
  void refuse(std::string why);
  void setAtomic() { isAtomic = true; }
  /// Gives the kernel the list of slots.
  Status finish(Kernel &kernel);

  Instruction &out;

private:
  const SyntaxOperand *takeOperand();
  void add(const SyntaxOperand *operand, bool written);

  const SyntaxInstruction &syntax;
  KernelNames &names;
  size_t nextWord = 1, nextOperand = 0;
  std::vector<uint32_t> slotList;
  int leastCapability = 0;
  bool isAtomic = false;
  std::string error;
};

using DecodeFunction = void (*)(Decoder &);
using OpcodeTable = std::unordered_map<std::string_view, DecodeFunction>;

// One table for each group of opcodes, by the opcode's first word.
const OpcodeTable &arithmeticOpcodes();
const OpcodeTable &bitOpcodes();
const OpcodeTable &functionOpcodes();
const OpcodeTable &compareOpcodes();
const OpcodeTable &conversionOpcodes();
const OpcodeTable &controlOpcodes();
const OpcodeTable &memoryOpcodes();
const OpcodeTable &atomicOpcodes();
const OpcodeTable &warpOpcodes();
const OpcodeTable &matrixOpcodes();

/// The handler `Body<T>::run` for the T whose type it is, or null.
template <template <typename> class Body, typename... Ts> Alone select(Type type) {
  Alone found = nullptr;
  ((type == typeCode<Ts>() ? void(found = &Body<Ts>::run) : void()), ...);
  return found;
}

} // namespace quern::ptx

#endif // QUERN_TEST_PTX_DECODER_H

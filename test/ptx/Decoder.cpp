#include "test/ptx/Decoder.h"

#include "test/ptx/KernelNames.h"

#include <charconv>

namespace quern::ptx {

Decoder::Decoder(const SyntaxInstruction &syntax, KernelNames &names, Instruction &out)
    : out(out), syntax(syntax), names(names) {
  out.line = syntax.line;
}

bool Decoder::take(std::string_view word) {
  bool found = moreWords() && syntax.words[nextWord] == word;
  nextWord += found;
  return found;
}

int Decoder::takeOneOf(std::initializer_list<std::string_view> words) {
  int index = 0;
  for (std::string_view word : words) {
    if (take(word))
      return index;
    ++index;
  }
  return -1;
}

Type Decoder::takeType() {
  auto type = moreWords() ? parseType(syntax.words[nextWord]) : std::nullopt;
  if (!type)
    refuse(moreWords() ? "does not know ." + syntax.words[nextWord] : std::string("lacks a type"));
  ++nextWord;
  if (type == Type::bf16 || type == Type::bf16x2)
    needs(80);
  return type.value_or(Type::u32);
}

void Decoder::ignore(std::initializer_list<std::string_view> words) {
  while (takeOneOf(words) >= 0) {
  }
}

const SyntaxOperand *Decoder::peek() const { return operandsLeft() ? &syntax.operands[nextOperand] : nullptr; }

const SyntaxOperand *Decoder::takeOperand() {
  const SyntaxOperand *operand = peek();
  if (operand)
    ++nextOperand;
  else
    refuse("lacks an operand");
  return operand;
}

void Decoder::add(const SyntaxOperand *operand, bool written) {
  if (!operand)
    return slotList.push_back(names.sink());
  if (operand->kind == SyntaxOperand::number && !written)
    return slotList.push_back(names.constant(operand->bits));
  std::optional<uint32_t> found;
  if (operand->kind == SyntaxOperand::name)
    found = operand->text == "_" ? names.sink() : names.slot(operand->text, operand->bits);
  if (!found)
    refuse("has an operand " + operand->text + " that is no register, number or variable here");
  slotList.push_back(found.value_or(names.sink()));
}

void Decoder::slot() { add(takeOperand(), false); }
void Decoder::destination() { add(takeOperand(), true); }

void Decoder::slots(int count) {
  for (int i = 0; i < count; ++i)
    slot();
}

void Decoder::vector(int count) {
  if (count == 1 && peek() && peek()->kind != SyntaxOperand::vector)
    return slot();
  const SyntaxOperand *operand = takeOperand();
  if (operand && (operand->kind != SyntaxOperand::vector || int(operand->parts.size()) != count))
    return refuse("expects an operand of " + std::to_string(count) + " registers in braces");
  for (int i = 0; i < count; ++i)
    add(operand ? &operand->parts[i] : nullptr, false);
}

void Decoder::pairOfDestinations() {
  const SyntaxOperand *operand = takeOperand();
  bool pair = operand && operand->kind == SyntaxOperand::pair;
  add(pair ? &operand->parts[0] : operand, true);
  if (pair)
    add(&operand->parts[1], true);
  else
    slotList.push_back(names.sink());
}

void Decoder::address() {
  const SyntaxOperand *operand = takeOperand();
  if (operand && (operand->kind != SyntaxOperand::address || operand->parts.size() != 1))
    return refuse("expects an address in brackets");
  if (!operand)
    return add(nullptr, false);
  SyntaxOperand base = operand->parts.front();
  if (base.kind == SyntaxOperand::name) {
    out.offset = int64_t(base.bits);
    base.bits = 0;
  }
  add(&base, false);
}

void Decoder::memberMask() {
  slot();
  out.mask = int32_t(slotList.back());
  dropSlot();
}

void Decoder::label() {
  const SyntaxOperand *operand = takeOperand();
  auto target = operand ? names.label(operand->text) : std::nullopt;
  if (operand && !target)
    refuse("jumps to " + operand->text + ", which is no label here");
  out.target = target.value_or(0);
}

void Decoder::constantSlot(uint64_t bits) { slotList.push_back(names.constant(bits)); }

void Decoder::run(Alone alone) {
  if (!alone)
    refuse("is not known with this type");
  out.alone = alone;
}

void Decoder::runTogether(Together together) {
  if (!together)
    refuse("is not known with this type");
  out.together = together;
}

bool Decoder::predicateNext() const {
  const SyntaxOperand *operand = peek();
  return operand && operand->kind == SyntaxOperand::name && names.isPredicate(operand->text);
}

void Decoder::refuse(std::string why) {
  if (error.empty())
    error = std::move(why);
}

Status Decoder::finish(Kernel &kernel) {
  if (moreWords())
    refuse("has the modifier ." + syntax.words[nextWord] + ", which the executor does not know");
  if (operandsLeft())
    refuse("has more operands than the executor knows");
  if (!syntax.guard.empty()) {
    auto guard = names.slot(syntax.guard, 0);
    if (!guard)
      refuse("depends on " + syntax.guard + ", which is no register here");
    out.guard = int32_t(guard.value_or(0));
    out.guardNegated = syntax.guardNegated;
  }
  kernel.hasAtomics |= isAtomic;
  if (leastCapability > kernel.capability)
    refuse("needs sm_" + std::to_string(leastCapability) + ", the module is for sm_" +
           std::to_string(kernel.capability));
  if (!error.empty())
    return fail("kernel " + kernel.name + ", line " + std::to_string(syntax.line) + ": " + syntax.opcode() + " " +
                error);
  auto list = std::make_unique<uint32_t[]>(slotList.size());
  std::ranges::copy(slotList, list.get());
  out.slots = list.get();
  kernel.slotLists.push_back(std::move(list));
  return {};
}

namespace {

DecodeFunction findOpcode(const std::string &opcode) {
  for (const OpcodeTable *table :
       {&arithmeticOpcodes(), &bitOpcodes(), &functionOpcodes(), &compareOpcodes(), &conversionOpcodes(),
        &controlOpcodes(), &memoryOpcodes(), &atomicOpcodes(), &warpOpcodes(), &matrixOpcodes()})
    if (auto found = table->find(opcode); found != table->end())
      return found->second;
  return [](Decoder &decoder) { decoder.refuse("is not known to the executor"); };
}

Result<Kernel> decodeKernel(const SyntaxModule &module, const SyntaxKernel &syntax, int capability) {
  Kernel kernel;
  kernel.capability = capability;
  kernel.name = syntax.name;
  kernel.requiredBlock = syntax.requiredBlock;
  kernel.maxThreads = syntax.maxThreads;
  KernelNames names(module, syntax, kernel);
  for (const SyntaxInstruction &from : syntax.instructions) {
    Decoder decoder(from, names, kernel.instructions.emplace_back());
    findOpcode(from.words.front())(decoder);
    QUERN_TRY(decoder.finish(kernel));
  }
  Instruction end;
  end.alone = [](Thread &, const Instruction &) { return Step::exit; };
  end.line = syntax.instructions.empty() ? syntax.line : syntax.instructions.back().line;
  kernel.instructions.push_back(end);
  return kernel;
}

} // namespace

const Kernel *Module::find(std::string_view name) const {
  auto found = std::ranges::find(kernels, name, &Kernel::name);
  return found == kernels.end() ? nullptr : &*found;
}

Result<Module> loadModule(std::string_view text) {
  QUERN_ASSIGN(SyntaxModule syntax, parsePtx(text));
  Module module;
  module.target = syntax.target;
  std::string_view name = syntax.target;
  if (name.starts_with("sm_"))
    std::from_chars(name.data() + 3, name.data() + name.size(), module.capability);
  if (module.capability <= 0)
    return fail("the target is " + syntax.target + ", which is no sm_<compute capability>");
  for (const SyntaxKernel &kernel : syntax.kernels) {
    QUERN_ASSIGN(Kernel decoded, decodeKernel(syntax, kernel, module.capability));
    module.kernels.push_back(std::move(decoded));
  }
  return module;
}

} // namespace quern::ptx

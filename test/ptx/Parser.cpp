// Reads PTX as LLVM and people write it. What the executor cannot run is refused here or when instructions are decoded,
// never skipped.
#include "test/ptx/Syntax.h"
#include "test/ptx/TokenReader.h"

namespace quern::ptx {
namespace {

class Parser : TokenReader {
public:
  using TokenReader::TokenReader;

  Result<SyntaxModule> module() {
    while (peek().kind != Token::end)
      QUERN_TRY(moduleItem());
    if (result.target.empty())
      return fail("the text has no .target");
    return std::move(result);
  }

private:
  Status moduleItem() {
    if (accept(".version") || accept(".address_size")) {
      take();
      return {};
    }
    if (accept(".target")) {
      QUERN_ASSIGN(result.target, word("a target"));
      while (accept(","))
        take();
      return {};
    }
    if (peek().text == ".visible" || peek().text == ".extern" || peek().text == ".weak")
      take();
    if (accept(".entry"))
      return kernel();
    if (accept(".shared"))
      return variable(result.shared);
    return wrong(".entry or .shared (.func, .global and .const are not executed)");
  }

  Status kernel() {
    SyntaxKernel &made = result.kernels.emplace_back();
    made.line = peek().line;
    QUERN_ASSIGN(made.name, word("the name of a kernel"));
    if (accept("("))
      while (!accept(")")) {
        QUERN_TRY(expect(".param"));
        QUERN_TRY(parameter(made.parameters));
        accept(",");
      }
    while (peek().text != "{")
      QUERN_TRY(limit(made));
    return body(made);
  }

  /// `.u64 .ptr .global .align 16 name` or `.align 8 .b8 name[16]`; what `.ptr` says is about the memory pointed to.
  Status parameter(std::vector<SyntaxVariable> &into) {
    if (peek().text == ".align")
      return array(into);
    QUERN_ASSIGN(Type type, dottedType());
    if (accept(".ptr")) {
      accept(".global") || accept(".shared") || accept(".local") || accept(".const");
      if (accept(".align"))
        QUERN_TRY(number());
    }
    QUERN_ASSIGN(std::string name, word("the name of a parameter"));
    into.push_back({name, byteSize(type), byteSize(type)});
    return {};
  }

  Status limit(SyntaxKernel &kernel) {
    bool required = peek().text == ".reqntid";
    if (!required && peek().text != ".maxntid" && peek().text != ".minnctapersm" && peek().text != ".maxnreg")
      return wrong("the body of kernel " + kernel.name);
    bool threads = required || peek().text == ".maxntid";
    take();
    std::array<uint32_t, 3> sizes = {1, 1, 1};
    for (size_t i = 0; i < 3; ++i) {
      QUERN_ASSIGN(uint64_t size, number());
      sizes[i] = uint32_t(size);
      if (!accept(","))
        break;
    }
    if (required)
      kernel.requiredBlock = sizes;
    if (threads)
      kernel.maxThreads = sizes[0] * sizes[1] * sizes[2];
    return {};
  }

  Status body(SyntaxKernel &kernel) {
    QUERN_TRY(expect("{"));
    for (int depth = 1; depth > 0;) {
      if (accept("{"))
        ++depth;
      else if (accept("}"))
        --depth;
      else
        QUERN_TRY(statement(kernel));
    }
    return {};
  }

  Status statement(SyntaxKernel &kernel) {
    if (accept(".reg"))
      return registers(kernel);
    if (accept(".shared"))
      return variable(kernel.shared);
    if (accept(".local"))
      return variable(kernel.local);
    if (accept(".pragma")) {
      take();
      return expect(";");
    }
    if (peek().kind == Token::word && peek(1).text == ":") {
      std::string label(take().text);
      take();
      if (!kernel.labels.emplace(label, kernel.instructions.size()).second)
        return wrong("no second label " + label);
      return {};
    }
    return instruction(kernel);
  }

  Result<Type> dottedType() {
    std::string_view text = peek().text;
    auto type = text.starts_with('.') ? parseType(text.substr(1)) : std::nullopt;
    if (!type)
      return wrong("a type");
    take();
    return *type;
  }

  /// `.b32 %r<7>, %x;`
  Status registers(SyntaxKernel &kernel) {
    QUERN_ASSIGN(Type type, dottedType());
    do {
      QUERN_ASSIGN(std::string name, word("a register"));
      if (!accept("<")) {
        kernel.registers.emplace(name, type);
        continue;
      }
      QUERN_ASSIGN(uint64_t count, number());
      if (count > 1 << 16)
        return wrong("at most 65536 registers");
      QUERN_TRY(expect(">"));
      for (uint64_t i = 0; i < count; ++i)
        kernel.registers.emplace(name + std::to_string(i), type);
    } while (accept(","));
    return expect(";");
  }

  Status variable(std::vector<SyntaxVariable> &into) {
    QUERN_TRY(array(into));
    return expect(";");
  }

  /// `.align 16 .b8 name[512]`; without a size in the brackets 0 bytes.
  Status array(std::vector<SyntaxVariable> &into) {
    SyntaxVariable made;
    uint64_t alignment = 0, count = 1;
    if (accept(".align")) {
      QUERN_ASSIGN(alignment, number());
      if (!std::has_single_bit(alignment) || alignment > 4096)
        return wrong("an alignment before this that is a power of two up to 4096");
    }
    QUERN_ASSIGN(Type type, dottedType());
    QUERN_ASSIGN(made.name, word("a name"));
    if (accept("[")) {
      count = 0;
      if (peek().text != "]") {
        QUERN_ASSIGN(count, number());
      }
      QUERN_TRY(expect("]"));
    }
    if (count > 1 << 24)
      return wrong("an array of at most 16777216 elements before this");
    made.alignment = alignment ? uint32_t(alignment) : byteSize(type);
    made.bytes = uint32_t(count) * byteSize(type);
    into.push_back(made);
    return {};
  }

  Status instruction(SyntaxKernel &kernel) {
    SyntaxInstruction made;
    made.line = peek().line;
    if (accept("@")) {
      made.guardNegated = accept("!");
      QUERN_ASSIGN(made.guard, word("a predicate"));
    }
    QUERN_ASSIGN(std::string opcode, word("an instruction"));
    for (size_t from = 0; from <= opcode.size();) {
      size_t dot = std::min(opcode.find('.', from), opcode.size());
      made.words.push_back(opcode.substr(from, dot - from));
      from = dot + 1;
    }
    while (!accept(";")) {
      QUERN_ASSIGN(SyntaxOperand parsed, operand());
      made.operands.push_back(std::move(parsed));
      if (!accept(",") && peek().text != ";")
        return wrong("',' or ';'");
    }
    kernel.instructions.push_back(std::move(made));
    return {};
  }

  Result<SyntaxOperand> operand() {
    if (accept("["))
      return list(SyntaxOperand::address, "]");
    if (accept("{"))
      return list(SyntaxOperand::vector, "}");
    QUERN_ASSIGN(SyntaxOperand first, simple());
    if (!accept("|"))
      return first;
    QUERN_ASSIGN(SyntaxOperand second, simple());
    SyntaxOperand pair;
    pair.kind = SyntaxOperand::pair;
    pair.parts = {first, second};
    return pair;
  }

  Result<SyntaxOperand> list(SyntaxOperand::Kind kind, std::string_view close) {
    SyntaxOperand made;
    made.kind = kind;
    do {
      QUERN_ASSIGN(SyntaxOperand part, simple());
      made.parts.push_back(std::move(part));
    } while (accept(","));
    QUERN_TRY(expect(close));
    return made;
  }

  /// A number, or a name with an optional number added.
  Result<SyntaxOperand> simple() {
    SyntaxOperand made;
    if (peek().kind == Token::number || peek().text == "-") {
      made.kind = SyntaxOperand::number;
      QUERN_ASSIGN(made.bits, number(true));
      return made;
    }
    QUERN_ASSIGN(made.text, word("an operand"));
    if (accept("+")) {
      QUERN_ASSIGN(made.bits, number(true));
    }
    return made;
  }

  SyntaxModule result;
};

} // namespace

std::string SyntaxInstruction::opcode() const {
  std::string joined = words.front();
  for (size_t i = 1; i < words.size(); ++i)
    joined += "." + words[i];
  return joined;
}

Result<SyntaxModule> parsePtx(std::string_view text) {
  QUERN_ASSIGN(std::vector<Token> tokens, tokenize(text));
  return Parser(std::move(tokens)).module();
}

} // namespace quern::ptx

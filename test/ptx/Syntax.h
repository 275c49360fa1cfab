// PTX text as it is written: declarations, labels and instructions of each kernel, names not yet resolved.
#ifndef QUERN_TEST_PTX_SYNTAX_H
#define QUERN_TEST_PTX_SYNTAX_H

#include "quern/Support/Result.h"
#include "test/ptx/Types.h"

#include <array>
#include <map>
#include <string>
#include <vector>

namespace quern::ptx {

/// An operand. `[a+4]` is an address with one part, `{a, b}` a vector with several, `a|b` a pair.
struct SyntaxOperand {
  enum Kind { name, number, address, vector, pair } kind = name;
  std::string text;                 ///< of a name: register, symbol or label
  uint64_t bits = 0;                ///< of a number; what is added to a name or an address
  std::vector<SyntaxOperand> parts; ///< of addresses, vectors and pairs
};

struct SyntaxInstruction {
  std::vector<std::string> words; ///< the opcode, split at its dots
  std::vector<SyntaxOperand> operands;
  std::string guard; ///< register of the predicate; empty without one
  bool guardNegated = false;
  uint32_t line = 0;

  std::string opcode() const;
};

/// A parameter, or an array in shared or local memory.
struct SyntaxVariable {
  std::string name;
  uint32_t alignment = 1;
  uint32_t bytes = 0; ///< 0 for dynamic shared memory
};

struct SyntaxKernel {
  std::string name;
  uint32_t line = 0;
  std::vector<SyntaxVariable> parameters, shared, local;
  std::map<std::string, Type> registers;  ///< by name
  std::map<std::string, uint32_t> labels; ///< name to index of the instruction that follows
  std::vector<SyntaxInstruction> instructions;
  std::array<uint32_t, 3> requiredBlock{}; ///< `.reqntid`, zeros without
  uint32_t maxThreads = 0;                 ///< of `.maxntid`, 0 without
};

struct SyntaxModule {
  std::string target;                 ///< `sm_80`
  std::vector<SyntaxVariable> shared; ///< declared outside kernels
  std::vector<SyntaxKernel> kernels;
};

/// Errors name the line and what stands there. Functions (`.func`) and variables in global or constant memory are
/// refused.
Result<SyntaxModule> parsePtx(std::string_view text);

} // namespace quern::ptx

#endif // QUERN_TEST_PTX_SYNTAX_H

// Decoded kernels: every name is a slot of the thread's registers, every opcode a function.
//
// Constants, special registers (%tid.x) and addresses of variables are slots too, filled when a thread starts, so that
// an instruction reads all its operands the same way.
#ifndef QUERN_TEST_PTX_PROGRAM_H
#define QUERN_TEST_PTX_PROGRAM_H

#include "test/ptx/Syntax.h"

#include <memory>
#include <span>

namespace quern::ptx {

struct Thread;
struct Instruction;

/// What a thread does after an instruction.
enum class Step : uint8_t {
  next,
  jump,  ///< to Instruction::target
  block, ///< wait for all threads of the block at this instruction
  warp,  ///< wait for the lanes of the member mask, then Instruction::together runs once
  exit,
  fault, ///< the thread says why
};

using Alone = Step (*)(Thread &, const Instruction &);

/// Runs for all lanes that met; `lanes[i]` is the i-th lane of the warp, or null where it does not take part.
using Together = Step (*)(std::span<Thread *const, 32> lanes, const Instruction &);

struct Instruction {
  Alone alone = nullptr;
  Together together = nullptr; ///< of instructions that lanes execute together; `alone` is null then
  const uint32_t *slots = nullptr;
  int32_t guard = -1; ///< slot of the predicate
  bool guardNegated = false;
  bool wholeWarp = false;    ///< `.aligned`: all 32 lanes have to come here
  bool liveWarp = false;     ///< bar.warp.sync: all lanes that have not ended have to be in the member mask
  bool whoeverComes = false; ///< activemask: the lanes that are here when nobody can go on
  uint8_t width = 0;         ///< bytes of a memory access, or the opcode's small number
  uint8_t flags = 0;         ///< a rounding, a modifier: each opcode its own
  int32_t mask = -1;         ///< slot of the member mask
  uint32_t target = 0;       ///< of a branch
  int64_t offset = 0;        ///< added to an address
  int64_t otherOffset = 0;   ///< of cp.async, added to where it copies to
  uint32_t line = 0;
};

/// An array in a thread's or block's memory, at its place.
struct Place {
  std::string name;
  uint32_t address = 0, bytes = 0;
};

/// Registers that the hardware sets; those of three axes are followed by y and z.
enum class Special : uint8_t { tidX = 0, ntidX = 3, ctaidX = 6, nctaidX = 9, laneid = 12, warpid = 13 };

struct Kernel {
  std::string name;
  int capability = 0; ///< of the module's target
  std::vector<Place> parameters, shared, local;
  uint32_t parameterBytes = 0;
  uint32_t sharedBytes = 0;         ///< end of the places of shared memory; dynamic shared memory begins there
  uint32_t declaredSharedBytes = 0; ///< what the arrays take on a device, which leaves no gaps between them
  uint32_t localBytes = 0;
  bool dynamicShared = false; ///< the last of `shared`, and all others of 0 bytes, get their size at launch
  std::array<uint32_t, 3> requiredBlock{};
  uint32_t maxThreads = 0;
  bool hasAtomics = false;

  std::vector<Instruction> instructions; ///< the last one is an exit
  std::vector<std::unique_ptr<uint32_t[]>> slotLists;
  std::vector<uint64_t> initial; ///< of all slots: constants at their places, zeros elsewhere
  std::vector<std::pair<uint32_t, Special>> specials;
};

struct Module {
  std::string target;
  int capability = 0; ///< 80 of sm_80
  std::vector<Kernel> kernels;

  const Kernel *find(std::string_view name) const;
};

/// Parses and decodes a module. Errors name the line and, of an instruction, its kernel and opcode; an opcode or
/// modifier that is not known, or that the module's target lacks, is an error.
Result<Module> loadModule(std::string_view text);

} // namespace quern::ptx

#endif // QUERN_TEST_PTX_PROGRAM_H

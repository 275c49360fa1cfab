// The names of a kernel as slots, and its variables at their places.
#ifndef QUERN_TEST_PTX_KERNEL_NAMES_H
#define QUERN_TEST_PTX_KERNEL_NAMES_H

#include "test/ptx/Program.h"

#include <optional>

namespace quern::ptx {

class KernelNames {
public:
  /// Places parameters as a C struct's members, and each array in shared and local memory at an address that has its
  /// declared alignment and no greater one, with a gap to the next: what relies on more, or reaches over its end, is
  /// found out.
  KernelNames(const SyntaxModule &module, const SyntaxKernel &syntax, Kernel &kernel);

  /// The slot of a register, a special register, or a variable's address with `added`; nothing for another name.
  std::optional<uint32_t> slot(const std::string &name, uint64_t added);
  uint32_t constant(uint64_t bits);
  /// A slot that is written and never read.
  uint32_t sink() const { return 0; }
  bool isPredicate(const std::string &name) const;
  std::optional<uint32_t> label(const std::string &name) const;

private:
  uint32_t newSlot(uint64_t initial);
  static void place(std::vector<Place> &into, const SyntaxVariable &variable, uint32_t &end);
  void placeUnsized(const std::vector<SyntaxVariable> &variables);

  const SyntaxKernel &syntax;
  Kernel &kernel;
  std::map<std::string, uint32_t> slots;
  std::map<uint64_t, uint32_t> constants;
};

} // namespace quern::ptx

#endif // QUERN_TEST_PTX_KERNEL_NAMES_H

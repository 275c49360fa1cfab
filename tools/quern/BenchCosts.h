// What tests of `quern bench` cost by the package's table of ops, and how near that comes to the machine's limits.
#ifndef QUERN_TOOLS_BENCHCOSTS_H
#define QUERN_TOOLS_BENCHCOSTS_H

#include "BenchReport.h"

namespace quern::cli {

/// What a whole test takes from memory or from a unit, and which part of its limit that is.
struct Share {
  double amount = 0, part = 0; ///< the part is the median over the repetitions, each against the limits around it
  double seconds = 0;          ///< at the limit
};

Share memoryShare(const Measured &measured);
Share unitShare(const Measured &measured, const Unit &unit);

/// The limit that a test runs into: memory for the generation of one sequence, a unit for a prompt, and for several
/// sequences what would take longer.
struct Bound {
  Share share;
  const Unit *unit; ///< null: memory
};

Bound boundOf(const Measured &measured);

/// The kernel calls of one kernel.
struct KernelTotal {
  std::string kernel, op;
  int64_t calls = 0;
  double bytes = 0, operations = 0, predicted = 0, measured = 0; ///< of the whole test, seconds
  double ratio() const { return predicted > 0 ? measured / predicted : 0; }
};

/// Worst ratio first; a device's, whose kernels have no costs, by time.
std::vector<KernelTotal> kernelTotals(const Measured &measured);

} // namespace quern::cli

#endif // QUERN_TOOLS_BENCHCOSTS_H

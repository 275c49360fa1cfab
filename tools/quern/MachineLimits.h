// The machine's limits as the probes of a package's own code find them, on the model's threads.
#ifndef QUERN_TOOLS_MACHINELIMITS_H
#define QUERN_TOOLS_MACHINELIMITS_H

#include "OpTable.h"
#include "quern/quern.hpp"

#include <vector>

namespace quern::cli {

/// Median; 0 of nothing.
double median(std::vector<double> values);

/// Runs the probes again and again, between the repetitions of what is measured, so that both meet the same neighbours
/// on the machine.
class MachineLimits {
public:
  /// Finds out how many rounds a probe needs to last long enough to be timed. Fails if the package has no probes.
  Status prepare(api::Model &model);
  bool ready() const { return !probes.empty(); }
  /// Probes once, and gives what was found: reading is the best of three loops.
  Result<Limits> take(api::Model &model);

private:
  struct Probe {
    const char *name;
    double Limits::*limit;
    int64_t rounds;
  };
  std::vector<Probe> probes;
};

/// The median of each limit.
Limits median(const std::vector<Limits> &taken);

} // namespace quern::cli

#endif // QUERN_TOOLS_MACHINELIMITS_H

#include "MachineLimits.h"

#include "Common.h"

#include <algorithm>
#include <chrono>

using namespace quern;
using namespace quern::cli;

// Long enough that waking the threads does not count, short enough to be taken between repetitions.
constexpr double kShortestProbe = 4e-3;
constexpr int64_t kMostRounds = int64_t(1) << 30; // where a round has nothing to do

double cli::median(std::vector<double> values) {
  if (values.empty())
    return 0;
  std::sort(values.begin(), values.end());
  size_t half = values.size() / 2;
  return values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

Limits cli::median(const std::vector<Limits> &taken) {
  Limits out;
  for (double Limits::*limit : {&Limits::read, &Limits::dot, &Limits::pairs, &Limits::fma}) {
    std::vector<double> values;
    for (const Limits &one : taken)
      values.push_back(one.*limit);
    out.*limit = median(std::move(values));
  }
  return out;
}

/// Seconds and work of one run of a probe.
static Result<std::pair<double, double>> runProbe(api::Model &model, const char *name, int64_t rounds) {
  auto begin = std::chrono::steady_clock::now();
  QUERN_ASSIGN(uint64_t work, lift(model.probe(name, rounds)));
  return std::pair(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(), double(work));
}

Status MachineLimits::prepare(api::Model &model) {
  std::vector<Probe> found = {{"probe_read_plain", &Limits::read, 1},
                              {"probe_read_prefetch", &Limits::read, 1},
                              {"probe_read_streams", &Limits::read, 1},
                              {"probe_dot", &Limits::dot, 1},
                              {"probe_pairs", &Limits::pairs, 1},
                              {"probe_fma", &Limits::fma, 1}};
  for (Probe &probe : found)
    for (;;) {
      QUERN_ASSIGN(auto run, runProbe(model, probe.name, probe.rounds));
      if (run.first >= kShortestProbe || probe.rounds >= kMostRounds)
        break;
      probe.rounds *= 2;
    }
  probes = std::move(found);
  return {};
}

Result<Limits> MachineLimits::take(api::Model &model) {
  Limits out;
  for (const Probe &probe : probes) {
    QUERN_ASSIGN(auto run, runProbe(model, probe.name, probe.rounds));
    out.*probe.limit = std::max(out.*probe.limit, run.second / run.first);
  }
  return out;
}

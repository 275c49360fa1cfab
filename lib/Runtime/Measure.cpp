// Measuring: profiled steps, and the probes that a package's code brings for the machine's limits.
#include "Model.h"

namespace quern::runtime {

Outcome<QuernEntry> Model::entry(const std::string &name) const {
  auto found = parts.entries.find(name);
  if (found == parts.entries.end())
    return fault(QUERN_UNSUPPORTED, parts.source + ": the code for '" + parts.target + "' has no entry '" + name +
                                        "'; compile the model again");
  return found->second;
}

Outcome<void> Model::startProfile() {
  std::lock_guard<std::mutex> lock(turn);
  if (parts.device) {
    parts.device->startProfile();
    return {};
  }
  auto profiled = entry(parts.stepName + "_profiled");
  if (!profiled)
    return tl::unexpected(std::move(profiled).error());
  stepEntry = *profiled;
  profiling = true;
  profile.start();
  return {};
}

std::vector<uint64_t> Model::stopProfile() {
  std::lock_guard<std::mutex> lock(turn);
  if (parts.device)
    return parts.device->stopProfile();
  stepEntry = parts.step;
  profiling = false;
  return profile.nanoseconds();
}

Outcome<uint64_t> Model::probe(const std::string &name, int64_t rounds) {
  constexpr size_t kBytesPerThread = 128; // as the pass `cpu-add-probes` stores
  if (rounds < 1)
    return fault(QUERN_INVALID_ARGUMENT, "a probe of " + std::to_string(rounds) + " rounds measures nothing");
  std::lock_guard<std::mutex> lock(turn);
  auto code = entry(name);
  if (name.rfind("probe_", 0) != 0 || !code)
    return code ? fault(QUERN_INVALID_ARGUMENT, "the entry '" + name + "' is no probe")
                : tl::unexpected(std::move(code).error());
  std::vector<uint64_t> results(size_t(threads()) * kBytesPerThread / sizeof(uint64_t));
  void *const buffers[] = {results.data()};
  const int64_t sizes[] = {rounds, int64_t(parts.weights.size())};
  program->run(*code, buffers, sizes);
  uint64_t work = 0;
  for (size_t at = 0; at < results.size(); at += kBytesPerThread / sizeof(uint64_t))
    work += results[at];
  return work;
}

} // namespace quern::runtime

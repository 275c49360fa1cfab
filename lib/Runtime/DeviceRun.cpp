#include "DeviceRun.h"

#include <algorithm>
#include <cstring>

namespace quern::runtime {

// Recorded are the steps that generate: a token for each of so many sequences.
constexpr int64_t kMostRecorded = 8;

std::string describeProcessor(const Manifest &manifest) {
  return manifest.code.empty() ? "the processor (compile the model with --target cpu too)"
                               : "the processor (--device cpu)";
}

bool RowChoices::draw() const {
  return std::any_of(draws.begin(), draws.end(), [](const RowDraw &row) { return row.inverseTemperature > 0; });
}

size_t DeviceRun::planFor(int64_t tokens) const {
  const std::vector<LaunchPlan> &plans = parts.program.plans;
  size_t plan = 0;
  while (plan + 1 < plans.size() && plans[plan].most < tokens)
    ++plan;
  return plan;
}

KernelArgument DeviceRun::argument(const LaunchArgument &from, std::span<const int64_t> sizes) const {
  switch (from.kind) {
  case LaunchArgument::Kind::Weights:
    return {weights.address() + uint64_t(from.offset), true};
  case LaunchArgument::Kind::Arena:
    return {arena.address() + uint64_t(from.place.at(parts.capacities)), true};
  case LaunchArgument::Kind::Input:
    return {tensors.address() + inputs[size_t(from.index)].offset, true};
  case LaunchArgument::Kind::Output:
    return {tensors.address() + outputs[size_t(from.index)].offset, true};
  case LaunchArgument::Kind::Choice:
    return {tensors.address() + choicesAt, true};
  case LaunchArgument::Kind::Draw:
    return {tensors.address() + drawsAt, true};
  case LaunchArgument::Kind::Counters:
    return {counters.address(), true};
  case LaunchArgument::Kind::Size:
    return {uint64_t(sizes[size_t(from.index)]), false};
  case LaunchArgument::Kind::Constant:
    break;
  }
  return {uint64_t(from.offset), false};
}

DeviceRun::Prepared DeviceRun::prepare(size_t plan, std::span<const int64_t> sizes, bool draws) const {
  const std::vector<Launch> &launches = parts.program.plans[plan].launches;
  Prepared out;
  for (size_t i = 0; i < launches.size(); ++i) {
    const Launch &launch = launches[i];
    KernelLaunch made;
    made.kernel = kernels[plan][i];
    for (size_t d = 0; d < 3; ++d)
      made.grid[d] = uint32_t(launch.grid[d].at(sizes));
    if (std::find(std::begin(made.grid), std::end(made.grid), 0u) != std::end(made.grid) ||
        (launch.when && !launch.when->holds(sizes)) || (!draws && launch.takes(LaunchArgument::Kind::Draw)))
      continue;
    made.threads = uint32_t(launch.threads);
    made.sharedBytes = uint32_t(launch.sharedBytes);
    // The first of a step may follow that of another program, and copies.
    made.overlaps = parts.program.overlaps && !out.launches.empty();
    for (const LaunchArgument &from : launch.arguments)
      made.arguments.push_back(argument(from, sizes));
    out.launches.push_back(std::move(made));
    out.numbers.push_back(i);
  }
  return out;
}

/// Null for steps that are not recorded.
Outcome<DeviceRecording *> DeviceRun::record(const StepKey &key, const Prepared &prepared) {
  const std::vector<int64_t> &sizes = key.first;
  bool generates = std::all_of(sizes.begin(), sizes.end(), [&](int64_t size) { return size == sizes[0]; });
  if (!canRecord || !generates || sizes.empty() || sizes[0] > kMostRecorded)
    return nullptr;
  auto made = owner->record(prepared.launches);
  if (!made)
    return tl::unexpected(std::move(made).error());
  canRecord = *made != nullptr;
  if (!canRecord)
    return nullptr;
  return (recordings[key] = *std::move(made)).get();
}

tl::unexpected<Fault> DeviceRun::breakDown(Fault fault, const std::string &where) {
  broken = fault.message + where;
  fault.status = QUERN_DEVICE_FAILED; // whatever the driver calls it
  fault.message = broken + "; the device cannot be used by this process any more; use " + describeProcessor(manifest);
  return tl::unexpected<Fault>(std::move(fault));
}

static std::string describe(const Launch &launch) {
  return launch.op + (launch.name.empty() ? "" : " '" + launch.name + "'") + " (kernel " + launch.kernel + ")";
}

Outcome<void> DeviceRun::launchChecked(size_t plan, const Prepared &prepared) {
  for (size_t i = 0; i < prepared.launches.size(); ++i) {
    auto done = owner->launch(prepared.launches[i]);
    if (done)
      done = owner->synchronize();
    if (!done)
      return breakDown(std::move(done).error(),
                       " in " + describe(parts.program.plans[plan].launches[prepared.numbers[i]]));
    hasRun[plan][prepared.numbers[i]] = true;
  }
  return {};
}

Outcome<void> DeviceRun::launchTimed(size_t plan, const Prepared &prepared) {
  std::vector<uint64_t> taken(prepared.launches.size());
  if (auto done = owner->launchTimed(prepared.launches, taken); !done)
    return done;
  size_t first = 0;
  for (size_t before = 0; before < plan; ++before)
    first += parts.program.plans[before].launches.size();
  for (size_t i = 0; i < taken.size(); ++i)
    times[first + prepared.numbers[i]] += taken[i];
  return {};
}

Outcome<void> DeviceRun::launchPlan(size_t plan, std::span<const int64_t> sizes, bool draws) {
  if (profiling)
    return launchTimed(plan, prepare(plan, sizes, draws));
  StepKey key{{sizes.begin(), sizes.end()}, draws};
  if (auto known = recordings.find(key); known != recordings.end())
    return known->second->launch();
  Prepared prepared = prepare(plan, sizes, draws);
  bool isNew = std::any_of(prepared.numbers.begin(), prepared.numbers.end(),
                           [&](size_t number) { return !hasRun[plan][number]; });
  // What is wrong with a kernel mostly shows the first time, and then it costs little to know which one it is.
  if (parts.checkKernels || isNew)
    return launchChecked(plan, prepared);
  auto recorded = record(key, prepared);
  if (!recorded)
    return tl::unexpected(std::move(recorded).error());
  if (*recorded)
    return (*recorded)->launch();
  for (const KernelLaunch &launch : prepared.launches)
    if (auto started = owner->launch(launch); !started)
      return started;
  return {};
}

Outcome<void> DeviceRun::step(std::span<void *const> buffers, std::span<const int64_t> sizes, const RowChoices &rows) {
  for (size_t i = 0; i < inputs.size(); ++i)
    if (uint64_t bytes = bytesOf(*inputs[i].tensor, sizes))
      std::memcpy(staging.data() + inputs[i].offset, buffers[i], bytes);
  if (!rows.draws.empty())
    std::memcpy(staging.data() + drawsAt, rows.draws.data(), rows.draws.size_bytes());
  // One copy of all of them: it is the number of copies that costs.
  if (auto sent = owner->write(tensors.address(), staging.data(), inputBytes); !sent)
    return sent;
  size_t plan = planFor(sizes[0]);
  if (auto launched = launchPlan(plan, sizes, rows.draw()); !launched)
    return launched;
  auto isWanted = [&](size_t output) { return buffers[inputs.size() + output] != nullptr; };
  for (size_t i = 0; i < outputs.size(); ++i)
    if (isWanted(i))
      if (auto asked = askFor(outputs[i].offset, bytesOf(*outputs[i].tensor, sizes)); !asked)
        return asked;
  uint64_t choiceBytes = rows.tokens ? sizeof *rows.tokens * uint64_t(sizes.back()) : 0;
  if (auto asked = askFor(choicesAt, choiceBytes); !asked)
    return asked;
  if (auto done = owner->synchronize(); !done)
    return done;
  for (size_t i = 0; i < outputs.size(); ++i)
    if (isWanted(i))
      std::memcpy(buffers[inputs.size() + i], staging.data() + outputs[i].offset, bytesOf(*outputs[i].tensor, sizes));
  if (choiceBytes)
    std::memcpy(rows.tokens, staging.data() + choicesAt, choiceBytes);
  return {};
}

Outcome<void> DeviceRun::readOutput(size_t output, uint64_t offset, uint64_t bytes, void *to) {
  if (!broken.empty())
    return fault(QUERN_DEVICE_FAILED, "the device stopped working earlier: " + broken);
  uint64_t at = outputs[output].offset + offset;
  auto done = askFor(at, bytes);
  if (done)
    done = owner->synchronize();
  if (!done)
    return breakDown(std::move(done).error(), " while outputs of a step were copied");
  std::memcpy(to, staging.data() + at, bytes);
  return {};
}

Outcome<void> DeviceRun::run(std::span<void *const> buffers, std::span<const int64_t> sizes, const RowChoices &rows) {
  if (!broken.empty())
    return fault(QUERN_DEVICE_FAILED, "the device stopped working earlier: " + broken);
  for (size_t i = 0; i < sizes.size(); ++i)
    if (sizes[i] > parts.capacities[i] || sizes[i] < (i == 0 ? 1 : 0))
      return fault(QUERN_INVALID_ARGUMENT, "a step of " + std::to_string(sizes[i]) + " " + manifest.sizes[i] +
                                               " was asked for; the most is " + std::to_string(parts.capacities[i]));
  if (rows.draws.size() > (drawsTokens() ? size_t(DeviceProgram::kMostDrawn) : 0))
    return fault(QUERN_INVALID_ARGUMENT, "tokens of " + std::to_string(rows.draws.size()) +
                                             " rows were to be drawn, which the program does not do in a step");
  auto done = step(buffers, sizes, rows);
  if (!done && broken.empty())
    return breakDown(std::move(done).error(), " in a step of " + std::to_string(sizes[0]) + " " + manifest.sizes[0] +
                                                  " (--check-kernels tells in which op)");
  return done;
}

Outcome<void> DeviceRun::clear(const DeviceMemory &memory) {
  auto cleared = owner->clear(memory.address(), memory.size());
  return cleared ? owner->synchronize() : cleared;
}

void DeviceRun::startProfile() {
  size_t launches = 0;
  for (const LaunchPlan &plan : parts.program.plans)
    launches += plan.launches.size();
  times.assign(launches, 0);
  profiling = true;
}

std::vector<uint64_t> DeviceRun::stopProfile() {
  profiling = false;
  return std::move(times);
}

} // namespace quern::runtime

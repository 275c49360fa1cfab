#include "Targets.h"

#include "quern/Codegen/Spirv.h"

#include "llvm/ADT/StringRef.h"

#include <algorithm>
#include <ranges>
#include <set>

using namespace quern;
using namespace quern::pipelines;

std::string pipelines::deviceName(const codegen::GpuTarget &target) {
  return codegen::takesSpirv(target) ? target.chip : "nvptx:" + target.chip;
}

/// 86 of "nvptx:sm_86", 0 of what is no such name.
static unsigned capabilityOf(llvm::StringRef name) {
  unsigned number = 0;
  return name.consume_front("nvptx:sm_") && !name.getAsInteger(10, number) ? number : 0;
}

/// A compute capability without a target of its own is served by the next one before it: "nvptx:sm_86" is
/// "nvptx:sm_80". Other names stay as they are.
static std::string resolve(const std::string &name) {
  std::string best = name;
  for (const codegen::GpuTarget &target : codegen::gpuTargets()) // in ascending order
    if (unsigned known = capabilityOf(deviceName(target)); known != 0 && known <= capabilityOf(name))
      best = deviceName(target);
  return best;
}

static std::vector<std::string> capabilitiesFor(const codegen::GpuTarget &target,
                                                const std::vector<std::string> &given) {
  std::set<unsigned> numbers;
  for (const std::string &name : given)
    if (unsigned number = capabilityOf(name); number != 0 && resolve(name) == deviceName(target))
      numbers.insert(number);
  std::vector<std::string> out;
  std::ranges::transform(numbers, std::back_inserter(out), [](unsigned number) { return std::to_string(number); });
  return out;
}

Result<TargetChoice> pipelines::chooseTargets(const std::vector<std::string> &given) {
  TargetChoice choice;
  std::vector<std::string> names;
  std::ranges::transform(given, std::back_inserter(names), resolve);
  std::vector<std::string> unknown = names;
  auto wants = [&](const std::string &name) {
    std::erase(unknown, name);
    return std::ranges::find(names, name) != names.end();
  };
  std::string known = "cpu";
  choice.allCpu = names.empty() || wants("cpu");
  for (const codegen::Target &target : codegen::cpuTargets()) {
    if (wants(target.name) || choice.allCpu)
      choice.cpu.push_back(&target);
    known += ", " + target.name;
  }
  for (const codegen::GpuTarget &target : std::views::reverse(codegen::gpuTargets())) {
    if (wants(deviceName(target)))
      choice.devices.push_back({&target, capabilitiesFor(target, given)});
    known += ", " + deviceName(target);
  }
  if (!unknown.empty())
    return fail("there is no target '" + unknown.front() + "'; the targets are " + known);
  return choice;
}

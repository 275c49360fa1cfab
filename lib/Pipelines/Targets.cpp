#include "Targets.h"

#include "quern/Codegen/Spirv.h"

#include "llvm/ADT/StringRef.h"

#include <algorithm>
#include <ranges>

using namespace quern;
using namespace quern::pipelines;

std::string pipelines::deviceName(const codegen::GpuTarget &target) {
  return codegen::takesSpirv(target) ? target.chip : "nvptx:" + target.chip;
}

/// A compute capability without a target of its own is served by the next one before it: "nvptx:sm_86" is
/// "nvptx:sm_80". Other names stay as they are.
static std::string resolve(const std::string &name) {
  auto capability = [](llvm::StringRef text) {
    unsigned number = 0;
    return text.consume_front("nvptx:sm_") && !text.getAsInteger(10, number) ? number : 0;
  };
  std::string best = name;
  for (const codegen::GpuTarget &target : codegen::gpuTargets()) // in ascending order
    if (unsigned known = capability(deviceName(target)); known != 0 && known <= capability(name))
      best = deviceName(target);
  return best;
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
      choice.devices.push_back(&target);
    known += ", " + deviceName(target);
  }
  if (!unknown.empty())
    return fail("there is no target '" + unknown.front() + "'; the targets are " + known);
  return choice;
}

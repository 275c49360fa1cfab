#include "Targets.h"

#include <algorithm>
#include <ranges>

using namespace quern;
using namespace quern::pipelines;

std::string pipelines::deviceName(const codegen::GpuTarget &target) {
  return target.chip.starts_with("sm_") ? "nvptx:" + target.chip : target.chip;
}

Result<TargetChoice> pipelines::chooseTargets(const std::vector<std::string> &names) {
  TargetChoice choice;
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

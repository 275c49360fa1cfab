// What the names after --target mean.
#ifndef QUERN_LIB_PIPELINES_TARGETS_H
#define QUERN_LIB_PIPELINES_TARGETS_H

#include "quern/Codegen/GPU.h"
#include "quern/Codegen/Target.h"

namespace quern::pipelines {

/// Code for devices, and the compute capabilities it was asked for by: those of "nvptx:sm_86" and "nvptx:sm_89", which
/// are one target, are "86" and "89".
struct DeviceTarget {
  const codegen::GpuTarget *code;
  std::vector<std::string> capabilities; ///< ascending; none for SPIR-V
};

struct TargetChoice {
  std::vector<const codegen::Target *> cpu; ///< the most capable first
  std::vector<DeviceTarget> devices;        ///< the same
  bool allCpu = false; ///< those for what a model may not need are to be left out
};

/// Names of CPU targets, "cpu" for all of them, and names of device targets, in any order; none: all CPU targets. An
/// error lists the names.
Result<TargetChoice> chooseTargets(const std::vector<std::string> &names);

/// As users and the package name it: "nvptx:sm_80", "spirv".
std::string deviceName(const codegen::GpuTarget &target);

} // namespace quern::pipelines

#endif // QUERN_LIB_PIPELINES_TARGETS_H

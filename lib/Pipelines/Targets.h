// What the names after --target mean.
#ifndef QUERN_LIB_PIPELINES_TARGETS_H
#define QUERN_LIB_PIPELINES_TARGETS_H

#include "quern/Codegen/GPU.h"
#include "quern/Codegen/Target.h"

namespace quern::pipelines {

struct TargetChoice {
  std::vector<const codegen::Target *> cpu;        ///< the most capable first
  std::vector<const codegen::GpuTarget *> devices; ///< the same
  bool allCpu = false; ///< those for what a model may not need are to be left out
};

/// Names of CPU targets, "cpu" for all of them, and names of device targets, in any order; none: all CPU targets. An
/// error lists the names.
Result<TargetChoice> chooseTargets(const std::vector<std::string> &names);

/// As users and the package name it: "nvptx:sm_80", "spirv".
std::string deviceName(const codegen::GpuTarget &target);

} // namespace quern::pipelines

#endif // QUERN_LIB_PIPELINES_TARGETS_H

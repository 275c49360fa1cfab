// The table of GPU targets.
#include "quern/Codegen/GPU.h"

using namespace quern;
using namespace quern::codegen;

// PTX 8.0 is what drivers from 525 on (CUDA 12) take. Multiprocessors are those of a T4, an A100, an RTX 4090
// and an H100.
const std::vector<GpuTarget> &codegen::gpuTargets() {
  static const std::vector<GpuTarget> targets = {
      {.chip = "spirv", .features = "", .warpReductions = false, .matvecWarps = 4, .blockCounters = false},
      {.chip = "sm_75",
       .features = "+ptx80",
       .warpReductions = false,
       .matvecWarps = 4,
       .bytePermute = true,
       .residentBlocks = 4 * 40,
       .blockSharedBytes = 64 << 10,
       .halfProductDepth = 8},
      {.chip = "sm_80",
       .features = "+ptx80",
       .warpReductions = true,
       .matvecWarps = 4,
       .bytePermute = true,
       .residentBlocks = 4 * 108,
       .asyncCopies = true,
       .blockSharedBytes = 99 << 10,
       .promptWarpTokens = 64,
       .promptHalves = true,
       .halfProductDepth = 16},
      {.chip = "sm_86",
       .features = "+ptx80",
       .warpReductions = true,
       .matvecWarps = 4,
       .bytePermute = true,
       .residentBlocks = 4 * 128,
       .asyncCopies = true,
       .blockSharedBytes = 99 << 10,
       .promptWarpTokens = 64,
       .halfProductDepth = 16},
      {.chip = "sm_90",
       .features = "+ptx80",
       .warpReductions = true,
       .matvecWarps = 4,
       .bytePermute = true,
       .residentBlocks = 4 * 132,
       .asyncCopies = true,
       .overlappingLaunches = true,
       .blockSharedBytes = 99 << 10,
       .promptHalves = true,
       .halfProductDepth = 16},
  };
  return targets;
}

Result<const GpuTarget *> codegen::findGpuTarget(const std::string &chip) {
  std::string names;
  for (const GpuTarget &target : gpuTargets()) {
    if (target.chip == chip)
      return &target;
    names += (names.empty() ? "" : ", ") + target.chip;
  }
  return fail("there is no GPU target '" + chip + "'; the targets are " + names);
}

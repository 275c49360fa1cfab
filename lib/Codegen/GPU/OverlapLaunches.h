// Launches that start while the one before them still runs (programmatic dependent launch: sm_90 and later).
#ifndef QUERN_LIB_CODEGEN_GPU_OVERLAPLAUNCHES_H
#define QUERN_LIB_CODEGEN_GPU_OVERLAPLAUNCHES_H

#include "lib/Codegen/Common/Emitter.h"
#include "quern/Codegen/GPU.h"

namespace quern::codegen {

/// Waits until the launch before, and so all before that, have ended and what they wrote is there; all threads do.
/// Until then a kernel may read what no kernel writes, which are weights, and write nothing. Nothing on other targets.
void awaitLaunchBefore(Emitter &e, const GpuTarget &target);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_OVERLAPLAUNCHES_H

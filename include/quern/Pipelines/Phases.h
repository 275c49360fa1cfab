// The phases of the compiler as pass pipelines, each with its contract: what the IR no longer holds afterwards.
#ifndef QUERN_PIPELINES_PHASES_H
#define QUERN_PIPELINES_PHASES_H

#include "quern/Codegen/GPU.h"
#include "quern/Codegen/Target.h"

#include "mlir/Pass/PassManager.h"

namespace quern::pipelines {

/// Names of the phases, in order: onnx and raise, which ONNX files alone have, import, quantize, pack, plan, then for
/// each target kernels and llvm. GPUs have a pack and a plan of their own, one for all of them.
const std::vector<std::string> &phaseNames();

/// Fused quantized ops. Afterwards no `lm.linear`, and no `dq.dequantize` of a weight.
void buildQuantizePipeline(mlir::OpPassManager &pm);
/// The packer's plan. Afterwards no op reads a stored block layout, and every source has its place in the package.
void buildPackPipeline(mlir::OpPassManager &pm);
/// Memory. Afterwards every intermediate has its place in the arena.
void buildPlanPipeline(mlir::OpPassManager &pm);
/// Kernels of one target. Afterwards no tensor, no `lm` op and no graph op of `dq`.
void buildKernelsPipeline(mlir::OpPassManager &pm, const codegen::Target &target);
/// Afterwards only ops of the `llvm` dialect.
void buildLLVMPipeline(mlir::OpPassManager &pm, const codegen::Target &target);

/// The packer's plan for GPUs.
void buildDevicePackPipeline(mlir::OpPassManager &pm);
/// Memory, where the ops of a group may share a kernel. Afterwards every intermediate has its place in the arena.
void buildDevicePlanPipeline(mlir::OpPassManager &pm);
/// Kernels and launches of one GPU target, which also choose the likeliest of the first `tokens` logits. Afterwards no tensor, no `lm` op and no graph op of `dq`.
void buildLaunchesPipeline(mlir::OpPassManager &pm, const codegen::GpuTarget &target, int64_t tokens);

} // namespace quern::pipelines

#endif // QUERN_PIPELINES_PHASES_H

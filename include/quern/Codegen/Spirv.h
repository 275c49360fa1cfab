// From kernels of upstream's `gpu` dialect to SPIR-V for OpenCL.
#ifndef QUERN_CODEGEN_SPIRV_H
#define QUERN_CODEGEN_SPIRV_H

#include "quern/Codegen/GPU.h"

namespace quern::codegen {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "lib/Codegen/GPU/SpirvPasses.h.inc"

/// Lowers each `gpu.module` to ops of the `llvm` dialect that call OpenCL's functions. Kernels may use what those for
/// PTX may, but nothing of nvgpu and nvvm other than dot products of bytes, and no private memory (docs/gpu.md).
void buildLowerToSpirvPipeline(mlir::OpPassManager &pm);

/// The SPIR-V 1.3 module, as bytes, of the module's only `gpu.module`, for OpenCL with sub-groups of 32. A kernel that
/// uses `gpu.dynamic_shared_memory` takes it as one more argument, the last. Otherwise as `emitPtx`.
mlir::FailureOr<std::string> emitSpirv(mlir::ModuleOp module);

/// Whether the target's kernels become SPIR-V, for OpenCL; else PTX, for CUDA.
inline bool takesSpirv(const GpuTarget &target) { return target.chip == "spirv"; }

/// `emitSpirv` or `emitPtx`, as the target asks.
mlir::FailureOr<std::string> emitDeviceCode(mlir::ModuleOp module, const GpuTarget &target);

/// `quern-translate --gpu-to-spirv`.
void registerSpirvTranslation();

} // namespace quern::codegen

#endif // QUERN_CODEGEN_SPIRV_H

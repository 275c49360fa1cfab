// From kernels of upstream's `gpu` dialect to PTX text for NVIDIA GPUs, with no CUDA toolkit.
#ifndef QUERN_CODEGEN_GPU_H
#define QUERN_CODEGEN_GPU_H

#include "quern/Support/Result.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

#include <vector>

namespace quern::codegen {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "lib/Codegen/GPU/Passes.h.inc"

/// What a pass may ask about the GPU it emits code for. A warp has 32 lanes on all of them.
struct GpuTarget {
  std::string chip;             ///< as LLVM and ptxas name it: "sm_80"
  std::string features;         ///< LLVM's feature string: the version of PTX, which says how new a driver has to be
  bool warpReductions;          ///< `redux.sync` of 32-bit integers
  unsigned matvecWarps;         ///< of a block of a matmul with few columns; each takes a row of the weight
  bool blockCounters = true;    ///< fences and atomics by which warps of several blocks tell that they have ended
  bool bytePermute = false;     ///< an instruction that picks four of eight bytes
  int64_t residentBlocks = 160; ///< blocks of 8 warps that a device of its time keeps at once: four a multiprocessor
  bool asyncCopies = false;     ///< `cp.async`
  bool overlappingLaunches = false; ///< `griddepcontrol`: kernels start early and wait for the launch before theirs
  /// Bytes of shared memory that every device which takes the target's code gives a block: for sm_80 those of 8.6, 8.9
  /// and 12.0 too, which have less than an A100.
  int64_t blockSharedBytes = 48 << 10;
  /// Tokens whose codes a warp of a prompt's matmul multiplies, with 64 rows, where nothing speaks against it: as many
  /// as a lane has registers for. For sm_90 ptxas 13.0 spills some with 64, and without asynchronous copies these need
  /// some. Of numbers in f16 it is 64.
  int64_t promptWarpTokens = 32;
  /// Large matmuls of prompts multiply numbers in f16, not codes: where f32 operations, which apply scales to products
  /// of codes, take longer than products of f16 (docs/gpu.md).
  bool promptHalves = false;
  unsigned halfProductDepth = 0; ///< k of the tensor cores' products of f16, of 16 by 8 by k; 0: there are none
};

/// In ascending order of compute capability. Code for one runs on all later ones.
const std::vector<GpuTarget> &gpuTargets();

/// The target of that chip, or an error that lists the names.
Result<const GpuTarget *> findGpuTarget(const std::string &chip);

/// Lowers each `gpu.module` to ops of the `llvm` and `nvvm` dialects that call nothing, and gives it the target.
/// Kernels may use gpu, nvgpu, scf, cf, vector, arith, math, memref and affine; their memrefs need static shapes, and
/// are passed as bare pointers.
void buildLowerToPtxPipeline(mlir::OpPassManager &pm, const GpuTarget &target);

/// The dialects that kernels may use, their conversions and translations.
void registerPtxDialects(mlir::DialectRegistry &registry);

/// The PTX of the module's only `gpu.module`. Lowers it on the way, so the module is not what it was. What is wrong is
/// told by diagnostics.
mlir::FailureOr<std::string> emitPtx(mlir::ModuleOp module, const GpuTarget &target);

/// `quern-translate --gpu-to-ptx --gpu-target=sm_80`.
void registerPtxTranslation();

} // namespace quern::codegen

#endif // QUERN_CODEGEN_GPU_H

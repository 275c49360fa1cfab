// Passes of the back end for NVIDIA GPUs.
#ifndef QUERN_CODEGEN_GPU_PASSES_TD
#define QUERN_CODEGEN_GPU_PASSES_TD

include "mlir/Pass/PassBase.td"

def ExpandSubgroupReduce : Pass<"gpu-expand-subgroup-reduce", "::mlir::gpu::GPUModuleOp"> {
  let summary = "turn reductions over a warp into shuffles";
  let description = [{
    Upstream's patterns for `gpu.subgroup_reduce`, for warps of 32 lanes: lane i adds (or compares) what lane i xor 1
    has, then i xor 2, up to 16. Upstream's lowering to NVVM knows the reduction of integers only.

    ```mlir
    %sum = gpu.subgroup_reduce add %x : (f32) -> f32
    // becomes five times, with 1, 2, 4, 8 and 16
    %other, %valid = gpu.shuffle xor %x, %c1, %c32 : f32
    %0 = arith.addf %x, %other : f32
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::gpu::GPUDialect", "::mlir::vector::VectorDialect"];
}

def AddDeviceFunctions : Pass<"gpu-add-device-functions", "::mlir::gpu::GPUModuleOp"> {
  let summary = "give the mathematical functions that kernels call their bodies";
  let description = [{
    `convert-gpu-to-nvvm` turns ops of the math dialect into calls of NVIDIA's libdevice. This pass fills in those that
    are declared from our own `DeviceFunctions.mlir`, to be inlined, so that no CUDA toolkit is needed. A function that
    is not there is an error, which names it.

    ```mlir
    llvm.func @__nv_rsqrtf(f32) -> f32
    // becomes
    llvm.func internal @__nv_rsqrtf(%x: f32) -> f32 attributes {always_inline} {
      %0 = llvm.call_intrinsic "llvm.nvvm.rsqrt.approx.f"(%x) : (f32) -> f32
      llvm.return %0 : f32
    }
    ```
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
}

#endif // QUERN_CODEGEN_GPU_PASSES_TD

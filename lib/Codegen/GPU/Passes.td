// Passes of the back end for NVIDIA GPUs.
#ifndef QUERN_CODEGEN_GPU_PASSES_TD
#define QUERN_CODEGEN_GPU_PASSES_TD

include "mlir/Pass/PassBase.td"

def ExpandSubgroupReduce : Pass<"gpu-expand-subgroup-reduce", "::mlir::gpu::GPUModuleOp"> {
  let summary = "turn reductions over a warp into shuffles";
  let description = [{
    Upstream's patterns for `gpu.subgroup_reduce`, for warps of 32 lanes: lane i adds (or compares) what lane i xor 1
    has, then i xor 2, up to 16. Upstream's lowering to NVVM knows the reduction of integers only; with `has-redux`
    uniform ones of 32 bits over a whole warp are left to it, which makes `redux.sync` of them.

    ```mlir
    %sum = gpu.subgroup_reduce add %x : (f32) -> f32
    // becomes five times, with 1, 2, 4, 8 and 16
    %other, %valid = gpu.shuffle xor %x, %c1, %c32 : f32
    %0 = arith.addf %x, %other : f32
    ```
  }];
  let options = [Option<"hasRedux", "has-redux", "bool", "false", "the target has redux.sync: sm_80 and later">];
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

def OutlineKernels : Pass<"gpu-outline-kernels", "::mlir::ModuleOp"> {
  let summary = "make GPU kernels for matmuls with few columns and for the quantization of activations";
  let description = [{
    For each `dq.matmul` of 1 to 8 rows of activations a `gpu.func` in the module `@kernels`, made once for each set of
    formats, shapes and epilogue. `gpu.kernels` on the matmul names it. A kernel takes pointers to its weights as
    `GpuLayout.h` arranges them, to the activations, to biases and residual, and to the results (`Matvec.h`); its known
    grid and block sizes say how to launch it. Each `dq.quantize` to `!dq.act8<32>` of so many rows gets a kernel that
    writes what those of matmuls read (`Quantize.h`). An op of the two for which there is no kernel is an error.

    ```mlir
    %y = dq.matmul %x, [%w] : tensor<1x896x!dq.act8<32>>, [tensor<4864x896x!q8_0>] -> tensor<1x4864xf32>
    // becomes
    %y = dq.matmul %x, [%w] {gpu.kernels = [@kernels::@matvec_q8_0_4864x896_t1]} : ...
    gpu.module @kernels {
      gpu.func @matvec_q8_0_4864x896_t1(%w: !llvm.ptr, %codes: !llvm.ptr, %scales: !llvm.ptr, %sums: !llvm.ptr,
        %y: !llvm.ptr) kernel attributes {known_block_size = array<i32: 128, 1, 1>, known_grid_size = ...}
    }
    ```
  }];
  let options = [Option<"targetName", "target", "std::string", "\"sm_80\"", "name of the GPU target">];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::gpu::GPUDialect", "::mlir::LLVM::LLVMDialect",
                           "::mlir::math::MathDialect", "::mlir::NVVM::NVVMDialect", "::mlir::scf::SCFDialect",
                           "::mlir::vector::VectorDialect"];
}

#endif // QUERN_CODEGEN_GPU_PASSES_TD

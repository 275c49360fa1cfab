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

def OverlapLaunches : Pass<"gpu-overlap-launches", "::mlir::gpu::GPUModuleOp"> {
  let summary = "let kernels start before the launch before theirs has ended";
  let description = [{
    For targets with programmatic dependent launch (sm_90 and later). Each kernel first lets the launch after it start,
    and waits for the launch before it, unless it does so at a place of its own (OverlapLaunches.h): what stands before
    that place may read weights, which no kernel writes. Launches that may overlap are started as such by the runtime
    (DeviceProgram::overlaps); where they are not, both instructions do nothing.

    ```mlir
    gpu.func @f(%x: !llvm.ptr) kernel { ...
    // becomes
    gpu.func @f(%x: !llvm.ptr) kernel {
      nvvm.griddepcontrol launch_dependents
      llvm.inline_asm has_side_effects "griddepcontrol.wait;", "~{memory}" : () -> ()
      ...
    ```
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect", "::mlir::NVVM::NVVMDialect"];
}

def MakeRotaryTables : Pass<"gpu-make-rotary-tables", "::mlir::ModuleOp"> {
  let summary = "make the tables of cosines and sines that GPU kernels read";
  let description = [{
    Each `lm.rotary_angles` gets a table for all positions below `positions` (Rotary.h), made in double precision, as a
    `dq.source` that `gpu.rotary_table` names. Frequency factors have to lie in a resource: those in a file are read by
    the compiler, not by this pass.

    ```mlir
    %a = lm.rotary_angles %p {theta = 1.0e6 : f64} : tensor<?xi32> -> tensor<?x64xf32>
    // becomes
    dq.source @rotary_table : tensor<16448xf32> data dense_resource<rotary_table> : tensor<65792xi8>
    %a = lm.rotary_angles %p {gpu.rotary_table = @rotary_table, theta = 1.0e6 : f64} : tensor<?xi32> -> tensor<?x64xf32>
    ```
  }];
  let options = [Option<"positions", "positions", "int64_t", "256", "positions that a sequence may have">];
  let dependentDialects = ["::quern::dq::DQDialect"];
}

def GroupOps : Pass<"gpu-group-ops", "::mlir::ModuleOp"> {
  let summary = "say which ops may become one GPU kernel";
  let description = [{
    Numbers the ops of each function by `lm.group`, so that `lm-plan-memory` keeps apart what one kernel may touch. In
    one group are: a norm or a quantization and the matmul that reads it; a matmul with `swiglu` and the quantization of
    its result; the norms of heads, the rotations, the attention that they prepare, and the quantization of its result.
    Whether the ops of a group do share kernels is decided for each number of tokens, by `gpu-lower-to-launches`.

    ```mlir
    %x8 = lm.rms_norm %x, %gain {eps = 1.0e-6 : f32, lm.group = 7 : i64} : ... -> tensor<?x896x!dq.act8<32>>
    %h = dq.matmul swiglu %x8, [%wg, %wu] {lm.group = 7 : i64} : ...
    %h8 = dq.quantize %h {lm.group = 7 : i64} : tensor<?x4864xf32> -> tensor<?x4864x!dq.act8<32>>
    ```
  }];
}

def LowerToLaunches : Pass<"gpu-lower-to-launches", "::mlir::ModuleOp"> {
  let summary = "turn the entry function into host functions that launch GPU kernels";
  let description = [{
    For each range of tokens a function of addresses and sizes, whose arguments say what they are by `host.is`
    (`weights`, `arena`, `input`, `output`, `choice`, `draw`, `size` of this call, `most` that the arena has room for)
    and `host.index`.
    Each op becomes launches of kernels in the module `@kernels`, made once for each shape; where a kernel can do
    several ops of a group, they become one launch. `host.op` and `host.name` on a launch say what it is for.
    `host.arena` on a function has the arena's bytes: a constant, then those for each dynamic size. An op without a
    kernel is an error. With `tokens`, the function ends with the choice of the largest of the first so many logits of
    each output, the rest of which are padding, and with the launches that draw one instead.

    Needs `gpu-make-rotary-tables`, `dq-pack-weights=gpu`, `gpu-group-ops` and `lm-plan-memory=gpu`. Afterwards no
    tensor and no graph op is left.

    ```mlir
    %y = dq.matmul %x, [%w] : tensor<?x896x!dq.act8<32>>, [tensor<4864x896x!q8_0>] -> tensor<?x4864xf32>
    // becomes, in @step_1
    gpu.launch_func @kernels::@matvec_q8_0_4864x896_t1 blocks in (%c608, %c1, %c1) threads in (%c128, %c1, %c1)
      args(%w : !llvm.ptr, %codes : !llvm.ptr, %scales : !llvm.ptr, %sums : !llvm.ptr, %y : !llvm.ptr)
      {host.name = "blk.0.ffn_up.weight", host.op = "dq.matmul"}
    ```
  }];
  let options = [Option<"targetName", "target", "std::string", "\"sm_80\"", "name of the GPU target">,
                 Option<"tokens", "tokens", "int64_t", "0", "tokens to choose the likeliest of; 0: none is chosen">];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::func::FuncDialect", "::mlir::gpu::GPUDialect",
                           "::mlir::LLVM::LLVMDialect", "::mlir::math::MathDialect", "::mlir::NVVM::NVVMDialect",
                           "::mlir::scf::SCFDialect", "::mlir::vector::VectorDialect", "::quern::dq::DQDialect"];
}

def OutlineKernels : Pass<"gpu-outline-kernels", "::mlir::ModuleOp"> {
  let summary = "make GPU kernels for matmuls and for the quantization of activations";
  let description = [{
    For each `dq.matmul` of 1 to 8 rows of activations a `gpu.func` in the module `@kernels`, made once for each set of
    formats, shapes and epilogue. `gpu.kernels` on the matmul names it. A kernel takes pointers to its weights as
    `GpuLayout.h` arranges them, to the activations, to biases and residual, and to the results (`Matvec.h`); its known
    grid and block sizes say how to launch it. A `dq.matmul` of more rows, or of a number that is not known when
    compiling, gets kernels of any number of rows instead (`PromptMatmul.h`). Each `dq.quantize` to `!dq.act8<32>` of 1 to 8 rows gets
    a kernel that writes what those of matmuls read (`Quantize.h`); one of more rows is an error. An op of the two for which there is no kernel is an error.

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

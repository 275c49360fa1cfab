// Passes of the way from kernels to SPIR-V.
#ifndef QUERN_CODEGEN_GPU_SPIRVPASSES_TD
#define QUERN_CODEGEN_GPU_SPIRVPASSES_TD

include "mlir/Pass/PassBase.td"

def PrepareForSpirv : Pass<"gpu-prepare-for-spirv", "::mlir::gpu::GPUModuleOp"> {
  let summary = "give kernels the form that upstream's way to SPIR-V expects";
  let description = [{
    Kernels are written as PTX takes them. For SPIR-V pointers and memrefs without an address space become those of
    device memory (1), memrefs of the workgroup those of address space 3; memrefs as arguments become bare pointers;
    workgroup buffers become variables of the module; `gpu.dynamic_shared_memory` becomes a last argument; dot products
    of bytes become multiplications; and sub-groups of 32 are required. Another op of the nvvm or nvgpu dialect, and
    private memory, are errors.

    ```mlir
    gpu.func @f(%p: !llvm.ptr, %m: memref<8xf32>) workgroup(%b: memref<4xf32, #gpu.address_space<workgroup>>) kernel {
      %d = nvvm.dot.accumulate.4way %x <signed>, %y <signed>, %z : vector<4xi8>, vector<4xi8>
    // becomes
    llvm.mlir.global internal @f_shared0() {addr_space = 3 : i32} : !llvm.array<4 x f32>
    gpu.func @f(%p: !llvm.ptr<1>, %m: !llvm.ptr<1>) kernel attributes {intel_reqd_sub_group_size = 32 : i32} {
      %0 = arith.shli %x32, %c24 : i32
      %x0 = arith.shrsi %0, %c24 : i32 // ... and so on
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::LLVM::LLVMDialect"];
}

#endif // QUERN_CODEGEN_GPU_SPIRVPASSES_TD

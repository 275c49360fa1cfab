// RUN: not quern-translate --gpu-to-ptx --gpu-target=sm_99 %s 2>&1 | FileCheck %s --check-prefix=TARGET
// RUN: not quern-translate --gpu-to-ptx %s 2>&1 | FileCheck %s --check-prefix=NONE
// TARGET: error: there is no GPU target 'sm_99'; the targets are spirv, sm_75, sm_80, sm_86, sm_90
// NONE: error: expected a module with one gpu.module, got 0
// RUN: not quern-translate --gpu-to-ptx --gpu-target=spirv %S/kernels.mlir 2>&1 | FileCheck %s --check-prefix=API
// RUN: not quern-translate --gpu-to-spirv %s 2>&1 | FileCheck %s --check-prefix=NONE
// API: error: there is no PTX for the target 'spirv'
module {}

// What a target has no instruction for is refused with the op's name and place.
// RUN: not quern-translate --gpu-to-ptx --gpu-target=sm_75 %S/tensor-cores.mlir 2>&1 | FileCheck %s --check-prefix=COPY
// COPY: tensor-cores.mlir:{{[0-9:]+}} error: 'nvvm.cp.async.shared.global' op needs sm_80 or later; the target is sm_75
// RUN: not quern-translate --gpu-to-ptx --gpu-target=sm_75 %S/Inputs/shapes.mlir 2>&1 \
// RUN:   | FileCheck %s --check-prefix=SHAPE
// RUN: quern-translate --gpu-to-ptx --gpu-target=sm_80 %S/Inputs/shapes.mlir | FileCheck %s --check-prefix=AMPERE
// SHAPE: shapes.mlir:9:{{[0-9]+}}: error: 'nvvm.mma.sync' op needs sm_80 or later; the target is sm_75
// AMPERE: mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32
// AMPERE: mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32
// RUN: not quern-translate --gpu-to-ptx --gpu-target=sm_75 %S/Inputs/redux.mlir 2>&1 \
// RUN:   | FileCheck %s --check-prefix=REDUX
// REDUX: redux.mlir:4:{{[0-9]+}}: error: 'nvvm.redux.sync' op is not supported on sm_75
// RUN: not quern-translate --gpu-to-ptx --gpu-target=sm_75 %S/Inputs/mbarrier.mlir 2>&1 \
// RUN:   | FileCheck %s --check-prefix=MBARRIER
// MBARRIER: mbarrier.mlir:3:{{[0-9]+}}: error: 'nvvm.mbarrier.init' op needs sm_80 or later; the target is sm_75

// SPIR-V has no ops of NVIDIA's but the dot product, and our kernels for it no private memory.
// RUN: not quern-translate --gpu-to-spirv %S/tensor-cores.mlir 2>&1 | FileCheck %s --check-prefix=NVIDIA
// RUN: not quern-translate --gpu-to-spirv %S/Inputs/private.mlir 2>&1 | FileCheck %s --check-prefix=PRIVATE
// NVIDIA: tensor-cores.mlir:{{[0-9:]+}} error: 'nvgpu.{{.*}}' op has no form in SPIR-V; kernels for it must do without
// PRIVATE: private.mlir:4:{{[0-9]+}}: error: 'llvm.alloca' op is private memory, which kernels for SPIR-V have none of

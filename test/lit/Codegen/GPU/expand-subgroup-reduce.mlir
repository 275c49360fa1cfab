// RUN: quern-opt --pass-pipeline='builtin.module(gpu.module(gpu-expand-subgroup-reduce))' %s | FileCheck %s

// CHECK-LABEL: gpu.func @sum(
// CHECK-SAME: %[[X:.*]]: f32
// CHECK: %[[OTHER:.*]], %{{.*}} = gpu.shuffle xor %[[X]], %{{.*}}, %{{.*}} : f32
// CHECK: arith.addf %[[X]], %[[OTHER]] : f32
// CHECK-COUNT-4: gpu.shuffle xor
// CHECK-NOT: gpu.shuffle
// CHECK-NOT: gpu.subgroup_reduce
// CHECK: gpu.return
gpu.module @kernels {
  gpu.func @sum(%x: f32, %out: memref<1xf32>) kernel {
    %c0 = arith.constant 0 : index
    %sum = gpu.subgroup_reduce add %x : (f32) -> f32
    memref.store %sum, %out[%c0] : memref<1xf32>
    gpu.return
  }
}

// RUN: quern-opt --pass-pipeline='builtin.module(gpu.module(gpu-expand-subgroup-reduce))' %s \
// RUN:   | FileCheck %s --check-prefixes=CHECK,SHUFFLES
// RUN: quern-opt --pass-pipeline='builtin.module(gpu.module(gpu-expand-subgroup-reduce{has-redux=true}))' %s \
// RUN:   | FileCheck %s --check-prefixes=CHECK,REDUX
// RUN: quern-translate --gpu-to-ptx --gpu-target=sm_80 %s | FileCheck %s --check-prefix=SM80
// RUN: quern-translate --gpu-to-ptx --gpu-target=sm_75 %s | FileCheck %s --check-prefix=SM75

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

  // Integers of a whole warp that is there are left to upstream, if the target has an instruction for them.
  // CHECK-LABEL: gpu.func @most(
  // SHUFFLES-NOT: gpu.subgroup_reduce
  // REDUX: gpu.subgroup_reduce maxsi %{{.*}} uniform : (i32) -> i32
  // REDUX-NOT: gpu.subgroup_reduce
  // CHECK: gpu.return
  // SM80-LABEL: .entry most(
  // SM80: redux.sync.max.s32
  // SM80-COUNT-5: shfl.sync.bfly.b32
  // SM80-NOT: shfl.sync
  // SM75-LABEL: .entry most(
  // SM75-NOT: redux.sync
  // SM75-COUNT-10: shfl.sync.bfly.b32
  gpu.func @most(%out: memref<2x32xi32>) kernel {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %lane = gpu.thread_id x
    %x = arith.index_cast %lane : index to i32
    %most = gpu.subgroup_reduce maxsi %x uniform : (i32) -> i32
    memref.store %most, %out[%c0, %lane] : memref<2x32xi32>
    %product = gpu.subgroup_reduce mul %x uniform : (i32) -> i32
    memref.store %product, %out[%c1, %lane] : memref<2x32xi32>
    gpu.return
  }
}

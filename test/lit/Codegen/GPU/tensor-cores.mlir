// Copies that do not wait, ldmatrix and mma.sync: c = a b^T of one warp. GpuTests runs it in the PTX executor.
// RUN: quern-translate --gpu-to-ptx --gpu-target=sm_80 %s | FileCheck %s

// CHECK-LABEL: .visible .entry multiply(
// CHECK: .shared .align 16
// CHECK: cp.async.cg.shared.global {{.*}}, 16;
// CHECK: cp.async.commit_group
// CHECK: cp.async.wait_group 0
// CHECK: bar.sync
// CHECK: ldmatrix.sync.aligned.m8n8.x4.shared.b16
// CHECK: mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32

#shared = #gpu.address_space<workgroup>

module attributes {gpu.container_module} {
gpu.module @kernels {
  gpu.func @multiply(%a: memref<16x16xf16>, %b: memref<8x16xf16>, %c: memref<16x8xf32>)
      workgroup(%tile: memref<16x24xf16, #shared> {llvm.align = 16 : i64}) kernel {
    %c2 = arith.constant 2 : index
    %c4 = arith.constant 4 : index
    %c8 = arith.constant 8 : index
    %c16 = arith.constant 16 : index
    %zeros = arith.constant dense<0.0> : vector<2x2xf32>
    %lane = gpu.thread_id x
    // Two lanes bring a row of 16 halves.
    %row = arith.divui %lane, %c2 : index
    %half = arith.remui %lane, %c2 : index
    %from = arith.muli %half, %c8 : index
    %token = nvgpu.device_async_copy %a[%row, %from], %tile[%row, %from], 8 {bypassL1}
        : memref<16x16xf16> to memref<16x24xf16, #shared>
    %group = nvgpu.device_async_create_group %token
    nvgpu.device_async_wait %group {numGroups = 0 : i32}
    gpu.barrier
    %line = arith.remui %lane, %c16 : index
    %side = arith.divui %lane, %c16 : index
    %column = arith.muli %side, %c8 : index
    %fragmentA = nvgpu.ldmatrix %tile[%line, %column] {numTiles = 4 : i32, transpose = false}
        : memref<16x24xf16, #shared> -> vector<4x2xf16>
    // Of b each lane reads its own two pairs.
    %n = arith.divui %lane, %c4 : index
    %quad = arith.remui %lane, %c4 : index
    %k0 = arith.muli %quad, %c2 : index
    %k8 = arith.addi %k0, %c8 : index
    %low = vector.load %b[%n, %k0] : memref<8x16xf16>, vector<2xf16>
    %high = vector.load %b[%n, %k8] : memref<8x16xf16>, vector<2xf16>
    %empty = arith.constant dense<0.0> : vector<2x2xf16>
    %b0 = vector.insert %low, %empty[0] : vector<2xf16> into vector<2x2xf16>
    %fragmentB = vector.insert %high, %b0[1] : vector<2xf16> into vector<2x2xf16>
    %product = nvgpu.mma.sync (%fragmentA, %fragmentB, %zeros) {mmaShape = [16, 8, 16]}
        : (vector<4x2xf16>, vector<2x2xf16>, vector<2x2xf32>) -> vector<2x2xf32>
    %upper = vector.extract %product[0] : vector<2xf32> from vector<2x2xf32>
    %lower = vector.extract %product[1] : vector<2xf32> from vector<2x2xf32>
    %n8 = arith.addi %n, %c8 : index
    vector.store %upper, %c[%n, %k0] : memref<16x8xf32>, vector<2xf32>
    vector.store %lower, %c[%n8, %k0] : memref<16x8xf32>, vector<2xf32>
    gpu.return
  }
}
}

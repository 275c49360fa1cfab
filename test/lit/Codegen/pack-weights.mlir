// RUN: quern-opt %s -split-input-file --dq-pack-weights | FileCheck %s

// Matrices in panels of 16 rows, rows and k filled up (q5_0: 704 bytes for 16 x 64); vectors as f32, filled up to 16
// elements. Places are multiples of 64. A source read twice is packed once, one that nothing reads is dropped.
!q5_0 = !dq.block<q5_0>
// CHECK: dq.source @table : {{.*}} {dq.packed_bytes = 2112 : i64, dq.packed_offset = 0 : i64}
dq.source @table : tensor<33x64x!q5_0> in 0 at 0 bytes 1452
// CHECK-NOT: @unused
dq.source @unused : tensor<16x64x!q5_0> in 0 at 1452 bytes 704
// CHECK: dq.source @gain : {{.*}} {dq.packed_bytes = 128 : i64, dq.packed_offset = 2112 : i64}
dq.source @gain : tensor<17xf32> in 0 at 2156 bytes 68
// CHECK: dq.source @half : {{.*}} {dq.packed_bytes = 1024 : i64, dq.packed_offset = 2240 : i64}
dq.source @half : tensor<3x20xf16> in 0 at 2224 bytes 120
// CHECK-LABEL: func.func @f
func.func @f() {
  // CHECK: dq.weight @table : tensor<33x64x!q5_0{{.*}}, #dq.panels<rows = 16>>
  %0 = dq.weight @table : tensor<33x64x!q5_0>
  // CHECK: dq.weight @gain : tensor<17xf32>
  %1 = dq.weight @gain : tensor<17xf32>
  // CHECK: dq.weight @half : tensor<3x20xf16, #dq.panels<rows = 16>>
  %2 = dq.weight @half : tensor<3x20xf16>
  // CHECK: dq.weight @table : tensor<33x64x!q5_0{{.*}}, #dq.panels<rows = 16>>
  %3 = dq.weight @table : tensor<33x64x!q5_0>
  return
}

// -----

// The sums of rows lie behind the panels of a weight that rows with zero points are multiplied by: 33 of them, filled
// up to whole panels.
!q5_0 = !dq.block<q5_0>
// CHECK: dq.source @w : {{.*}} {dq.packed_bytes = 2304 : i64, dq.packed_offset = 0 : i64, dq.packed_sums = 2112 : i64}
dq.source @w : tensor<33x64x!q5_0> in 0 at 0 bytes 1452
// CHECK: dq.source @v : {{.*}} {dq.packed_bytes = 2112 : i64, dq.packed_offset = 2304 : i64}
dq.source @v : tensor<33x64x!q5_0> in 0 at 0 bytes 1452
func.func @sums(%x: tensor<?x64x!dq.act8<row>>, %y: tensor<?x64x!dq.act8<32>>) {
  %w = dq.weight @w : tensor<33x64x!q5_0>
  %v = dq.weight @v : tensor<33x64x!q5_0>
  %0 = dq.matmul %x, [%w] : tensor<?x64x!dq.act8<row>>, [tensor<33x64x!q5_0>] -> tensor<?x33xf32>
  %1 = dq.matmul %y, [%v] : tensor<?x64x!dq.act8<32>>, [tensor<33x64x!q5_0>] -> tensor<?x33xf32>
  return
}

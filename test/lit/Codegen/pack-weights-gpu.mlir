// RUN: quern-opt %s -split-input-file --dq-pack-weights=gpu -verify-diagnostics | FileCheck %s

// Places for GPU kernels are multiples of 256: q5_0 has a region of nibbles, one of the fifth bits and one of scales, of
// rows filled up to 128 k. References keep their types.
!q5_0 = !dq.block<q5_0>
// CHECK: dq.source @table : {{.*}} {dq.packed_bytes = 3584 : i64, dq.packed_offset = 0 : i64}
dq.source @table : tensor<33x64x!q5_0> in 0 at 0 bytes 1452
// CHECK-NOT: @unused
dq.source @unused : tensor<16x64x!q5_0> in 0 at 1452 bytes 704
// CHECK: dq.source @gain : {{.*}} {dq.packed_bytes = 68 : i64, dq.packed_offset = 3584 : i64}
dq.source @gain : tensor<17xf32> in 0 at 2156 bytes 68
// CHECK: dq.source @bias : {{.*}} {dq.packed_bytes = 68 : i64, dq.packed_offset = 3840 : i64}
dq.source @bias : tensor<17xf32> in 0 at 2224 bytes 68
// CHECK-LABEL: func.func @f
func.func @f() {
  // CHECK: dq.weight @table : tensor<33x64x!q5_0>
  %0 = dq.weight @table : tensor<33x64x!q5_0>
  // CHECK: dq.weight @gain : tensor<17xf32>
  %1 = dq.weight @gain : tensor<17xf32>
  %2 = dq.weight @bias : tensor<17xf32>
  return
}

// -----

func.func @zeros(%x: tensor<?x64xf32>) {
  // expected-error @+1 {{has no GPU kernel: rows that are quantized with a zero point (!dq.act8<row>, of DynamicQuantizeLinear) have kernels on CPUs only}}
  %0 = dq.quantize %x : tensor<?x64xf32> -> tensor<?x64x!dq.act8<row>>
  return
}

// RUN: quern-opt %s -split-input-file --lm-fuse-norm-quantize | FileCheck %s

// CHECK-LABEL: func.func @norm
func.func @norm(%x: tensor<?x64xf32>, %g: tensor<64xf32>) -> tensor<?x64x!dq.act8<32>> {
  // CHECK: lm.rms_norm %{{.*}}, %{{.*}} {eps = {{.*}}} : tensor<?x64xf32>, tensor<64xf32> -> tensor<?x64x!dq.act8<32>>
  // CHECK-NOT: lm.rms_norm
  // CHECK-NOT: dq.quantize
  %0 = lm.rms_norm %x, %g {eps = 1.0e-6 : f32} : tensor<?x64xf32>, tensor<64xf32> -> tensor<?x64xf32>
  %1 = dq.quantize %0 : tensor<?x64xf32> -> tensor<?x64x!dq.act8<32>>
  return %1 : tensor<?x64x!dq.act8<32>>
}

// -----

// Where the row has other readers, the norm is computed once more for them.
// CHECK-LABEL: func.func @other_reader
func.func @other_reader(%x: tensor<?x64xf32>, %g: tensor<64xf32>) -> (tensor<?x64x!dq.act8<32>>, tensor<?x64xf32>) {
  // CHECK-DAG: %[[F:.*]] = lm.rms_norm {{.*}} -> tensor<?x64xf32>
  // CHECK-DAG: %[[Q:.*]] = lm.rms_norm {{.*}} -> tensor<?x64x!dq.act8<32>>
  %0 = lm.rms_norm %x, %g {eps = 1.0e-6 : f32} : tensor<?x64xf32>, tensor<64xf32> -> tensor<?x64xf32>
  %1 = dq.quantize %0 : tensor<?x64xf32> -> tensor<?x64x!dq.act8<32>>
  // CHECK: return %[[Q]], %[[F]]
  return %1, %0 : tensor<?x64x!dq.act8<32>>, tensor<?x64xf32>
}

// -----

// Where each head is normalized on its own, the row is quantized afterwards.
// CHECK-LABEL: func.func @heads
func.func @heads(%x: tensor<?x64xf32>, %g: tensor<32xf32>) -> tensor<?x64x!dq.act8<32>> {
  // CHECK: lm.rms_norm
  // CHECK: dq.quantize
  %0 = lm.rms_norm %x, %g {eps = 1.0e-6 : f32} : tensor<?x64xf32>, tensor<32xf32> -> tensor<?x64xf32>
  %1 = dq.quantize %0 : tensor<?x64xf32> -> tensor<?x64x!dq.act8<32>>
  return %1 : tensor<?x64x!dq.act8<32>>
}

// -----

// CHECK-LABEL: func.func @no_norm
func.func @no_norm(%x: tensor<?x64xf32>) -> tensor<?x64x!dq.act8<32>> {
  // CHECK: dq.quantize
  %0 = dq.quantize %x : tensor<?x64xf32> -> tensor<?x64x!dq.act8<32>>
  return %0 : tensor<?x64x!dq.act8<32>>
}

// -----

// CHECK-LABEL: func.func @by_row
func.func @by_row(%x: tensor<?x64xf32>, %g: tensor<64xf32>) -> tensor<?x64x!dq.act8<row>> {
  // CHECK: lm.rms_norm {{.*}} -> tensor<?x64x!dq.act8<row>>
  // CHECK-NOT: dq.quantize
  %0 = lm.rms_norm %x, %g {eps = 1.0e-6 : f32} : tensor<?x64xf32>, tensor<64xf32> -> tensor<?x64xf32>
  %1 = dq.quantize %0 : tensor<?x64xf32> -> tensor<?x64x!dq.act8<row>>
  return %1 : tensor<?x64x!dq.act8<row>>
}

// Every op of the model graph dialect prints as it was read.
// RUN: quern-opt %s -split-input-file | quern-opt -split-input-file | FileCheck %s
// RUN: quern-opt %s -split-input-file -mlir-print-op-generic | quern-opt -split-input-file | FileCheck %s

// CHECK-LABEL: func.func @embedding
func.func @embedding(%ids: tensor<?xi32>, %table: tensor<151936x896xf16>) -> tensor<?x896xf32> {
  // CHECK: lm.embedding %{{.*}}, %{{.*}} : tensor<?xi32>, tensor<151936x896xf16> -> tensor<?x896xf32>
  %0 = lm.embedding %ids, %table : tensor<?xi32>, tensor<151936x896xf16> -> tensor<?x896xf32>
  return %0 : tensor<?x896xf32>
}

// -----

// CHECK-LABEL: func.func @linear
func.func @linear(%x: tensor<?x896xf32>, %w: tensor<128x896xf32>, %b: tensor<128xf32>) -> tensor<?x128xf32> {
  // CHECK: lm.linear %{{.*}}, %{{.*}} : tensor<?x896xf32>, tensor<128x896xf32> -> tensor<?x128xf32>
  %0 = lm.linear %x, %w : tensor<?x896xf32>, tensor<128x896xf32> -> tensor<?x128xf32>
  // CHECK: lm.linear %{{.*}}, %{{.*}} bias(%{{.*}} : tensor<128xf32>) : tensor<?x896xf32>
  %1 = lm.linear %x, %w bias(%b : tensor<128xf32>) : tensor<?x896xf32>, tensor<128x896xf32> -> tensor<?x128xf32>
  return %1 : tensor<?x128xf32>
}

// -----

// CHECK-LABEL: func.func @gather_columns
func.func @gather_columns(%x: tensor<?x8xf32>, %c: tensor<8xi32>) -> tensor<?x8xf32> {
  // CHECK: lm.gather_columns %{{.*}}, %{{.*}} : tensor<?x8xf32>, tensor<8xi32> -> tensor<?x8xf32>
  %0 = lm.gather_columns %x, %c : tensor<?x8xf32>, tensor<8xi32> -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}

// -----

// CHECK-LABEL: func.func @rms_norm
func.func @rms_norm(%x: tensor<?x896xf32>, %g: tensor<896xf32>, %h: tensor<64xf32>) -> tensor<?x896x!dq.act8<32>> {
  // CHECK: lm.rms_norm %{{.*}}, %{{.*}} {eps = {{.*}} : f32} : tensor<?x896xf32>, tensor<896xf32> -> tensor<?x896xf32>
  %0 = lm.rms_norm %x, %g {eps = 1.0e-6 : f32} : tensor<?x896xf32>, tensor<896xf32> -> tensor<?x896xf32>
  // CHECK: lm.rms_norm {{.*}} : tensor<?x896xf32>, tensor<64xf32> -> tensor<?x896xf32>
  %heads = lm.rms_norm %x, %h {eps = 1.0e-6 : f32} : tensor<?x896xf32>, tensor<64xf32> -> tensor<?x896xf32>
  // CHECK: lm.rms_norm {{.*}} -> tensor<?x896x!dq.act8<32>>
  %1 = lm.rms_norm %x, %g {eps = 1.0e-6 : f32} : tensor<?x896xf32>, tensor<896xf32> -> tensor<?x896x!dq.act8<32>>
  return %1 : tensor<?x896x!dq.act8<32>>
}

// -----

// CHECK-LABEL: func.func @rotary
func.func @rotary(%x: tensor<?x128xf32>, %p: tensor<?xi32>, %f: tensor<32xf32>) -> tensor<?x128xf32> {
  // CHECK: lm.rotary_angles %{{.*}} {theta = 1.000000e+06 : f64} : tensor<?xi32> -> tensor<?x64xf32>
  %a = lm.rotary_angles %p {theta = 1.0e6 : f64} : tensor<?xi32> -> tensor<?x64xf32>
  // CHECK: lm.rotary_angles %{{.*}} factors(%{{.*}} : tensor<32xf32>) {theta
  %b = lm.rotary_angles %p factors(%f : tensor<32xf32>) {theta = 5.0e5 : f64} : tensor<?xi32> -> tensor<?x64xf32>
  // CHECK: lm.rotary half %{{.*}}, %{{.*}} : tensor<?x128xf32>, tensor<?x64xf32>
  %0 = lm.rotary half %x, %a : tensor<?x128xf32>, tensor<?x64xf32>
  // CHECK: lm.rotary interleaved %
  %1 = lm.rotary interleaved %0, %b : tensor<?x128xf32>, tensor<?x64xf32>
  return %1 : tensor<?x128xf32>
}

// -----

!cache = !lm.cache<layers = 24, kv_heads = 2, head_dim = 64>
// CHECK-LABEL: func.func @attention
func.func @attention(%q: tensor<?x896xf32>, %kv: tensor<?x128xf32>, %p: tensor<?xi32>, %c: !cache) -> tensor<?x896xf32> {
  // CHECK: lm.attention %[[Q:.*]], %[[KV:.*]], %[[KV]] at %{{.*}} in %{{.*}} {layer = 23 : i64, scale = 1.250000e-01 : f32}
  // CHECK-SAME: : tensor<?x896xf32>, tensor<?x128xf32>, tensor<?xi32>, <layers = 24, kv_heads = 2, head_dim = 64>
  %0 = lm.attention %q, %kv, %kv at %p in %c {layer = 23, scale = 0.125 : f32}
    : tensor<?x896xf32>, tensor<?x128xf32>, tensor<?xi32>, !cache
  return %0 : tensor<?x896xf32>
}

// -----

// CHECK-LABEL: func.func @swiglu
func.func @swiglu(%g: tensor<?x4864xf32>) -> tensor<?x4864x!dq.act8<32>> {
  // CHECK: lm.swiglu %[[G:.*]], %[[G]] : tensor<?x4864xf32> -> tensor<?x4864xf32>
  %0 = lm.swiglu %g, %g : tensor<?x4864xf32> -> tensor<?x4864xf32>
  // CHECK: lm.swiglu {{.*}} -> tensor<?x4864x!dq.act8<32>>
  %1 = lm.swiglu %0, %g : tensor<?x4864xf32> -> tensor<?x4864x!dq.act8<32>>
  return %1 : tensor<?x4864x!dq.act8<32>>
}

// -----

// CHECK-LABEL: func.func @gather_rows
func.func @gather_rows(%x: tensor<?x896xf32>, %rows: tensor<?xi32>) -> tensor<?x896xf32> {
  // CHECK: lm.gather_rows %{{.*}}, %{{.*}} : tensor<?x896xf32>, tensor<?xi32> -> tensor<?x896xf32>
  %0 = lm.gather_rows %x, %rows : tensor<?x896xf32>, tensor<?xi32> -> tensor<?x896xf32>
  return %0 : tensor<?x896xf32>
}

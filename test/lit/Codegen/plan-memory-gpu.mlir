// RUN: quern-opt %s -split-input-file --lm-plan-memory=gpu -verify-diagnostics | FileCheck %s

// Rows take multiples of 256 bytes: 400 of f32 become 512, and quantized ones 256 each for codes, scales and sums.
// CHECK-LABEL: func.func @rows
// CHECK-SAME: lm.arena_sizes = array<i64: 1280>
func.func @rows(%ids: tensor<?xi32> {lm.size = "tokens"}, %t: tensor<10x100xf32>) {
  // CHECK: lm.embedding {{.*}} {lm.arena_offsets = array<i64: 0>}
  %0 = lm.embedding %ids, %t : tensor<?xi32>, tensor<10x100xf32> -> tensor<?x100xf32>
  // CHECK: dq.quantize {{.*}} {lm.arena_offsets = array<i64: 512>}
  %1 = dq.quantize %0 : tensor<?x100xf32> -> tensor<?x100x!dq.act8<32>>
  return
}

// -----

// The two sums may run at once, so the second one must not write where the first one reads.
// CHECK-LABEL: func.func @group
// CHECK-SAME: lm.arena_sizes = array<i64: 768>
func.func @group(%ids: tensor<?xi32> {lm.size = "tokens"}, %t: tensor<10x64xf32>) {
  // CHECK: lm.embedding {{.*}} {lm.arena_offsets = array<i64: 0>}
  %0 = lm.embedding %ids, %t : tensor<?xi32>, tensor<10x64xf32> -> tensor<?x64xf32>
  // CHECK: arith.addf {{.*}} {lm.arena_offsets = array<i64: 256>, lm.group = 3 : i64}
  %1 = arith.addf %0, %0 {lm.group = 3 : i64} : tensor<?x64xf32>
  // CHECK: arith.addf {{.*}} {lm.arena_offsets = array<i64: 512>, lm.group = 3 : i64}
  %2 = arith.addf %0, %0 {lm.group = 3 : i64} : tensor<?x64xf32>
  // CHECK: arith.addf {{.*}} {lm.arena_offsets = array<i64: 256>}
  %3 = arith.addf %1, %2 : tensor<?x64xf32>
  return
}

// -----

func.func @apart(%ids: tensor<?xi32> {lm.size = "tokens"}, %t: tensor<10x64xf32>) {
  %0 = lm.embedding %ids, %t {lm.group = 3 : i64} : tensor<?xi32>, tensor<10x64xf32> -> tensor<?x64xf32>
  %1 = arith.addf %0, %0 : tensor<?x64xf32>
  // expected-error @+1 {{is apart from the other ops of its group 3}}
  %2 = arith.addf %0, %0 {lm.group = 3 : i64} : tensor<?x64xf32>
  return
}

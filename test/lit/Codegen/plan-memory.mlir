// RUN: quern-opt %s -split-input-file --lm-plan-memory | FileCheck %s

// Rows take whole units of 64 elements. Places of tensors that are not alive together are shared: %2 lies where %0 was.
// CHECK-LABEL: func.func @chain
// CHECK-SAME: lm.arena_sizes = array<i64: 1024>
func.func @chain(%ids: tensor<?xi32> {lm.size = "tokens"}, %t: tensor<10x100xf32>, %w: tensor<100x100xf32>,
                 %g: tensor<100xf32>) {
  // CHECK: lm.embedding {{.*}} {lm.arena_offsets = array<i64: 0>}
  %0 = lm.embedding %ids, %t : tensor<?xi32>, tensor<10x100xf32> -> tensor<?x100xf32>
  // CHECK: dq.matmul {{.*}} {lm.arena_offsets = array<i64: 512>}
  %1 = dq.matmul %0, [%w] : tensor<?x100xf32>, [tensor<100x100xf32>] -> tensor<?x100xf32>
  // CHECK: lm.rms_norm {{.*}}lm.arena_offsets = array<i64: 0>
  %2 = lm.rms_norm %1, %g {eps = 1.0e-6 : f32} : tensor<?x100xf32>, tensor<100xf32> -> tensor<?x100xf32>
  return
}

// -----

// A residual, a rotation and a sum take over their operand's place where nothing reads it afterwards.
// CHECK-LABEL: func.func @in_place
// CHECK-SAME: lm.arena_sizes = array<i64: 512>
func.func @in_place(%ids: tensor<?xi32> {lm.size = "tokens"}, %t: tensor<10x64xf32>, %w: tensor<64x64xf32>) {
  // CHECK: lm.embedding {{.*}} {lm.arena_offsets = array<i64: 0>}
  %0 = lm.embedding %ids, %t : tensor<?xi32>, tensor<10x64xf32> -> tensor<?x64xf32>
  // CHECK: lm.embedding {{.*}} {lm.arena_offsets = array<i64: 256>}
  %1 = lm.embedding %ids, %t : tensor<?xi32>, tensor<10x64xf32> -> tensor<?x64xf32>
  // CHECK: dq.matmul {{.*}} residual({{.*}}{lm.arena_offsets = array<i64: 256>}
  %2 = dq.matmul %0, [%w] residual(%1 : tensor<?x64xf32>) : tensor<?x64xf32>, [tensor<64x64xf32>] -> tensor<?x64xf32>
  // CHECK: lm.rotary {{.*}} {lm.arena_offsets = array<i64: 256>}
  %3 = lm.rotary half %2, %0 : tensor<?x64xf32>, tensor<?x64xf32>
  // CHECK: arith.addf {{.*}} {lm.arena_offsets = array<i64: 256>}
  %4 = arith.addf %3, %0 : tensor<?x64xf32>
  return
}

// -----

// Not where the operand is read later.
// CHECK-LABEL: func.func @read_later
func.func @read_later(%ids: tensor<?xi32> {lm.size = "tokens"}, %t: tensor<10x64xf32>) {
  // CHECK: lm.embedding {{.*}} {lm.arena_offsets = array<i64: 0>}
  %0 = lm.embedding %ids, %t : tensor<?xi32>, tensor<10x64xf32> -> tensor<?x64xf32>
  // CHECK: arith.addf {{.*}} {lm.arena_offsets = array<i64: 256>}
  %1 = arith.addf %0, %0 : tensor<?x64xf32>
  // CHECK: arith.addf {{.*}} {lm.arena_offsets = array<i64: 0>}
  %2 = arith.addf %0, %1 : tensor<?x64xf32>
  return
}

// -----

// Each dynamic size has its own part; logits that a matmul writes go to the driver's buffer. Quantized rows take 104 bytes
// for 64 elements, rounded up to 64: 128.
// CHECK-LABEL: func.func @sizes
// CHECK-SAME: lm.arena_sizes = array<i64: 256, 384>
func.func @sizes(%ids: tensor<?xi32> {lm.size = "tokens"}, %rows: tensor<?xi32> {lm.size = "outputs"},
                 %t: tensor<10x64xf32>, %w: tensor<10x64x!dq.block<q8_0>>) -> tensor<?x10xf32> {
  // CHECK: lm.embedding {{.*}} {lm.arena_offsets = array<i64: 0>}
  %0 = lm.embedding %ids, %t : tensor<?xi32>, tensor<10x64xf32> -> tensor<?x64xf32>
  // CHECK: lm.gather_rows {{.*}} {lm.arena_offsets = array<i64: 0>}
  %1 = lm.gather_rows %0, %rows : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  // CHECK: dq.quantize {{.*}} {lm.arena_offsets = array<i64: 256>}
  %2 = dq.quantize %1 : tensor<?x64xf32> -> tensor<?x64x!dq.act8<32>>
  // CHECK: dq.matmul
  // CHECK-NOT: lm.arena_offsets
  %3 = dq.matmul %2, [%w] : tensor<?x64x!dq.act8<32>>, [tensor<10x64x!dq.block<q8_0>>] -> tensor<?x10xf32>
  return %3 : tensor<?x10xf32>
}

// Each segment that is returned goes to its own buffer of the driver, also beside one that stays in the arena.
// RUN: quern-opt %s --dq-pack-weights --lm-plan-memory | FileCheck %s --check-prefix=PLAN
// RUN: quern-opt %s --dq-pack-weights --lm-plan-memory --cpu-lower-to-kernels=target=x86-64-v2 | FileCheck %s

dq.source @a : tensor<32x64xf32> in 0 at 0 bytes 8192
dq.source @b : tensor<48x64xf32> in 0 at 8192 bytes 12288
dq.source @table : tensor<16x64xf32> in 0 at 20480 bytes 4096

// PLAN: dq.matmul {{.*}} {lm.arena_offsets = array<i64: -1, {{[0-9]+}}, -1>}

// The driver's buffers: the ids, then the outputs.
// CHECK: %[[AT:.*]] = llvm.getelementptr %{{.*}}[%c8_i64]
// CHECK: %[[FIRST:.*]] = llvm.load %[[AT]]
// CHECK: %[[AT2:.*]] = llvm.getelementptr %{{.*}}[%c16_i64]
// CHECK: %[[SECOND:.*]] = llvm.load %[[AT2]]
// CHECK: call @matmul_f32_store({{.*}}, %[[FIRST]], %c128_i64
// CHECK: call @matmul_f32_store
// CHECK: call @matmul_f32_store({{.*}}, %[[SECOND]], %c192_i64
func.func @two(%ids: tensor<?xi32> {lm.name = "ids", lm.size = "rows"}) -> (tensor<?x32xf32>, tensor<?x48xf32>) {
  %t = dq.weight @table : tensor<16x64xf32>
  %x = lm.embedding %ids, %t : tensor<?xi32>, tensor<16x64xf32> -> tensor<?x64xf32>
  %a = dq.weight @a : tensor<32x64xf32>
  %b = dq.weight @b : tensor<48x64xf32>
  %p, %q, %r = dq.matmul %x, [%a, %b, %b] : tensor<?x64xf32>, [tensor<32x64xf32>, tensor<48x64xf32>, tensor<48x64xf32>] -> tensor<?x32xf32>, tensor<?x48xf32>, tensor<?x48xf32>
  %s = arith.addf %q, %q : tensor<?x48xf32>
  return %p, %r : tensor<?x32xf32>, tensor<?x48xf32>
}

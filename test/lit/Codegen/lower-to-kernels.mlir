// RUN: quern-opt %s -split-input-file --dq-pack-weights --lm-plan-memory --cpu-lower-to-kernels | FileCheck %s

// A kernel exists once for each format family and epilogue: two q4_0 segments share theirs, q4_1 has its own.
!q4_0 = !dq.block<q4_0>
!q4_1 = !dq.block<q4_1>
dq.source @t : tensor<64x64xf16> in 0 at 0 bytes 8192
dq.source @a : tensor<64x64x!q4_0> in 0 at 8192 bytes 2304
dq.source @b : tensor<32x64x!q4_1> in 0 at 10496 bytes 1280
// CHECK-NOT: dq.source
// CHECK: func.func @shared(%[[CALL:.*]]: !llvm.ptr)
func.func @shared(%ids: tensor<?xi32> {lm.size = "tokens"}) {
  %t = dq.weight @t : tensor<64x64xf16>
  %a = dq.weight @a : tensor<64x64x!q4_0>
  %b = dq.weight @b : tensor<32x64x!q4_1>
  // CHECK: call @embedding_f16(%[[CALL]]
  %x = lm.embedding %ids, %t : tensor<?xi32>, tensor<64x64xf16> -> tensor<?x64xf32>
  // CHECK: call @quantize(%[[CALL]]
  %q = dq.quantize %x : tensor<?x64xf32> -> tensor<?x64x!dq.act8<32>>
  // CHECK: call @matmul_c4z8_half_store(%[[CALL]]
  // CHECK: call @matmul_c4z8_half_store(%[[CALL]]
  // CHECK: call @matmul_c4_halfmin_added_store(%[[CALL]]
  %0:3 = dq.matmul %q, [%a, %a, %b] : tensor<?x64x!dq.act8<32>>,
    [tensor<64x64x!q4_0>, tensor<64x64x!q4_0>, tensor<32x64x!q4_1>] -> tensor<?x64xf32>, tensor<?x64xf32>, tensor<?x32xf32>
  return
}
// Blocks of the thread's own share, then of the others'.
// CHECK: func.func private @matmul_c4z8_half_store
// CHECK: arith.remui
// CHECK: scf.while
// CHECK: llvm.atomicrmw add %{{.*}} monotonic : !llvm.ptr, i64
// CHECK-NOT: func.func private @matmul_c4z8_half_store
// CHECK: func.func private @matmul_c4_halfmin_added_store

// -----

// Kernels by rows need no barrier between them; a matmul, whose panels go to whichever thread is free, has one before
// it, and so has who reads its result. Each thread sets its counters of taken panels to zero.
dq.source @w : tensor<64x64xf16> in 0 at 0 bytes 8192
// CHECK-LABEL: func.func @barriers
// CHECK: scf.for
// CHECK-NEXT: llvm.getelementptr
// CHECK-NEXT: llvm.store %{{.*}} : vector<16xf32>, !llvm.ptr
func.func @barriers(%ids: tensor<?xi32> {lm.size = "tokens"}, %g: tensor<64xf32>) {
  %w = dq.weight @w : tensor<64x64xf16>
  // CHECK: call @embedding_f16
  // CHECK-NOT: llvm.call
  // CHECK: call @"rms_norm_
  // CHECK: llvm.call %{{.*}}(%{{.*}}) : !llvm.ptr, (!llvm.ptr) -> ()
  // CHECK: call @matmul_f16_store
  // CHECK: llvm.call
  // CHECK: call @"rms_norm_
  // CHECK-NOT: llvm.call
  // CHECK: return
  %0 = lm.embedding %ids, %w : tensor<?xi32>, tensor<64x64xf16> -> tensor<?x64xf32>
  %1 = lm.rms_norm %0, %g {eps = 1.0e-6 : f32} : tensor<?x64xf32>, tensor<64xf32> -> tensor<?x64xf32>
  %2 = dq.matmul %1, [%w] : tensor<?x64xf32>, [tensor<64x64xf16>] -> tensor<?x64xf32>
  %3 = lm.rms_norm %2, %g {eps = 1.0e-6 : f32} : tensor<?x64xf32>, tensor<64xf32> -> tensor<?x64xf32>
  return
}

// -----

// Each epilogue is a kernel of its own; with swiglu the gate is stored first and read by the second segment, maybe by
// another thread.
dq.source @w : tensor<64x64xf16> in 0 at 0 bytes 8192
// CHECK-LABEL: func.func @epilogues
func.func @epilogues(%ids: tensor<?xi32> {lm.size = "tokens"}, %b: tensor<64xf32>) -> tensor<?x64xf32> {
  %w = dq.weight @w : tensor<64x64xf16>
  %x = lm.embedding %ids, %w : tensor<?xi32>, tensor<64x64xf16> -> tensor<?x64xf32>
  // CHECK: call @matmul_f16_bias
  %0 = dq.matmul %x, [%w] bias(%b) : tensor<?x64xf32>, [tensor<64x64xf16>], (tensor<64xf32>) -> tensor<?x64xf32>
  // CHECK: call @matmul_f16_residual
  %1 = dq.matmul %0, [%w] residual(%x : tensor<?x64xf32>) : tensor<?x64xf32>, [tensor<64x64xf16>] -> tensor<?x64xf32>
  // CHECK: call @matmul_f16_store
  // CHECK: llvm.call
  // CHECK: call @matmul_f16_swiglu
  %2 = dq.matmul swiglu %1, [%w, %w] : tensor<?x64xf32>, [tensor<64x64xf16>, tensor<64x64xf16>] -> tensor<?x64xf32>
  %3 = dq.matmul %2, [%w] : tensor<?x64xf32>, [tensor<64x64xf16>] -> tensor<?x64xf32>
  return %3 : tensor<?x64xf32>
}

// -----

// Every layer of one shape shares its attention; a thread's working memory is the greatest that a kernel needs. Further
// entries do the same over caches of bytes and of f32.
!cache = !lm.cache<layers = 2, kv_heads = 1, head_dim = 32>
dq.source @w : tensor<64x64xf16> in 0 at 0 bytes 8192
dq.source @k : tensor<64x32xf16> in 0 at 8192 bytes 4096
// CHECK: func.func @attention(%{{.*}}: !llvm.ptr) attributes {lm.arena_per_thread = 25664 : i64
func.func @attention(%ids: tensor<?xi32> {lm.size = "tokens"}, %p: tensor<?xi32> {lm.size = "tokens"}, %c: !cache) {
  %w = dq.weight @w : tensor<64x64xf16>
  %k = dq.weight @k : tensor<64x32xf16>
  %x = lm.embedding %ids, %w : tensor<?xi32>, tensor<64x64xf16> -> tensor<?x64xf32>
  %y = lm.embedding %ids, %k : tensor<?xi32>, tensor<64x32xf16> -> tensor<?x32xf32>
  // CHECK: call @cache_append_1x32
  // CHECK: llvm.call
  // CHECK: call @attention_2x1x32_0.5
  %0 = lm.attention %x, %y, %y at %p in %c {layer = 0, scale = 0.5 : f32} : tensor<?x64xf32>, tensor<?x32xf32>, tensor<?xi32>, !cache
  // CHECK: call @cache_append_1x32
  // CHECK: call @attention_2x1x32_0.5
  %1 = lm.attention %0, %y, %y at %p in %c {layer = 1, scale = 0.5 : f32} : tensor<?x64xf32>, tensor<?x32xf32>, tensor<?xi32>, !cache
  return
}
// CHECK: func.func @attention_q8_0(%{{.*}}: !llvm.ptr)
// CHECK: call @cache_append_q8_0_1x32
// CHECK: call @attention_q8_0_2x1x32_0.5
// CHECK: func.func @attention_f32(%{{.*}}: !llvm.ptr)
// CHECK: call @cache_append_f32_1x32
// CHECK: call @attention_f32_2x1x32_0.5
// CHECK: func.func private @attention_2x1x32_0.5
// CHECK-NOT: func.func private @attention
// CHECK: func.func private @attention_q8_0_2x1x32_0.5
// CHECK-NOT: func.func private @attention
// CHECK: func.func private @attention_f32_2x1x32_0.5
// CHECK-NOT: func.func private @attention

// -----

// bf16 weights take rows that are rounded to bf16, by the norm or by a kernel of its own; two bytes an element.
dq.source @w : tensor<64x64xbf16> in 0 at 0 bytes 8192
// CHECK-LABEL: func.func @bfloats
func.func @bfloats(%ids: tensor<?xi32> {lm.size = "tokens"}, %g: tensor<64xf32>) {
  %w = dq.weight @w : tensor<64x64xbf16>
  // CHECK: call @embedding_bf16
  // CHECK: call @"rms_norm_bf16_
  // CHECK: call @matmul_bf16_store
  // CHECK: call @round_to_bf16
  // CHECK: call @matmul_bf16_store
  %0 = lm.embedding %ids, %w : tensor<?xi32>, tensor<64x64xbf16> -> tensor<?x64xf32>
  %1 = lm.rms_norm %0, %g {eps = 1.0e-6 : f32} : tensor<?x64xf32>, tensor<64xf32> -> tensor<?x64xbf16>
  %2 = dq.matmul %1, [%w] : tensor<?x64xbf16>, [tensor<64x64xbf16>] -> tensor<?x64xf32>
  %3 = dq.quantize %2 : tensor<?x64xf32> -> tensor<?x64xbf16>
  %4 = dq.matmul %3, [%w] : tensor<?x64xbf16>, [tensor<64x64xbf16>] -> tensor<?x64xf32>
  return
}
// CHECK: func.func private @matmul_bf16_store
// CHECK: dq.dot_pairs

// -----

// Rows with zero points have kernels of their own; the matmul's gets the sums that lie behind the panels as well.
!q8_0 = !dq.block<q8_0>
dq.source @t : tensor<64x64xf16> in 0 at 0 bytes 8192
dq.source @w : tensor<64x64x!q8_0> in 0 at 8192 bytes 4352
// CHECK-LABEL: func.func @zeros
func.func @zeros(%ids: tensor<?xi32> {lm.size = "tokens"}) {
  %t = dq.weight @t : tensor<64x64xf16>
  %w = dq.weight @w : tensor<64x64x!q8_0>
  %x = lm.embedding %ids, %t : tensor<?xi32>, tensor<64x64xf16> -> tensor<?x64xf32>
  // CHECK: call @quantize_rows(
  %q = dq.quantize %x : tensor<?x64xf32> -> tensor<?x64x!dq.act8<row>>
  // CHECK: %[[PLACE:.*]] = arith.constant 12544 : i64
  // CHECK: %[[SUMS:.*]] = llvm.getelementptr %{{.*}}[%[[PLACE]]]
  // CHECK: call @matmul_c8z128_half_store_zeros({{.*}}, %[[SUMS]]) :
  %0 = dq.matmul %q, [%w] : tensor<?x64x!dq.act8<row>>, [tensor<64x64x!q8_0>] -> tensor<?x64xf32>
  // CHECK: call @dequantize_rows(
  %1 = dq.dequantize %q : tensor<?x64x!dq.act8<row>> -> tensor<?x64xf32>
  return
}

// RUN: quern-opt %s --gpu-make-rotary-tables=positions=512 --dq-pack-weights=gpu --gpu-group-ops --lm-plan-memory=gpu \
// RUN:   --gpu-lower-to-launches=target=sm_80 -o %t.mlir
// RUN: FileCheck %s < %t.mlir
// RUN: quern-translate --gpu-to-program %t.mlir | FileCheck %s --check-prefix=JSON
// RUN: quern-translate --gpu-to-ptx --gpu-target=sm_80 %t.mlir | FileCheck %s --check-prefix=PTX
// RUN: quern-opt %s --gpu-make-rotary-tables=positions=512 --dq-pack-weights=gpu --gpu-group-ops --lm-plan-memory=gpu \
// RUN:   --gpu-lower-to-launches=target=sm_90 | quern-translate --gpu-to-program | FileCheck %s --check-prefix=SM90

!q8_0 = !dq.block<q8_0>
!x8 = tensor<?x64x!dq.act8<32>>
!cache = !lm.cache<layers = 1, kv_heads = 2, head_dim = 32>
dq.source @table : tensor<300x64x!q8_0> in 0 at 0 bytes 20400
dq.source @w : tensor<64x64x!q8_0> in 0 at 20400 bytes 4352
dq.source @gain : tensor<64xf32> in 0 at 24752 bytes 256

// One token: five launches for a layer of attention and feed-forward, embedding and logits beside them. Norms are made
// by the kernels that read them.
// CHECK-LABEL: func.func @step_1(
// CHECK-SAME: %[[WEIGHTS:.*]]: !llvm.ptr {host.index = 0 : i64, host.is = "weights"}
// CHECK-SAME: %[[ARENA:[a-z0-9]*]]: !llvm.ptr {host.index = 0 : i64, host.is = "arena"}
// CHECK-SAME: %[[IDS:[a-z0-9]*]]: !llvm.ptr {host.index = 0 : i64, host.is = "input", lm.name = "token_ids"}
// CHECK-SAME: host.is = "input", lm.name = "cache_capacities"
// CHECK-SAME: host.tokens = array<i64: 1, 1>
// CHECK: gpu.launch_func @kernels::@embedding_q8_0_300x64 blocks in (%{{.*}}) threads in (%{{.*}}) args(%[[IDS]]
// CHECK-SAME: host.op = "lm.embedding"
// CHECK: gpu.launch_func @kernels::@matvec_q8_0_64_q8_0_64_q8_0_64_x64_t1_norm
// CHECK: gpu.launch_func {{.*}}attention{{.*}}_fused_merged_act8{{.*}}host.op = "lm.attention"
// CHECK: gpu.launch_func @kernels::@matvec_q8_0_64x64_t1_residual
// CHECK: gpu.launch_func @kernels::@swiglu_q8_0_q8_0_64x64_t1_norm
// CHECK: gpu.launch_func @kernels::@matvec_q8_0_64x64_t1_residual
// CHECK: gpu.launch_func @kernels::@gather_rows_64
// CHECK: %[[IS_ONE:.*]] = arith.cmpi eq, %{{.*}}, %c1_i64
// CHECK: scf.if %[[IS_ONE]]
// CHECK: gpu.launch_func @kernels::@matvec_q8_0_300x64_t1_norm

// Two tokens: norms have launches of their own, and logits as many as there are outputs.
// CHECK-LABEL: func.func @step_2(
// CHECK: gpu.launch_func @kernels::@embedding
// CHECK: gpu.launch_func {{.*}}host.op = "lm.rms_norm"
// CHECK: gpu.launch_func @kernels::@matvec_q8_0_64_q8_0_64_q8_0_64_x64_t2
// CHECK: scf.if
// CHECK: gpu.launch_func @kernels::@matvec_q8_0_300x64_t1{{ }}
// CHECK: scf.if
// CHECK: gpu.launch_func @kernels::@matvec_q8_0_300x64_t2{{ }}
// CHECK: func.func @step_8(

// Nine to 16 tokens: attention takes each row alone, as a token of a sequence of its own.
// CHECK-LABEL: func.func @step_9_to_16(
// CHECK-SAME: %[[TOKENS:[a-z0-9]*]]: i64 {host.index = 0 : i64, host.is = "size", lm.name = "tokens"}
// CHECK-SAME: host.tokens = array<i64: 9, 16>
// CHECK: gpu.launch_func @kernels::@prompt_q8_0_64_q8_0_64_q8_0_64_x64
// CHECK: arith.index_cast %[[TOKENS]] : i64 to index
// CHECK: gpu.launch_func @kernels::@attention_{{.*}}_merged_act8{{.*}}host.op = "lm.attention"

// More tokens: grids with as many blocks as there are tokens, and one kernel for all segments.
// CHECK-LABEL: func.func @step_17_to_512(
// CHECK-SAME: %[[TOKENS:[a-z0-9]*]]: i64 {host.index = 0 : i64, host.is = "size", lm.name = "tokens"}
// CHECK-SAME: host.tokens = array<i64: 17, 512>
// CHECK: %[[TILES:.*]] = arith.ceildivui %[[TOKENS]], %c64_i64
// CHECK: gpu.launch_func @kernels::@prompt_q8_0_64_q8_0_64_q8_0_64_x64_by64x64
// CHECK-SAME: %[[TOKENS]] : i64) {host.name = "", host.op = "dq.matmul"}
// CHECK: gpu.launch_func {{.*}}prompt_attention{{.*}}host.op = "lm.attention"
// CHECK: arith.cmpi eq, %{{.*}}, %c8_i64
// CHECK: gpu.launch_func @kernels::@matvec_q8_0_300x64_t8{{ }}
// CHECK: arith.cmpi sge, %{{.*}}, %c9_i64
// CHECK-NEXT: scf.if

// Counters of the 16 rows that a step takes alone at most: nine for each split's two warps.
// SM90: "counters":288,"overlaps":true,"plans":[
// JSON: "counters":288,"plans":[{"least":1,"most":1,"launches":[{"kernel":"embedding_q8_0_300x64","op":"lm.embedding"
// JSON-SAME: "kind":"input","index":0
// JSON-SAME: {"kind":"counters"}
// JSON-SAME: "when":{"index":1,"least":1,"most":1}
// JSON-SAME: {"least":17,"most":512,
// JSON-SAME: "when":{"index":1,"least":9,"most":9223372036854775807}

// PTX: .entry embedding_q8_0_300x64
// PTX: .entry attention_{{.*}}_fused_merged_act8
// PTX: bar.warp.sync
// PTX: fence.acq_rel.gpu
// PTX-NEXT: atom.global.inc.u32
// PTX-NEXT: fence.acq_rel.gpu
// PTX: bar.warp.sync

func.func @step(%ids: tensor<?xi32> {lm.name = "token_ids", lm.size = "tokens"},
                %positions: tensor<?xi32> {lm.name = "positions", lm.size = "tokens"},
                %cache: !cache {lm.name = "caches"},
                %rows: tensor<?xi32> {lm.name = "output_rows", lm.size = "outputs"}) -> tensor<?x300xf32> {
  %t = dq.weight @table : tensor<300x64x!q8_0>
  %w = dq.weight @w : tensor<64x64x!q8_0>
  %gain = dq.weight @gain : tensor<64xf32>
  %x = lm.embedding %ids, %t : tensor<?xi32>, tensor<300x64x!q8_0> -> tensor<?x64xf32>
  %a = lm.rotary_angles %positions {theta = 1.0e4 : f64} : tensor<?xi32> -> tensor<?x32xf32>
  %h = lm.rms_norm %x, %gain {eps = 1.0e-6 : f32} : tensor<?x64xf32>, tensor<64xf32> -> !x8
  %q, %k, %v = dq.matmul %h, [%w, %w, %w] : !x8, [tensor<64x64x!q8_0>, tensor<64x64x!q8_0>, tensor<64x64x!q8_0>]
    -> tensor<?x64xf32>, tensor<?x64xf32>, tensor<?x64xf32>
  %q1 = lm.rotary half %q, %a : tensor<?x64xf32>, tensor<?x32xf32>
  %k1 = lm.rotary half %k, %a : tensor<?x64xf32>, tensor<?x32xf32>
  %o = lm.attention %q1, %k1, %v at %positions in %cache {layer = 0, scale = 0.125 : f32}
    : tensor<?x64xf32>, tensor<?x64xf32>, tensor<?xi32>, !cache
  %o8 = dq.quantize %o : tensor<?x64xf32> -> !x8
  %x1 = dq.matmul %o8, [%w] residual(%x : tensor<?x64xf32>) : !x8, [tensor<64x64x!q8_0>] -> tensor<?x64xf32>
  %h1 = lm.rms_norm %x1, %gain {eps = 1.0e-6 : f32} : tensor<?x64xf32>, tensor<64xf32> -> !x8
  %g = dq.matmul swiglu %h1, [%w, %w] : !x8, [tensor<64x64x!q8_0>, tensor<64x64x!q8_0>] -> tensor<?x64xf32>
  %g8 = dq.quantize %g : tensor<?x64xf32> -> !x8
  %x2 = dq.matmul %g8, [%w] residual(%x1 : tensor<?x64xf32>) : !x8, [tensor<64x64x!q8_0>] -> tensor<?x64xf32>
  %last = lm.gather_rows %x2, %rows : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  %l8 = lm.rms_norm %last, %gain {eps = 1.0e-6 : f32} : tensor<?x64xf32>, tensor<64xf32> -> !x8
  %logits = dq.matmul %l8, [%t] : !x8, [tensor<300x64x!q8_0>] -> tensor<?x300xf32>
  return %logits : tensor<?x300xf32>
}

// What no matmul takes over: a gate and values that take different activations, and the sum of a biased product.
// CHECK-LABEL: func.func @elementwise_1(
// CHECK: gpu.launch_func @kernels::@swiglu_64 {{.*}}host.op = "lm.swiglu"
// CHECK: gpu.launch_func @kernels::@sum_64 {{.*}}host.op = "arith.addf"
func.func @elementwise(%ids: tensor<?xi32> {lm.name = "token_ids", lm.size = "tokens"}) -> tensor<?x64xf32> {
  %t = dq.weight @table : tensor<300x64x!q8_0>
  %w = dq.weight @w : tensor<64x64x!q8_0>
  %x = lm.embedding %ids, %t : tensor<?xi32>, tensor<300x64x!q8_0> -> tensor<?x64xf32>
  %g = lm.swiglu %x, %x : tensor<?x64xf32> -> tensor<?x64xf32>
  %s = arith.addf %g, %x : tensor<?x64xf32>
  %s8 = dq.quantize %s : tensor<?x64xf32> -> !x8
  %y = dq.matmul %s8, [%w] : !x8, [tensor<64x64x!q8_0>] -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// For weights of f16 rows of f32 are split, behind all places of the arena: 512 times two rows of halves, then scales.
// CHECK-LABEL: func.func @half_17_to_512(
// CHECK-SAME: %[[TOKENS:[a-z0-9]*]]: i64 {host.index = 0 : i64, host.is = "size", lm.name = "tokens"}
// CHECK: %[[SCALES:.*]] = llvm.getelementptr %{{.*}}[%c131072_i64]
// CHECK: %[[ROWS:.*]] = arith.index_cast %[[TOKENS]] : i64 to index
// CHECK: gpu.launch_func @kernels::@split_64 blocks in (%[[ROWS]],
// CHECK-SAME: , %[[HALVES:[a-z0-9]+]] : !llvm.ptr, %[[SCALES]] : !llvm.ptr)
// CHECK-SAME: host.op = "dq.matmul"
// CHECK: gpu.launch_func @kernels::@prompt_f16_64x64_by64x64
// CHECK-SAME: , %[[HALVES]] : !llvm.ptr, %[[SCALES]] : !llvm.ptr, {{.*}}%[[TOKENS]] : i64)
// CHECK: arith.cmpi sge, %{{.*}}, %c9_i64
// CHECK-NEXT: scf.if
// CHECK: gpu.launch_func @kernels::@split_64
// CHECK: gpu.launch_func @kernels::@prompt_f16_64x64_by64x64
dq.source @halves : tensor<64x64xf16> in 0 at 49152 bytes 8192
func.func @half(%ids: tensor<?xi32> {lm.name = "token_ids", lm.size = "tokens"},
                %rows: tensor<?xi32> {lm.name = "output_rows", lm.size = "outputs"}) -> tensor<?x64xf32> {
  %t = dq.weight @table : tensor<300x64x!q8_0>
  %w = dq.weight @halves : tensor<64x64xf16>
  %x = lm.embedding %ids, %t : tensor<?xi32>, tensor<300x64x!q8_0> -> tensor<?x64xf32>
  %h = dq.matmul %x, [%w] : tensor<?x64xf32>, [tensor<64x64xf16>] -> tensor<?x64xf32>
  %l = lm.gather_rows %h, %rows : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  %y = dq.matmul %l, [%w] : tensor<?x64xf32>, [tensor<64x64xf16>] -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// A matmul without a kernel on tensor cores takes its rows eight at a time: of tokens, and of outputs.
// CHECK-LABEL: func.func @float_17_to_512(
// CHECK-SAME: %[[TOKENS:[a-z0-9]*]]: i64 {host.index = 0 : i64, host.is = "size", lm.name = "tokens"}
// CHECK: arith.ceildivui %[[TOKENS]], %c8_i64
// CHECK: gpu.launch_func @kernels::@matvec_f32_64x64_t8_and_more {{.*}}%[[TOKENS]] : i64)
// CHECK: arith.cmpi sge, %{{.*}}, %c9_i64
// CHECK-NEXT: scf.if
// CHECK: gpu.launch_func @kernels::@matvec_f32_64x64_t8_and_more
dq.source @floats : tensor<64x64xf32> in 0 at 32768 bytes 16384
func.func @float(%ids: tensor<?xi32> {lm.name = "token_ids", lm.size = "tokens"},
                 %rows: tensor<?xi32> {lm.name = "output_rows", lm.size = "outputs"}) -> tensor<?x64xf32> {
  %t = dq.weight @table : tensor<300x64x!q8_0>
  %w = dq.weight @floats : tensor<64x64xf32>
  %x = lm.embedding %ids, %t : tensor<?xi32>, tensor<300x64x!q8_0> -> tensor<?x64xf32>
  %h = dq.matmul %x, [%w] : tensor<?x64xf32>, [tensor<64x64xf32>] -> tensor<?x64xf32>
  %l = lm.gather_rows %h, %rows : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  %y = dq.matmul %l, [%w] : tensor<?x64xf32>, [tensor<64x64xf32>] -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

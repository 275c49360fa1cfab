// A whole small graph goes down to kernels of both targets, and to nothing but llvm ops.
// RUN: quern-opt %s --dq-fuse-dequant-matmul --cse --lm-fuse-norm-quantize --dq-merge-matmuls --canonicalize \
// RUN:   --dq-fuse-epilogue --canonicalize --dq-pack-weights --lm-plan-memory -o %t.plan
// RUN: FileCheck %s --check-prefix=PLAN < %t.plan
// RUN: quern-opt %t.plan --cpu-lower-to-kernels=target=x86-64-v2 | FileCheck %s --check-prefix=CALLS
// RUN: quern-opt %t.plan --cpu-lower-to-kernels=target=x86-64-v2 --cpu-lower-target-ops=target=x86-64-v2 --cse \
// RUN:   --convert-scf-to-cf --convert-vector-to-llvm --convert-math-to-llvm --convert-arith-to-llvm \
// RUN:   --convert-cf-to-llvm --convert-func-to-llvm --reconcile-unrealized-casts | FileCheck %s --check-prefix=LLVM

// PLAN: dq.source @emb {{.*}} {dq.packed_bytes = 19712 : i64, dq.packed_offset = 0 : i64}
// PLAN: lm.embedding {{.*}}tensor<100x256x!q5_0, #dq.panels<rows = 16>>
// PLAN: dq.matmul {{.*}} residual(

// CALLS: func.func @step(%[[CALL:.*]]: !llvm.ptr)
// CALLS: call @embedding_c4h1z16_half(%[[CALL]]
// CALLS: call @matmul_c4_six_bias
// The rows' norm is split by rows, the matmul by panels: threads meet between them.
// CALLS: llvm.call
// CALLS: call @attention_4x2x64_0.125
// CALLS-NOT: dq.source

// LLVM-NOT: {{ (dq|vector|math|arith|scf)\.[a-z]}}
// LLVM: llvm.func @step
!q = !dq.block<q5_0>
!k4 = !dq.block<q4_K>
dq.source @emb : tensor<100x256x!q> in 0 at 0 bytes 17600
dq.source @wq : tensor<256x256x!k4> in 0 at 0 bytes 36864
dq.source @wk : tensor<128x256x!q> in 0 at 0 bytes 22528
dq.source @wv : tensor<128x256xf16> in 0 at 0 bytes 65536
dq.source @wo : tensor<256x256x!q> in 0 at 0 bytes 45056
dq.source @g : tensor<256xf32> in 0 at 0 bytes 1024
func.func @step(%ids: tensor<?xi32> {lm.name = "token_ids", lm.size = "tokens"}, %pos: tensor<?xi32> {lm.name = "positions", lm.size = "tokens"}, %cache: !lm.cache<layers = 1, kv_heads = 2, head_dim = 64>, %rows: tensor<?xi32> {lm.name = "output_rows", lm.size = "outputs"}) -> (tensor<?x100xf32> {lm.name = "logits"}) {
  %emb = dq.weight @emb : tensor<100x256x!q>
  %embf = dq.dequantize %emb : tensor<100x256x!q> -> tensor<100x256xf32>
  %x = lm.embedding %ids, %embf : tensor<?xi32>, tensor<100x256xf32> -> tensor<?x256xf32>
  %g = dq.weight @g : tensor<256xf32>
  %h = lm.rms_norm %x, %g {eps = 1.0e-6 : f32} : tensor<?x256xf32>, tensor<256xf32> -> tensor<?x256xf32>
  %a = lm.rotary_angles %pos {theta = 1.0e6 : f64} : tensor<?xi32> -> tensor<?x64xf32>
  %wq = dq.weight @wq : tensor<256x256x!k4>
  %wqf = dq.dequantize %wq : tensor<256x256x!k4> -> tensor<256x256xf32>
  %q = lm.linear %h, %wqf bias(%g : tensor<256xf32>) : tensor<?x256xf32>, tensor<256x256xf32> -> tensor<?x256xf32>
  %wk = dq.weight @wk : tensor<128x256x!q>
  %wkf = dq.dequantize %wk : tensor<128x256x!q> -> tensor<128x256xf32>
  %k = lm.linear %h, %wkf : tensor<?x256xf32>, tensor<128x256xf32> -> tensor<?x128xf32>
  %wv = dq.weight @wv : tensor<128x256xf16>
  %v = lm.linear %h, %wv : tensor<?x256xf32>, tensor<128x256xf16> -> tensor<?x128xf32>
  %qr = lm.rotary half %q, %a : tensor<?x256xf32>, tensor<?x64xf32>
  %kr = lm.rotary half %k, %a : tensor<?x128xf32>, tensor<?x64xf32>
  %o = lm.attention %qr, %kr, %v at %pos in %cache {layer = 0, scale = 0.125 : f32} : tensor<?x256xf32>, tensor<?x128xf32>, tensor<?xi32>, !lm.cache<layers = 1, kv_heads = 2, head_dim = 64>
  %wo = dq.weight @wo : tensor<256x256x!q>
  %wof = dq.dequantize %wo : tensor<256x256x!q> -> tensor<256x256xf32>
  %p = lm.linear %o, %wof : tensor<?x256xf32>, tensor<256x256xf32> -> tensor<?x256xf32>
  %y = arith.addf %x, %p : tensor<?x256xf32>
  %last = lm.gather_rows %y, %rows : tensor<?x256xf32>, tensor<?xi32> -> tensor<?x256xf32>
  %l = lm.linear %last, %embf : tensor<?x256xf32>, tensor<100x256xf32> -> tensor<?x100xf32>
  return %l : tensor<?x100xf32>
}

// RUN: quern-opt %s -split-input-file --dq-pack-weights=gpu --gpu-group-ops --lm-plan-memory=gpu \
// RUN:   --gpu-lower-to-launches -verify-diagnostics

func.func @product(%ids: tensor<?xi32> {lm.size = "tokens"}, %t: tensor<10x64xf32>) {
  %0 = lm.embedding %ids, %t : tensor<?xi32>, tensor<10x64xf32> -> tensor<?x64xf32>
  // expected-error @+1 {{'arith.mulf' op has no GPU kernel; compile for CPU targets only (--target cpu)}}
  %1 = arith.mulf %0, %0 : tensor<?x64xf32>
  return
}

// -----

func.func @swiglu(%ids: tensor<?xi32> {lm.size = "tokens"}, %t: tensor<10x64xf32>) {
  %0 = lm.embedding %ids, %t : tensor<?xi32>, tensor<10x64xf32> -> tensor<?x64xf32>
  // expected-error @+1 {{'lm.swiglu' op has a GPU kernel for rows of f32 only, got 'tensor<?x64xbf16>'}}
  %1 = lm.swiglu %0, %0 : tensor<?x64xf32> -> tensor<?x64xbf16>
  return
}

// -----

func.func @angles(%positions: tensor<?xi32> {lm.size = "tokens"}) {
  // expected-error @+1 {{has no table of angles; run gpu-make-rotary-tables first}}
  %a = lm.rotary_angles %positions {theta = 1.0e4 : f64} : tensor<?xi32> -> tensor<?x32xf32>
  return
}

// -----

dq.source @w : tensor<64x64xf32> in 0 at 0 bytes 16384
func.func @attention(%ids: tensor<?xi32> {lm.size = "tokens"},
                     %cache: !lm.cache<layers = 1, kv_heads = 2, head_dim = 32>) {
  %w = dq.weight @w : tensor<64x64xf32>
  %x = lm.embedding %ids, %w : tensor<?xi32>, tensor<64x64xf32> -> tensor<?x64xf32>
  // expected-error @+1 {{attention has a GPU kernel only where queries and keys are rotated alike}}
  %o = lm.attention %x, %x, %x at %ids in %cache {layer = 0, scale = 0.125 : f32}
    : tensor<?x64xf32>, tensor<?x64xf32>, tensor<?xi32>, !lm.cache<layers = 1, kv_heads = 2, head_dim = 32>
  return
}

// -----

dq.source @w : tensor<64x30xf32> in 0 at 0 bytes 7680
func.func @width(%ids: tensor<?xi32> {lm.size = "tokens"}) {
  %w = dq.weight @w : tensor<64x30xf32>
  %x = lm.embedding %ids, %w : tensor<?xi32>, tensor<64x30xf32> -> tensor<?x30xf32>
  // expected-error @+1 {{has no GPU kernel: rows of 30 f32 numbers: expected a multiple of 4}}
  %y = dq.matmul %x, [%w] : tensor<?x30xf32>, [tensor<64x30xf32>] -> tensor<?x64xf32>
  return
}

// -----

!rows = tensor<?x64xf32>
dq.source @w : tensor<64x64xf32> in 0 at 0 bytes 16384
dq.source @head : tensor<32xf32> in 0 at 16384 bytes 128
func.func @apart(%ids: tensor<?xi32> {lm.size = "tokens"}, %cache: !lm.cache<layers = 1, kv_heads = 2, head_dim = 32>) {
  %w = dq.weight @w : tensor<64x64xf32>
  %head = dq.weight @head : tensor<32xf32>
  %x = lm.embedding %ids, %w : tensor<?xi32>, tensor<64x64xf32> -> !rows
  %a = lm.rotary_angles %ids {gpu.rotary_table = @w, theta = 1.0e4 : f64} : tensor<?xi32> -> tensor<?x32xf32>
  %n = lm.rms_norm %x, %head {eps = 1.0e-6 : f32} : !rows, tensor<32xf32> -> !rows
  %v = dq.matmul %x, [%w] : !rows, [tensor<64x64xf32>] -> !rows
  %q = lm.rotary half %n, %a : !rows, tensor<?x32xf32>
  %k = lm.rotary half %x, %a : !rows, tensor<?x32xf32>
  // expected-error @+1 {{only where it follows the norms and rotations of its queries and keys, with no other op}}
  %o = lm.attention %q, %k, %v at %ids in %cache {layer = 0, scale = 0.125 : f32}
    : !rows, !rows, tensor<?xi32>, !lm.cache<layers = 1, kv_heads = 2, head_dim = 32>
  return
}

// -----

!wide = tensor<?x160xf32>
dq.source @table : tensor<8x160xf32> in 0 at 0 bytes 5120
func.func @steps(%ids: tensor<?xi32> {lm.size = "tokens"},
                 %cache: !lm.cache<layers = 1, kv_heads = 1, head_dim = 160>) {
  %t = dq.weight @table : tensor<8x160xf32>
  %x = lm.embedding %ids, %t : tensor<?xi32>, tensor<8x160xf32> -> !wide
  %a = lm.rotary_angles %ids {gpu.rotary_table = @table, theta = 1.0e4 : f64} : tensor<?xi32> -> !wide
  %q = lm.rotary half %x, %a : !wide, !wide
  %k = lm.rotary half %x, %a : !wide, !wide
  // expected-warning @+1 {{has no GPU kernel for more than 8 tokens at once, so that prompts are read in steps of so}}
  %o = lm.attention %q, %k, %x at %ids in %cache {layer = 0, scale = 0.125 : f32}
    : !wide, !wide, tensor<?xi32>, !lm.cache<layers = 1, kv_heads = 1, head_dim = 160>
  return
}

// One refusal for each constraint of LMOps.td, by its id.
// RUN: quern-opt %s -split-input-file -verify-diagnostics

// E1
func.func @embedding_width(%ids: tensor<?xi32>, %w: tensor<10x8xf32>) {
  // expected-error @+1 {{expected a result width (E1) of 8, got 9}}
  %0 = lm.embedding %ids, %w : tensor<?xi32>, tensor<10x8xf32> -> tensor<?x9xf32>
  return
}

// -----

// E2
func.func @embedding_rows(%ids: tensor<3xi32>, %w: tensor<10x8xf32>) {
  // expected-error @+1 {{expected a number of result rows (E2) of 3, got 4}}
  %0 = lm.embedding %ids, %w : tensor<3xi32>, tensor<10x8xf32> -> tensor<4x8xf32>
  return
}

// -----

// L1
func.func @linear_inputs(%x: tensor<?x8xf32>, %w: tensor<10x9xf32>) {
  // expected-error @+1 {{expected a weight width K (L1) of 8, got 9}}
  %0 = lm.linear %x, %w : tensor<?x8xf32>, tensor<10x9xf32> -> tensor<?x10xf32>
  return
}

// -----

// L2
func.func @linear_outputs(%x: tensor<?x8xf32>, %w: tensor<10x8xf32>) {
  // expected-error @+1 {{expected a result width N (L2) of 10, got 11}}
  %0 = lm.linear %x, %w : tensor<?x8xf32>, tensor<10x8xf32> -> tensor<?x11xf32>
  return
}

// -----

// L2
func.func @linear_rows(%x: tensor<2x8xf32>, %w: tensor<10x8xf32>) {
  // expected-error @+1 {{expected a number of result rows (L2) of 2, got}}
  %0 = lm.linear %x, %w : tensor<2x8xf32>, tensor<10x8xf32> -> tensor<?x10xf32>
  return
}

// -----

// L3
func.func @linear_bias(%x: tensor<?x8xf32>, %w: tensor<10x8xf32>, %b: tensor<8xf32>) {
  // expected-error @+1 {{expected a bias length (L3) of 10, got 8}}
  %0 = lm.linear %x, %w bias(%b : tensor<8xf32>) : tensor<?x8xf32>, tensor<10x8xf32> -> tensor<?x10xf32>
  return
}

// -----

// R1
func.func @norm_gain(%x: tensor<?x8xf32>, %g: tensor<9xf32>) {
  // expected-error @+1 {{expected a gain length that divides the row's (R1) 8, got 9}}
  %0 = lm.rms_norm %x, %g {eps = 1.0e-6 : f32} : tensor<?x8xf32>, tensor<9xf32> -> tensor<?x8xf32>
  return
}

// -----

// R2
func.func @norm_shape(%x: tensor<?x8xf32>, %g: tensor<8xf32>) {
  // expected-error @+1 {{expected a result width (R2) of 8, got 7}}
  %0 = lm.rms_norm %x, %g {eps = 1.0e-6 : f32} : tensor<?x8xf32>, tensor<8xf32> -> tensor<?x7xf32>
  return
}

// -----

// R3
func.func @norm_eps(%x: tensor<?x8xf32>, %g: tensor<8xf32>) {
  // expected-error @+1 {{expected a positive eps (R3)}}
  %0 = lm.rms_norm %x, %g {eps = 0.0 : f32} : tensor<?x8xf32>, tensor<8xf32> -> tensor<?x8xf32>
  return
}

// -----

// R4
func.func @head_norm_elements(%x: tensor<?x64xf32>, %g: tensor<32xf32>) {
  // expected-error @+1 {{expected result elements f32 where heads are normalized (R4), got 'bf16'}}
  %0 = lm.rms_norm %x, %g {eps = 1.0e-6 : f32} : tensor<?x64xf32>, tensor<32xf32> -> tensor<?x64xbf16>
  return
}

// -----

// R4
func.func @norm_elements(%x: tensor<?x8xf32>, %g: tensor<8xf32>) {
  // expected-error @+1 {{expected result elements f32, bf16 or !dq.act8 (R4), got 'f16'}}
  %0 = lm.rms_norm %x, %g {eps = 1.0e-6 : f32} : tensor<?x8xf32>, tensor<8xf32> -> tensor<?x8xf16>
  return
}

// -----

// A1
func.func @angles_odd(%p: tensor<?xi32>) {
  // expected-error @+1 {{expected an even head size (A1), got 7}}
  %0 = lm.rotary_angles %p {theta = 1.0e4 : f64} : tensor<?xi32> -> tensor<?x7xf32>
  return
}

// -----

// A2
func.func @angles_theta(%p: tensor<?xi32>) {
  // expected-error @+1 {{expected a positive theta (A2)}}
  %0 = lm.rotary_angles %p {theta = -1.0 : f64} : tensor<?xi32> -> tensor<?x8xf32>
  return
}

// -----

// A3
func.func @angles_factors(%p: tensor<?xi32>, %f: tensor<8xf32>) {
  // expected-error @+1 {{expected a number of factors (A3) of 4, got 8}}
  %0 = lm.rotary_angles %p factors(%f : tensor<8xf32>) {theta = 1.0e4 : f64} : tensor<?xi32> -> tensor<?x8xf32>
  return
}

// -----

// O1
func.func @rotary_heads(%x: tensor<?x12xf32>, %a: tensor<?x8xf32>) {
  // expected-error @+1 {{expected a width that is a multiple of the head size (O1) 8, got 12}}
  %0 = lm.rotary half %x, %a : tensor<?x12xf32>, tensor<?x8xf32>
  return
}

// -----

// O2
func.func @rotary_type(%x: tensor<?x8xf32>, %a: tensor<?x8xf32>) {
  // expected-error @+1 {{failed to verify that all of {x, out} have same type}}
  %0 = "lm.rotary"(%x, %a) {style = #lm<rotary_style half>} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x16xf32>
  return
}

// -----

// T1
func.func @attention_key(%q: tensor<?x16xf32>, %k: tensor<?x4xf32>, %p: tensor<?xi32>, %c: !lm.cache<layers = 2, kv_heads = 2, head_dim = 4>) {
  // expected-error @+1 {{expected a key width (T1) of 8, got 4}}
  %0 = lm.attention %q, %k, %k at %p in %c {layer = 0, scale = 0.5 : f32} : tensor<?x16xf32>, tensor<?x4xf32>, tensor<?xi32>, !lm.cache<layers = 2, kv_heads = 2, head_dim = 4>
  return
}

// -----

// T2
func.func @attention_heads(%q: tensor<?x12xf32>, %k: tensor<?x8xf32>, %p: tensor<?xi32>, %c: !lm.cache<layers = 2, kv_heads = 2, head_dim = 4>) {
  // expected-error @+1 {{expected a query width that is a multiple of the key width (T2) 8, got 12}}
  %0 = lm.attention %q, %k, %k at %p in %c {layer = 0, scale = 0.5 : f32} : tensor<?x12xf32>, tensor<?x8xf32>, tensor<?xi32>, !lm.cache<layers = 2, kv_heads = 2, head_dim = 4>
  return
}

// -----

// T3
func.func @attention_layer(%q: tensor<?x16xf32>, %k: tensor<?x8xf32>, %p: tensor<?xi32>, %c: !lm.cache<layers = 2, kv_heads = 2, head_dim = 4>) {
  // expected-error @+1 {{expected a layer below 2 (T3), got 2}}
  %0 = lm.attention %q, %k, %k at %p in %c {layer = 2, scale = 0.5 : f32} : tensor<?x16xf32>, tensor<?x8xf32>, tensor<?xi32>, !lm.cache<layers = 2, kv_heads = 2, head_dim = 4>
  return
}

// -----

// S1
func.func @swiglu_shape(%g: tensor<?x8xf32>) {
  // expected-error @+1 {{expected a result width (S1) of 8, got 9}}
  %0 = lm.swiglu %g, %g : tensor<?x8xf32> -> tensor<?x9xf32>
  return
}

// -----

// S1
func.func @swiglu_operands(%g: tensor<?x8xf32>, %u: tensor<?x9xf32>) {
  // expected-error @+1 {{failed to verify that all of {gate, up} have same type}}
  %0 = "lm.swiglu"(%g, %u) : (tensor<?x8xf32>, tensor<?x9xf32>) -> tensor<?x8xf32>
  return
}

// -----

// G1
func.func @gather_width(%x: tensor<?x8xf32>, %r: tensor<?xi32>) {
  // expected-error @+1 {{expected a result width (G1) of 8, got 9}}
  %0 = lm.gather_rows %x, %r : tensor<?x8xf32>, tensor<?xi32> -> tensor<?x9xf32>
  return
}

// -----

// A cache has at least one of each.
// expected-error @+1 {{expected at least one layer, key-value head and element a head, got layers = 0, kv_heads = 2, head_dim = 4}}
func.func private @cache(!lm.cache<layers = 0, kv_heads = 2, head_dim = 4>)

// -----

// C1
func.func @gather_width(%x: tensor<?x8xf32>, %c: tensor<7xi32>) {
  // expected-error @+1 {{expected a result width (C1) of 7, got 8}}
  %0 = lm.gather_columns %x, %c : tensor<?x8xf32>, tensor<7xi32> -> tensor<?x8xf32>
  return
}

// -----

// C2
func.func @gather_rows_of_columns(%x: tensor<3x8xf32>, %c: tensor<8xi32>) {
  // expected-error @+1 {{expected a number of result rows (C2) of 3, got 4}}
  %0 = lm.gather_columns %x, %c : tensor<3x8xf32>, tensor<8xi32> -> tensor<4x8xf32>
  return
}

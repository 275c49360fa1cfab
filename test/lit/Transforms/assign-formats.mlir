// RUN: split-file %s %t
// RUN: quern-opt %t/model.mlir --dq-assign-formats=mix=Q4_K_S | FileCheck %s --check-prefix=MIX
// RUN: quern-opt %t/model.mlir --dq-assign-formats=recipe=%t/recipe.json | FileCheck %s --check-prefix=RECIPE
// RUN: quern-opt %t/model.mlir --dq-assign-formats=recipe=%t/floats.json --dq-assign-formats=recipe=%t/floats.json \
// RUN:   | FileCheck %s --check-prefix=SAME
// RUN: quern-opt %t/blocks.mlir '--dq-assign-formats=mix=Q8_0 allow-requantize' | FileCheck %s --check-prefix=AGAIN
// RUN: quern-opt %t/blocks.mlir '--dq-assign-formats=recipe=%t/half.json allow-requantize' \
// RUN:   | FileCheck %s --check-prefix=HALF

// The source says what the weight becomes and what is stored; readers get f32, one dq.dequantize for each reference.
// Where no row of Q4_K fits, another type does; vectors stay.
// MIX: dq.source @token_embd.weight : tensor<4x256x!q6_K> from tensor<4x256xbf16> in 0 at 0 bytes 2048
// MIX-NEXT: dq.source @blk.0.attn_v.weight : tensor<2x256x!q5_K> from tensor<2x256xbf16> in 0 at 2048 bytes 1024
// MIX-NEXT: dq.source @blk.0.attn_v.bias : tensor<2xf32> in 0 at 3072 bytes 8
// MIX-NEXT: dq.source @blk.0.ffn_up.weight : tensor<2x32x!q5_0> from tensor<2x32xf16> in 0 at 3080 bytes 128
// MIX: %[[TABLE:.*]] = dq.weight @token_embd.weight : tensor<4x256x!q6_K>
// MIX-NEXT: %[[WIDE:.*]] = dq.dequantize %[[TABLE]] : tensor<4x256x!q6_K> -> tensor<4x256xf32>
// MIX: lm.embedding {{.*}}, %[[WIDE]]
// MIX: lm.linear {{.*}}, %[[WIDE]]

// RECIPE: dq.source @token_embd.weight : tensor<4x256xbf16> in
// RECIPE: dq.source @blk.0.attn_v.weight : tensor<2x256x!mxfp6_e2m3> from tensor<2x256xbf16>
// RECIPE: dq.source @blk.0.ffn_up.weight : tensor<2x32xf32> from tensor<2x32xf16>
// RECIPE: %[[UP:.*]] = dq.weight @blk.0.ffn_up.weight : tensor<2x32xf32>
// RECIPE-NEXT: lm.linear {{.*}}, %[[UP]] :

// A type that a weight has already changes nothing.
// SAME: dq.source @blk.0.attn_v.weight : tensor<2x256xbf16> in
// SAME-NOT: dq.dequantize

// AGAIN: dq.source @blk.0.ffn_up.weight : tensor<2x32x!q8_0> from tensor<2x32x!q4_0> in 0 at 0 bytes 36
// AGAIN: %[[W:.*]] = dq.weight
// AGAIN-NEXT: dq.dequantize %[[W]] : tensor<2x32x!q8_0> -> tensor<2x32xf32>
// HALF: dq.source @blk.0.ffn_up.weight : tensor<2x32xf16> from tensor<2x32x!q4_0>
// HALF: %[[W:.*]] = dq.weight
// HALF-NOT: dq.dequantize
// HALF: lm.linear {{.*}}, %[[W]]

//--- model.mlir
dq.source @token_embd.weight : tensor<4x256xbf16> in 0 at 0 bytes 2048
dq.source @blk.0.attn_v.weight : tensor<2x256xbf16> in 0 at 2048 bytes 1024
dq.source @blk.0.attn_v.bias : tensor<2xf32> in 0 at 3072 bytes 8
dq.source @blk.0.ffn_up.weight : tensor<2x32xf16> in 0 at 3080 bytes 128
func.func @f(%ids: tensor<?xi32>, %h: tensor<?x32xf32>) -> (tensor<?x4xf32>, tensor<?x2xf32>, tensor<?x2xf32>) {
  %table = dq.weight @token_embd.weight : tensor<4x256xbf16>
  %x = lm.embedding %ids, %table : tensor<?xi32>, tensor<4x256xbf16> -> tensor<?x256xf32>
  %w = dq.weight @blk.0.attn_v.weight : tensor<2x256xbf16>
  %b = dq.weight @blk.0.attn_v.bias : tensor<2xf32>
  %y = lm.linear %x, %w bias(%b : tensor<2xf32>) : tensor<?x256xf32>, tensor<2x256xbf16> -> tensor<?x2xf32>
  %u = dq.weight @blk.0.ffn_up.weight : tensor<2x32xf16>
  %z = lm.linear %h, %u : tensor<?x32xf32>, tensor<2x32xf16> -> tensor<?x2xf32>
  %logits = lm.linear %x, %table : tensor<?x256xf32>, tensor<4x256xbf16> -> tensor<?x4xf32>
  return %logits, %y, %z : tensor<?x4xf32>, tensor<?x2xf32>, tensor<?x2xf32>
}

//--- blocks.mlir
dq.source @blk.0.ffn_up.weight : tensor<2x32x!dq.block<q4_0>> in 0 at 0 bytes 36
func.func @f(%h: tensor<?x32xf32>) -> tensor<?x2xf32> {
  %w = dq.weight @blk.0.ffn_up.weight : tensor<2x32x!dq.block<q4_0>>
  %f = dq.dequantize %w : tensor<2x32x!dq.block<q4_0>> -> tensor<2x32xf32>
  %y = lm.linear %h, %f : tensor<?x32xf32>, tensor<2x32xf32> -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

//--- recipe.json
{"blk.0.attn_v.weight": "MXFP6_E2M3", "blk\\..*ffn.*": "F32"}
//--- floats.json
{"blk.0.attn_v.weight": "BF16"}
//--- half.json
{"blk.0.ffn_up.weight": "F16"}

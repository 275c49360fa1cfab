// RUN: quern-opt %s --gpu-group-ops | FileCheck %s

!q8_0 = !dq.block<q8_0>
!x8 = tensor<?x64x!dq.act8<32>>
dq.source @w : tensor<64x64x!q8_0> in 0 at 0 bytes 4352
dq.source @gain : tensor<64xf32> in 0 at 4352 bytes 256
dq.source @head : tensor<32xf32> in 0 at 4608 bytes 128

// A norm and the matmul that reads it; rotations, attention and the quantization of its result.
// CHECK-LABEL: func.func @attention
func.func @attention(%x: tensor<?x64xf32>, %a: tensor<?x32xf32>, %positions: tensor<?xi32>,
                     %cache: !lm.cache<layers = 1, kv_heads = 2, head_dim = 32>) {
  %w = dq.weight @w : tensor<64x64x!q8_0>
  %gain = dq.weight @gain : tensor<64xf32>
  // CHECK: lm.rms_norm {{.*}}lm.group = 1
  %h = lm.rms_norm %x, %gain {eps = 1.0e-6 : f32} : tensor<?x64xf32>, tensor<64xf32> -> !x8
  // CHECK: dq.matmul {{.*}}lm.group = 1
  %q, %k, %v = dq.matmul %h, [%w, %w, %w] : !x8, [tensor<64x64x!q8_0>, tensor<64x64x!q8_0>, tensor<64x64x!q8_0>]
    -> tensor<?x64xf32>, tensor<?x64xf32>, tensor<?x64xf32>
  // CHECK: lm.rotary {{.*}}lm.group = 2
  %q1 = lm.rotary half %q, %a : tensor<?x64xf32>, tensor<?x32xf32>
  // CHECK: lm.rotary {{.*}}lm.group = 2
  %k1 = lm.rotary half %k, %a : tensor<?x64xf32>, tensor<?x32xf32>
  // CHECK: lm.attention {{.*}}lm.group = 2
  %o = lm.attention %q1, %k1, %v at %positions in %cache {layer = 0, scale = 0.125 : f32}
    : tensor<?x64xf32>, tensor<?x64xf32>, tensor<?xi32>, !lm.cache<layers = 1, kv_heads = 2, head_dim = 32>
  // CHECK: dq.quantize {{.*}}lm.group = 2
  %o8 = dq.quantize %o : tensor<?x64xf32> -> !x8
  // CHECK: dq.matmul {{.*}}lm.group = 3
  %y = dq.matmul %o8, [%w] residual(%x : tensor<?x64xf32>) : !x8, [tensor<64x64x!q8_0>] -> tensor<?x64xf32>
  return
}

// The quantization behind a swiglu joins it, not that of other results; a matmul joins what makes its rows only if
// nothing else stands between.
// CHECK-LABEL: func.func @feed_forward
func.func @feed_forward(%x: tensor<?x64xf32>) {
  %w = dq.weight @w : tensor<64x64x!q8_0>
  %gain = dq.weight @gain : tensor<64xf32>
  // CHECK: lm.rms_norm {{.*}}lm.group = 1
  %h = lm.rms_norm %x, %gain {eps = 1.0e-6 : f32} : tensor<?x64xf32>, tensor<64xf32> -> !x8
  // CHECK: dq.matmul swiglu {{.*}}lm.group = 1
  %g = dq.matmul swiglu %h, [%w, %w] : !x8, [tensor<64x64x!q8_0>, tensor<64x64x!q8_0>] -> tensor<?x64xf32>
  // CHECK: dq.quantize {{.*}}lm.group = 1
  %g8 = dq.quantize %g : tensor<?x64xf32> -> !x8
  // CHECK: dq.matmul {{.*}}lm.group = 2
  %y = dq.matmul %g8, [%w] : !x8, [tensor<64x64x!q8_0>] -> tensor<?x64xf32>
  // CHECK: dq.quantize {{.*}}lm.group = 3
  %y8 = dq.quantize %y : tensor<?x64xf32> -> !x8
  // CHECK: arith.addf {{.*}}lm.group = 4
  %s = arith.addf %y, %x : tensor<?x64xf32>
  // CHECK: dq.matmul {{.*}}lm.group = 5
  %z = dq.matmul %y8, [%w] : !x8, [tensor<64x64x!q8_0>] -> tensor<?x64xf32>
  return
}

// A norm as long as its row is one of heads where there is one head, whose result is rotated only.
!row = tensor<?x32xf32>
// CHECK-LABEL: func.func @one_key_value_head
func.func @one_key_value_head(%x: tensor<?x64xf32>, %k: !row, %v: !row, %a: !row, %positions: tensor<?xi32>,
                              %cache: !lm.cache<layers = 1, kv_heads = 1, head_dim = 32>) {
  %head = dq.weight @head : tensor<32xf32>
  %gain = dq.weight @gain : tensor<64xf32>
  // CHECK: lm.rms_norm {{.*}}lm.group = 1
  %q0 = lm.rms_norm %x, %gain {eps = 1.0e-6 : f32} : tensor<?x64xf32>, tensor<64xf32> -> tensor<?x64xf32>
  // CHECK: lm.rms_norm {{.*}}lm.group = 2
  %q1 = lm.rms_norm %q0, %head {eps = 1.0e-6 : f32} : tensor<?x64xf32>, tensor<32xf32> -> tensor<?x64xf32>
  // CHECK: lm.rms_norm {{.*}}lm.group = 2
  %k1 = lm.rms_norm %k, %head {eps = 1.0e-6 : f32} : !row, tensor<32xf32> -> !row
  // CHECK: lm.rotary {{.*}}lm.group = 2
  %q2 = lm.rotary half %q1, %a : tensor<?x64xf32>, !row
  // CHECK: lm.rotary {{.*}}lm.group = 2
  %k2 = lm.rotary half %k1, %a : !row, !row
  // CHECK: lm.attention {{.*}}lm.group = 2
  %o = lm.attention %q2, %k2, %v at %positions in %cache {layer = 0, scale = 0.125 : f32}
    : tensor<?x64xf32>, !row, tensor<?xi32>, !lm.cache<layers = 1, kv_heads = 1, head_dim = 32>
  return
}

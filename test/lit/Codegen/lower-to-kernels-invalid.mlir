// RUN: quern-opt %s -split-input-file -verify-diagnostics --dq-pack-weights --lm-plan-memory --cpu-lower-to-kernels

func.func @op(%ids: tensor<?xi32> {lm.size = "tokens"}, %t: tensor<8x64xf16>) {
  %0 = lm.embedding %ids, %t : tensor<?xi32>, tensor<8x64xf16> -> tensor<?x64xf32>
  // expected-error @+1 {{this op has no CPU kernel}}
  %1 = arith.mulf %0, %0 : tensor<?x64xf32>
  return
}

// -----

!cache = !lm.cache<layers = 1, kv_heads = 1, head_dim = 24>
func.func @head_size(%ids: tensor<?xi32> {lm.size = "tokens"}, %p: tensor<?xi32> {lm.size = "tokens"}, %c: !cache, %t: tensor<8x24xf16>) {
  %0 = lm.embedding %ids, %t : tensor<?xi32>, tensor<8x24xf16> -> tensor<?x24xf32>
  // expected-error @+1 {{the head size 24 is not a multiple of 16, which kernels need}}
  %1 = lm.attention %0, %0, %0 at %p in %c {layer = 0, scale = 0.5 : f32} : tensor<?x24xf32>, tensor<?x24xf32>, tensor<?xi32>, !cache
  return
}

// -----

func.func @head_norm(%ids: tensor<?xi32> {lm.size = "tokens"}, %t: tensor<8x48xf16>, %g: tensor<24xf32>) {
  %0 = lm.embedding %ids, %t : tensor<?xi32>, tensor<8x48xf16> -> tensor<?x48xf32>
  // expected-error @+1 {{heads of 24 elements have no norm; multiples of 16 have}}
  %1 = lm.rms_norm %0, %g {eps = 1.0e-6 : f32} : tensor<?x48xf32>, tensor<24xf32> -> tensor<?x48xf32>
  return
}

// -----

func.func @two_epilogues(%ids: tensor<?xi32> {lm.size = "tokens"}, %w: tensor<64x64xf16>, %b: tensor<64xf32>) {
  %0 = lm.embedding %ids, %w : tensor<?xi32>, tensor<64x64xf16> -> tensor<?x64xf32>
  // expected-error @+1 {{a bias and a residual in one matmul have no kernel}}
  %1 = dq.matmul %0, [%w] bias(%b) residual(%0 : tensor<?x64xf32>) : tensor<?x64xf32>, [tensor<64x64xf16>], (tensor<64xf32>) -> tensor<?x64xf32>
  return
}

// -----

func.func @result(%ids: tensor<?xi32> {lm.size = "tokens"}, %t: tensor<8x64xf16>) -> tensor<?x64xf32> {
  %0 = lm.embedding %ids, %t : tensor<?xi32>, tensor<8x64xf16> -> tensor<?x64xf32>
  // expected-error @+1 {{a result that is not written by a matmul has no place in the driver's buffers}}
  return %0 : tensor<?x64xf32>
}

// -----

// expected-error @+1 {{argument 1 is a matrix of rows, which has no place in the arena}}
func.func @rows_as_argument(%ids: tensor<?xi32> {lm.size = "tokens"}, %x: tensor<?x64xf32> {lm.size = "tokens"}, %w: tensor<64x64xf16>) {
  %0 = dq.matmul %x, [%w] : tensor<?x64xf32>, [tensor<64x64xf16>] -> tensor<?x64xf32>
  return
}

// -----

func.func @quantized_gate(%ids: tensor<?xi32> {lm.size = "tokens"}, %t: tensor<8x64xf16>) {
  %0 = lm.embedding %ids, %t : tensor<?xi32>, tensor<8x64xf16> -> tensor<?x64xf32>
  // expected-error @+1 {{quantized results of swiglu have no kernel}}
  %1 = lm.swiglu %0, %0 : tensor<?x64xf32> -> tensor<?x64x!dq.act8<32>>
  return
}

// -----

!q8_0 = !dq.block<q8_0>
func.func @no_sums(%ids: tensor<?xi32> {lm.size = "tokens"}, %t: tensor<8x64xf16>, %w: tensor<16x64x!q8_0>) {
  %0 = lm.embedding %ids, %t : tensor<?xi32>, tensor<8x64xf16> -> tensor<?x64xf32>
  %1 = dq.quantize %0 : tensor<?x64xf32> -> tensor<?x64x!dq.act8<row>>
  // expected-error @+1 {{weight 0 has no sums of its rows; run dq-pack-weights first}}
  %2 = dq.matmul %1, [%w] : tensor<?x64x!dq.act8<row>>, [tensor<16x64x!q8_0>] -> tensor<?x16xf32>
  return
}

// -----

func.func @dequantize_groups(%ids: tensor<?xi32> {lm.size = "tokens"}, %t: tensor<8x64xf16>) {
  %0 = lm.embedding %ids, %t : tensor<?xi32>, tensor<8x64xf16> -> tensor<?x64xf32>
  %1 = dq.quantize %0 : tensor<?x64xf32> -> tensor<?x64x!dq.act8<32>>
  // expected-error @+1 {{has no CPU kernel: only rows of !dq.act8<row> are dequantized at run time}}
  %2 = dq.dequantize %1 : tensor<?x64x!dq.act8<32>> -> tensor<?x64xf32>
  return
}

// RUN: quern-opt --gpu-outline-kernels -split-input-file -verify-diagnostics %s

func.func @dynamic(%x: tensor<?x512xf32>) -> tensor<?x512x!dq.act8<32>> {
  // expected-error @+1 {{has no GPU kernel yet: expected 1 to 8 rows of activations, known when compiling}}
  %0 = dq.quantize %x : tensor<?x512xf32> -> tensor<?x512x!dq.act8<32>>
  return %0 : tensor<?x512x!dq.act8<32>>
}

// -----

dq.source @w : tensor<64x516xf16> in 0 at 0 bytes 66048
func.func @float(%x: tensor<1x516xf32>) -> tensor<1x64xf32> {
  %w = dq.weight @w : tensor<64x516xf16>
  // expected-error @+1 {{has no GPU kernel: rows of 516 f16 numbers: expected a multiple of 8}}
  %0 = dq.matmul %x, [%w] : tensor<1x516xf32>, [tensor<64x516xf16>] -> tensor<1x64xf32>
  return %0 : tensor<1x64xf32>
}

// -----

func.func @bfloat(%x: tensor<1x512xf32>) -> tensor<1x512xbf16> {
  // expected-error @+1 {{has no GPU kernel yet: expected rows of !dq.act8<32>, got 'tensor<1x512xbf16>'}}
  %0 = dq.quantize %x : tensor<1x512xf32> -> tensor<1x512xbf16>
  return %0 : tensor<1x512xbf16>
}

// -----

func.func @groups(%x: tensor<1x512xf32>) -> tensor<1x512x!dq.act8<64>> {
  // expected-error @+1 {{has no GPU kernel yet: expected rows of !dq.act8<32>, got 'tensor<1x512x!dq.act8<64>>'}}
  %0 = dq.quantize %x : tensor<1x512xf32> -> tensor<1x512x!dq.act8<64>>
  return %0 : tensor<1x512x!dq.act8<64>>
}

// -----

!q8_0 = !dq.block<q8_0>
dq.source @w : tensor<64x512x!q8_0> in 0 at 0 bytes 34816
func.func @groups_of_matmul(%x: tensor<1x512x!dq.act8<64>>) -> tensor<1x64xf32> {
  %w = dq.weight @w : tensor<64x512x!q8_0>
  // expected-error @+1 {{has no GPU kernel yet: expected rows of !dq.act8<32>, got 'tensor<1x512x!dq.act8<64>>'}}
  %0 = dq.matmul %x, [%w] : tensor<1x512x!dq.act8<64>>, [tensor<64x512x!q8_0>] -> tensor<1x64xf32>
  return %0 : tensor<1x64xf32>
}

// -----

dq.source @w : tensor<64x512xf32> in 0 at 0 bytes 131072
func.func @floats_of_a_prompt(%x: tensor<?x512xf32>) -> tensor<?x64xf32> {
  %w = dq.weight @w : tensor<64x512xf32>
  // expected-error @+1 {{has no GPU kernel: format f32 with more than 8 rows of activations}}
  %0 = dq.matmul %x, [%w] : tensor<?x512xf32>, [tensor<64x512xf32>] -> tensor<?x64xf32>
  return %0 : tensor<?x64xf32>
}

// RUN: quern-opt %s --dq-convert-quant --split-input-file | FileCheck %s
// RUN: quern-opt %s --dq-convert-quant --dq-fuse-dequant-matmul --dq-pack-weights --split-input-file | FileCheck %s --check-prefix=PACKED

// Sub-channel scales of two rows by 32 columns, all f16 numbers; differences from -97 to 93 need bytes. Block (0, 1)
// begins with 0.25 (f16 0x3400) and 3 - -90 = 93 (0x5d). The constant is gone, the weight has its location's name.
// CHECK: !i8_f16 = !dq.block<#dq.format<i8_f16, block = 32, bytes = 34, group = 32, codes = signed [8 bits at i + 2], scale = f16 at 0>>
// CHECK: dq.source @fc.weight : tensor<4x64x!i8_f16> data dense_resource<fc.weight> : tensor<272xi8>
// CHECK-LABEL: func.func @sub_channel
// CHECK-NOT: arith.constant
// CHECK-NOT: quant
// CHECK: %[[W:.*]] = dq.weight @fc.weight : tensor<4x64x!i8_f16>
// CHECK: %[[F:.*]] = dq.dequantize %[[W]] : tensor<4x64x!i8_f16> -> tensor<4x64xf32>
// CHECK: lm.linear %{{.*}}, %[[F]]
// CHECK: fc.weight: "0x40000000003802020202{{(02)*}}00345D5D
// PACKED: dq.source @fc.weight {{.*}}dq.packed_bytes = 1088
// PACKED: dq.matmul
func.func @sub_channel(%x: tensor<?x64xf32>) -> tensor<?x4xf32> {
  %c = arith.constant dense<3> : tensor<4x64xi8> loc("fc.weight")
  %q = quant.scast %c : tensor<4x64xi8> to tensor<4x64x!quant.uniform<i8:f32:{0:2,1:32}, {{0.5:1, 0.25:-90}, {0.125:3, 0.75:100}}>>
  %f = quant.dcast %q : tensor<4x64x!quant.uniform<i8:f32:{0:2,1:32}, {{0.5:1, 0.25:-90}, {0.125:3, 0.75:100}}>> to tensor<4x64xf32>
  %y = lm.linear %x, %f : tensor<?x64xf32>, tensor<4x64xf32> -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

// One scale, which no f16 number equals; unsigned 4-bit codes 15 less 8 take four bits. Two readers share the weight.
// CHECK: #dq.format<i4_f32, block = 32, bytes = 20, group = 32, codes = [4 bits at i mod 16 + 4 shift (i floordiv 16) * 4] less 8, scale = f32 at 0>
// CHECK: dq.source @quantized : tensor<2x32x!i4_f32> data dense_resource<quantized{{[_0-9]*}}> : tensor<40xi8>
// CHECK-NEXT: func.func @per_tensor
// CHECK: dq.weight @quantized
// CHECK: dq.weight @quantized
// PACKED: dq.source @quantized {{.*}}dq.packed_bytes = 640
func.func @per_tensor() -> (tensor<2x32xf32>, tensor<2x32xf32>) {
  %c = arith.constant dense<15> : tensor<2x32xi4>
  %q = quant.scast %c : tensor<2x32xi4> to tensor<2x32x!quant.uniform<u4:f32, 0.1:8>>
  %f = quant.dcast %q : tensor<2x32x!quant.uniform<u4:f32, 0.1:8>> to tensor<2x32xf32>
  %g = quant.dcast %q : tensor<2x32x!quant.uniform<u4:f32, 0.1:8>> to tensor<2x32xf32>
  return %f, %g : tensor<2x32xf32>, tensor<2x32xf32>
}

// -----

// Zero points by row: differences 5 - -10 and 5 - 20 need five bits.
// CHECK: #dq.format<i5_f16, block = 32, bytes = 22, group = 32, codes = [4 bits at i mod 16 + 6 shift (i floordiv 16) * 4, 1 bits at i floordiv 8 + 2 shift i mod 8] less 16, scale = f16 at 0>
func.func @per_axis() -> tensor<2x32xf32> {
  %c = arith.constant dense<5> : tensor<2x32xi8>
  %q = quant.scast %c : tensor<2x32xi8> to tensor<2x32x!quant.uniform<i8:f32:0, {0.5:-10, 0.25:20}>>
  %f = quant.dcast %q : tensor<2x32x!quant.uniform<i8:f32:0, {0.5:-10, 0.25:20}>> to tensor<2x32xf32>
  return %f : tensor<2x32xf32>
}

// -----

// Less 5, four-bit codes are -5 to 10: a table of the sixteen from there on.
// CHECK: #dq.format<t4_123_f16, block = 32, bytes = 18, group = 32, {{.*}}, table = [-5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], scale = f16 at 0>
func.func @shifted() -> tensor<1x32xf32> {
  %c = arith.constant dense<[[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]]> : tensor<1x32xi8>
  %q = quant.scast %c : tensor<1x32xi8> to tensor<1x32x!quant.uniform<u8:f32, 0.5:5>>
  %f = quant.dcast %q : tensor<1x32x!quant.uniform<u8:f32, 0.5:5>> to tensor<1x32xf32>
  return %f : tensor<1x32xf32>
}

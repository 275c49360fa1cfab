// RUN: quern-opt %s --dq-lint-matmuls 2>&1 | FileCheck %s
// RUN: not quern-opt %s --dq-lint-matmuls=forbid=true 2>&1 | FileCheck %s --check-prefix=FORBID
// RUN: quern-opt %s --dq-fuse-dequant-matmul --dq-lint-matmuls=forbid=true 2>&1 | FileCheck %s --check-prefix=FUSED

// A quantized weight multiplied as floats is named with its format, f16 and what fusion has repaired are not.
!q4_0 = !dq.block<q4_0>
dq.source @w : tensor<64x64x!q4_0> in 0 at 0 bytes 2304
dq.source @h : tensor<64x64xf16> in 0 at 2304 bytes 8192
// CHECK: lint-matmuls.mlir:[[#@LINE+7]]:{{.*}}: warning: slow path: a weight in format q4_0 is dequantized to f32 before it is multiplied
// CHECK-NOT: warning
// FORBID: error: slow path: a weight in format q4_0
// FUSED-NOT: slow path
func.func @f(%x: tensor<?x64xf32> {lm.size = "tokens"}) -> (tensor<?x64xf32>, tensor<?x64xf32>) {
  %w = dq.weight @w : tensor<64x64x!q4_0>
  %f = dq.dequantize %w : tensor<64x64x!q4_0> -> tensor<64x64xf32>
  %0 = lm.linear %x, %f : tensor<?x64xf32>, tensor<64x64xf32> -> tensor<?x64xf32>
  %h = dq.weight @h : tensor<64x64xf16>
  %g = dq.dequantize %h : tensor<64x64xf16> -> tensor<64x64xf32>
  %1 = lm.linear %0, %g : tensor<?x64xf32>, tensor<64x64xf32> -> tensor<?x64xf32>
  return %0, %1 : tensor<?x64xf32>, tensor<?x64xf32>
}

// RUN: quern-opt %s -split-input-file -verify-diagnostics --dq-pack-weights | FileCheck %s

// An explicit relayout to what packing gives folds away, as does a chain of them.
!q8_0 = !dq.block<q8_0>
dq.source @w : tensor<16x64x!q8_0> in 0 at 0 bytes 1088
// CHECK-LABEL: func.func @folds
func.func @folds(%x: tensor<?x64x!dq.act8<32>>) -> tensor<?x16xf32> {
  // CHECK: %[[W:.*]] = dq.weight @w : tensor<16x64x!q8_0{{.*}}, #dq.panels<rows = 16>>
  %w = dq.weight @w : tensor<16x64x!q8_0>
  // CHECK-NOT: dq.relayout
  %p = dq.relayout %w : tensor<16x64x!q8_0> -> tensor<16x64x!q8_0, #dq.panels<rows = 16>>
  %q = dq.relayout %p : tensor<16x64x!q8_0, #dq.panels<rows = 16>> -> tensor<16x64x!q8_0, #dq.panels<rows = 16>>
  // CHECK: dq.matmul %{{.*}}, [%[[W]]]
  %y = dq.matmul %x, [%q] : tensor<?x64x!dq.act8<32>>, [tensor<16x64x!q8_0, #dq.panels<rows = 16>>] -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}

// -----

dq.source @w : tensor<16x64xf16> in 0 at 0 bytes 2048
func.func @other_rows() {
  %w = dq.weight @w : tensor<16x64xf16>
  // expected-error @+1 {{'dq.relayout' op asks for 'tensor<16x64xf16, #dq.panels<rows = 8>>', but packing gives 'tensor<16x64xf16, #dq.panels<rows = 16>>'}}
  %p = dq.relayout %w : tensor<16x64xf16> -> tensor<16x64xf16, #dq.panels<rows = 8>>
  return
}

// -----

dq.source @g : tensor<64xf32> in 0 at 0 bytes 256
func.func @vector() {
  %g = dq.weight @g : tensor<64xf32>
  // expected-error @+1 {{'dq.relayout' op asks for 'tensor<64xf32, #dq.panels<rows = 16>>', but packing gives 'tensor<64xf32>'}}
  %p = dq.relayout %g : tensor<64xf32> -> tensor<64xf32, #dq.panels<rows = 16>>
  return
}

// -----

func.func @no_weight(%w: tensor<16x64xf16>) {
  // expected-error @+1 {{'dq.relayout' op cannot be packed: its operand is no dq.weight}}
  %p = dq.relayout %w : tensor<16x64xf16> -> tensor<16x64xf16, #dq.panels<rows = 16>>
  return
}

// -----

dq.source @w : tensor<16x64xf16> in 0 at 0 bytes 2048
func.func @reference() {
  // expected-error @+1 {{'dq.weight' op asks for 'tensor<16x64xf16, #dq.panels<rows = 8>>', but packing gives 'tensor<16x64xf16, #dq.panels<rows = 16>>'}}
  %w = dq.weight @w : tensor<16x64xf16, #dq.panels<rows = 8>>
  return
}

// A relayout to the layout that is there already folds away; another stays.
// RUN: quern-opt %s --canonicalize | FileCheck %s

// CHECK-LABEL: func.func @same
func.func @same(%w: tensor<16x64xf16, #dq.panels<rows = 16>>) -> tensor<16x64xf16, #dq.panels<rows = 16>> {
  // CHECK-NOT: dq.relayout
  %0 = dq.relayout %w : tensor<16x64xf16, #dq.panels<rows = 16>> -> tensor<16x64xf16, #dq.panels<rows = 16>>
  return %0 : tensor<16x64xf16, #dq.panels<rows = 16>>
}

// CHECK-LABEL: func.func @other
func.func @other(%w: tensor<16x64xf16>) -> tensor<16x64xf16, #dq.panels<rows = 16>> {
  // CHECK: dq.relayout
  %0 = dq.relayout %w : tensor<16x64xf16> -> tensor<16x64xf16, #dq.panels<rows = 16>>
  return %0 : tensor<16x64xf16, #dq.panels<rows = 16>>
}

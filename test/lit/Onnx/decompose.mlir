// RUN: quern-opt %s --onnx-decompose --mlir-print-debuginfo | FileCheck %s

// CHECK-LABEL: func.func @skip(
// CHECK-SAME: %[[X:.*]]: tensor<?x2xf32> {{.*}}, %[[SKIP:.*]]: tensor<?x2xf32>
// CHECK: %[[BIASED:.*]] = onnx.node "Add"(%[[SKIP]], %[[BIAS:.*]]) to ["h (biased)"] part of "SkipSimplifiedLayerNormalization" {{.*}} loc(#[[NODE:.*]])
// CHECK: %[[SUM:.*]] = onnx.node "Add"(%[[X]], %[[BIASED]]) to ["sum"] part of {{.*}} loc(#[[NODE]])
// CHECK: %[[H:.*]] = onnx.node "SimplifiedLayerNormalization"(%[[SUM]], %{{.*}}) {epsilon = 9.99999996E-13 : f32} to ["h"] part of {{.*}} loc(#[[NODE]])
// CHECK: return %[[H]], %[[SUM]]
func.func @skip(%x: tensor<?x2xf32> {onnx.name = "x"}, %s: tensor<?x2xf32> {onnx.name = "s"})
    -> (!onnx.value {onnx.name = "h"}, !onnx.value {onnx.name = "sum"}) {
  %weight = onnx.constant dense<[1.0, 3.0]> : tensor<2xf32>
  %bias = onnx.constant dense<[4.0, 5.0]> : tensor<2xf32>
  %h:4 = onnx.node "SkipSimplifiedLayerNormalization" of "com.microsoft"(%x, %s, %weight, %bias)
    to ["h", "", "", "sum"]
    : (tensor<?x2xf32>, tensor<?x2xf32>, tensor<2xf32>, tensor<2xf32>)
    -> (!onnx.value, !onnx.value, !onnx.value, !onnx.value) loc("skip_norm")
  return %h#0, %h#3 : !onnx.value, !onnx.value
}


// One whose other outputs are used stays whole.
// CHECK-LABEL: func.func @mean(
// CHECK: onnx.node "SkipSimplifiedLayerNormalization" of "com.microsoft"
func.func @mean(%x: tensor<?x2xf32> {onnx.name = "x"}, %s: tensor<?x2xf32> {onnx.name = "s"})
    -> (!onnx.value {onnx.name = "mean"}) {
  %weight = onnx.constant dense<[1.0, 3.0]> : tensor<2xf32>
  %h:2 = onnx.node "SkipSimplifiedLayerNormalization" of "com.microsoft"(%x, %s, %weight) to ["h", "mean"]
    : (tensor<?x2xf32>, tensor<?x2xf32>, tensor<2xf32>) -> (!onnx.value, !onnx.value)
  return %h#1 : !onnx.value
}

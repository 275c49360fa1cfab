// RUN: quern-opt %s --onnx-raise-rms-norm --split-input-file --mlir-print-debuginfo | FileCheck %s

// In pieces, the square by Pow and the root in a division. What nothing else reads is gone.
// CHECK-LABEL: func.func @pieces(
// CHECK-SAME: %[[X:.*]]: tensor<?x?x4xf32>
// CHECK: %[[WEIGHT:.*]] = onnx.constant
// CHECK-NEXT: %[[H:.*]] = onnx.rms_norm %[[X]], %[[WEIGHT]] {epsilon = {{(1.0+|9.99[0-9]*)}}E-{{0?[56]}} : f32} : (tensor<?x?x4xf32>, tensor<4xf32>) -> !onnx.value loc(#[[PART:.*]])
// CHECK-NEXT: return %[[H]]
func.func @pieces(%x: tensor<?x?x4xf32> {onnx.name = "x"}) -> (!onnx.value {onnx.name = "h"}) {
  %weight = onnx.constant dense<[1.0, 2.0, -0.5, 4.0]> : tensor<4xf32>
  %two = onnx.constant dense<2.0> : tensor<f32>
  %axes = onnx.constant dense<-1> : tensor<1xi64>
  %epsilon = onnx.constant dense<1.0e-05> : tensor<f32>
  %squares = onnx.node "Pow"(%x, %two) : (tensor<?x?x4xf32>, tensor<f32>) -> !onnx.value loc("Pow")
  %mean = onnx.node "ReduceMean"(%squares, %axes) : (!onnx.value, tensor<1xi64>) -> !onnx.value loc("Mean")
  %sum = onnx.node "Add"(%mean, %epsilon) : (!onnx.value, tensor<f32>) -> !onnx.value loc("Add")
  %root = onnx.node "Sqrt"(%sum) : (!onnx.value) -> !onnx.value loc("Sqrt")
  %scaled = onnx.node "Div"(%x, %root) : (tensor<?x?x4xf32>, !onnx.value) -> !onnx.value loc("Div")
  %h = onnx.node "Mul"(%weight, %scaled) to ["h"] : (tensor<4xf32>, !onnx.value) -> !onnx.value loc("Mul")
  return %h : !onnx.value
}
// CHECK-DAG: #[[POW:.*]] = loc("Pow")
// CHECK-DAG: #[[MUL:.*]] = loc("Mul")
// CHECK-DAG: #[[NODES:.*]] = loc(fused[#[[POW]], {{.*}}, #[[MUL]]])
// CHECK-DAG: #[[PART]] = loc("h"(#[[NODES]]))

// -----

// One node, with the default epsilon.
// CHECK-LABEL: func.func @whole(
// CHECK: onnx.rms_norm %{{.*}}, %{{.*}} {epsilon = {{(1.0+|9.99[0-9]*)}}E-{{0?[56]}} : f32}
func.func @whole(%x: tensor<?x2xf32> {onnx.name = "x"}) -> (!onnx.value {onnx.name = "h"}) {
  %weight = onnx.constant dense<[1.0, 3.0]> : tensor<2xf32>
  %h = onnx.node "RMSNormalization"(%x, %weight) to ["h"] : (tensor<?x2xf32>, tensor<2xf32>) -> !onnx.value
  return %h : !onnx.value
}

// -----

// The mean is not of squares.
// CHECK-LABEL: func.func @other(
// CHECK-NOT: onnx.rms_norm
func.func @other(%x: tensor<?x?x4xf32> {onnx.name = "x"}) -> (!onnx.value {onnx.name = "h"}) {
  %weight = onnx.constant dense<[1.0, 2.0, -0.5, 4.0]> : tensor<4xf32>
  %axes = onnx.constant dense<-1> : tensor<1xi64>
  %sizes = onnx.node "Abs"(%x) : (tensor<?x?x4xf32>) -> !onnx.value
  %mean = onnx.node "ReduceMean"(%sizes, %axes) : (!onnx.value, tensor<1xi64>) -> !onnx.value
  %scaled = onnx.node "Div"(%x, %mean) : (tensor<?x?x4xf32>, !onnx.value) -> !onnx.value
  %h = onnx.node "Mul"(%weight, %scaled) to ["h"] : (tensor<4xf32>, !onnx.value) -> !onnx.value
  return %h : !onnx.value
}

// -----

// Along which axis the norm goes depends on what it reads, which is not known.
// CHECK-LABEL: func.func @unknown(
// CHECK-NOT: onnx.rms_norm
func.func @unknown(%x: !onnx.value {onnx.name = "x"}) -> (!onnx.value {onnx.name = "h"}) {
  %weight = onnx.constant dense<[1.0, 3.0]> : tensor<2xf32>
  %h = onnx.node "RMSNormalization"(%x, %weight) {axis = 2 : i64} to ["h"] : (!onnx.value, tensor<2xf32>) -> !onnx.value
  return %h : !onnx.value
}

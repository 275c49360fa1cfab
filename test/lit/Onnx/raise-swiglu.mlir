// RUN: quern-opt %s --onnx-raise-swiglu --split-input-file | FileCheck %s

// Two products, up before gate.
// CHECK-LABEL: func.func @pair(
// CHECK: %[[UP:.*]] = onnx.node "MatMul"(%{{.*}}, %{{.*}}) to ["up"]
// CHECK: %[[GATE:.*]] = onnx.node "MatMul"(%{{.*}}, %{{.*}}) to ["gate"]
// CHECK-NEXT: %[[P:.*]] = onnx.swiglu %[[GATE]] at 0, %[[UP]] at 0 width 4 : (!onnx.value, !onnx.value) -> !onnx.value
// CHECK-NEXT: onnx.node "MatMul"(%[[P]], %{{.*}}) to ["y"]
func.func @pair(%x: tensor<?x?x2xf32> {onnx.name = "x"}) -> (!onnx.value {onnx.name = "y"}) {
  %wu = onnx.constant dense<1.0> : tensor<2x4xf32>
  %wg = onnx.constant dense<2.0> : tensor<2x4xf32>
  %wd = onnx.constant dense<3.0> : tensor<4x2xf32>
  %up = onnx.node "MatMul"(%x, %wu) to ["up"] : (tensor<?x?x2xf32>, tensor<2x4xf32>) -> !onnx.value
  %gate = onnx.node "MatMul"(%x, %wg) to ["gate"] : (tensor<?x?x2xf32>, tensor<2x4xf32>) -> !onnx.value
  %s = onnx.node "Sigmoid"(%gate) to ["s"] : (!onnx.value) -> !onnx.value
  %a = onnx.node "Mul"(%gate, %s) to ["a"] : (!onnx.value, !onnx.value) -> !onnx.value
  %p = onnx.node "Mul"(%a, %up) to ["p"] : (!onnx.value, !onnx.value) -> !onnx.value
  %y = onnx.node "MatMul"(%p, %wd) to ["y"] : (!onnx.value, tensor<4x2xf32>) -> !onnx.value
  return %y : !onnx.value
}

// -----

// The halves of one product.
// CHECK-LABEL: func.func @halves(
// CHECK: %[[BOTH:.*]] = onnx.node "MatMul"(%{{.*}}, %{{.*}}) to ["both"]
// CHECK-NEXT: onnx.swiglu %[[BOTH]] at 0, %[[BOTH]] at 4 width 4
func.func @halves(%x: tensor<?x?x2xf32> {onnx.name = "x"}) -> (!onnx.value {onnx.name = "y"}) {
  %w = onnx.constant dense<1.0> : tensor<2x8xf32>
  %wd = onnx.constant dense<3.0> : tensor<4x2xf32>
  %both = onnx.node "MatMul"(%x, %w) to ["both"] : (tensor<?x?x2xf32>, tensor<2x8xf32>) -> !onnx.value
  %gate, %up = onnx.node "Split"(%both) {axis = -1 : i64, num_outputs = 2 : i64} to ["gate", "up"]
    : (!onnx.value) -> (!onnx.value, !onnx.value)
  %a = onnx.node "Swish"(%gate) to ["a"] : (!onnx.value) -> !onnx.value
  %p = onnx.node "Mul"(%up, %a) to ["p"] : (!onnx.value, !onnx.value) -> !onnx.value
  %y = onnx.node "MatMul"(%p, %wd) to ["y"] : (!onnx.value, tensor<4x2xf32>) -> !onnx.value
  return %y : !onnx.value
}

// -----

// Another function than SiLU.
// CHECK-LABEL: func.func @tanh(
// CHECK-NOT: onnx.swiglu
func.func @tanh(%x: tensor<?x?x2xf32> {onnx.name = "x"}) -> (!onnx.value {onnx.name = "y"}) {
  %wu = onnx.constant dense<1.0> : tensor<2x4xf32>
  %wg = onnx.constant dense<2.0> : tensor<2x4xf32>
  %wd = onnx.constant dense<3.0> : tensor<4x2xf32>
  %up = onnx.node "MatMul"(%x, %wu) to ["up"] : (tensor<?x?x2xf32>, tensor<2x4xf32>) -> !onnx.value
  %gate = onnx.node "MatMul"(%x, %wg) to ["gate"] : (tensor<?x?x2xf32>, tensor<2x4xf32>) -> !onnx.value
  %s = onnx.node "Tanh"(%gate) to ["s"] : (!onnx.value) -> !onnx.value
  %p = onnx.node "Mul"(%s, %up) to ["p"] : (!onnx.value, !onnx.value) -> !onnx.value
  %y = onnx.node "MatMul"(%p, %wd) to ["y"] : (!onnx.value, tensor<4x2xf32>) -> !onnx.value
  return %y : !onnx.value
}

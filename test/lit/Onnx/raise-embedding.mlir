// Of the look-ups, that whose table has as many rows as there are logits. Positions are looked up too.
// RUN: quern-opt %s --onnx-raise-embedding --split-input-file --mlir-print-debuginfo | FileCheck %s

// CHECK: func.func @graph(%[[IDS:.*]]: tensor<?x?xi64> {{.*}}, %[[POSITIONS:.*]]: tensor<?x?xi64> {{.*}})
func.func @graph(%ids: tensor<?x?xi64> {onnx.name = "ids"}, %positions: tensor<?x?xi64> {onnx.name = "positions"})
    -> (!onnx.value {onnx.name = "logits"}) {
  // CHECK: %[[TABLE:.*]] = onnx.constant {{.*}} : tensor<5x2xf32>
  %table = onnx.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0], [9.0, 1.0]]> : tensor<5x2xf32>
  %places = onnx.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xf32>
  %head = onnx.constant dense<1.0> : tensor<2x5xf32>
  // CHECK: %{{.*}} = onnx.embedding %[[TABLE]] at %[[IDS]] : (tensor<5x2xf32>, tensor<?x?xi64>) -> !onnx.value loc(#[[PART:.*]])
  %x = onnx.node "Gather"(%table, %ids) to ["x"] : (tensor<5x2xf32>, tensor<?x?xi64>) -> !onnx.value loc("lookup")
  // CHECK: onnx.node "Gather"(%{{.*}}, %[[POSITIONS]])
  %p = onnx.node "Gather"(%places, %positions) to ["p"] : (tensor<3x2xf32>, tensor<?x?xi64>) -> !onnx.value
  %s = onnx.node "Add"(%x, %p) to ["s"] : (!onnx.value, !onnx.value) -> !onnx.value
  %y = onnx.node "MatMul"(%s, %head) to ["y"] : (!onnx.value, tensor<2x5xf32>) -> !onnx.value
  return %y : !onnx.value
}
// CHECK-DAG: #[[NODE:.*]] = loc("lookup")
// CHECK-DAG: #[[PART]] = loc("x"(#[[NODE]]))

// -----

// No product gives a number for each row: this is no language model.
// CHECK-NOT: onnx.embedding
func.func @graph(%ids: tensor<?x?xi64> {onnx.name = "ids"}) -> (!onnx.value {onnx.name = "y"}) {
  %table = onnx.constant dense<1.0> : tensor<5x2xf32>
  %head = onnx.constant dense<1.0> : tensor<2x4xf32>
  %x = onnx.node "Gather"(%table, %ids) to ["x"] : (tensor<5x2xf32>, tensor<?x?xi64>) -> !onnx.value
  %y = onnx.node "MatMul"(%x, %head) to ["y"] : (!onnx.value, tensor<2x4xf32>) -> !onnx.value
  return %y : !onnx.value
}

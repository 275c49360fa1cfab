// RUN: quern-opt %s | quern-opt | FileCheck %s

// CHECK: module attributes {onnx.opsets = {ai.onnx = 17 : i64, com.microsoft = 1 : i64}}
module attributes {onnx.opsets = {ai.onnx = 17 : i64, com.microsoft = 1 : i64}} {
  // CHECK: func.func @graph(%[[X:.*]]: tensor<?x64xf32> {onnx.dims = ["rows", ""], onnx.name = "x"}, %{{.*}}: !onnx.value {onnx.name = "list"})
  func.func @graph(%x: tensor<?x64xf32> {onnx.name = "x", onnx.dims = ["rows", ""]},
                   %list: !onnx.value {onnx.name = "list"})
      -> (tensor<?x32xf32> {onnx.name = "y", onnx.dims = ["rows", ""]}) {
    // CHECK: %[[NONE:.*]] = onnx.none : none
    %none = onnx.none : none
    // CHECK: onnx.constant dense<[0, -1]> : tensor<2xi64>
    %axes = onnx.constant dense<[0, -1]> : tensor<2xi64>
    // CHECK: %[[CODES:.*]] = onnx.constant dense_resource<codes> : tensor<2x2x2xui4>
    %codes = onnx.constant dense_resource<codes> : tensor<2x2x2xui4>
    // CHECK: onnx.constant dense_resource<left_out> : tensor<151936x896xbf16>
    %left_out = onnx.constant dense_resource<left_out> : tensor<151936x896xbf16>
    // CHECK: onnx.constant dense<["a", "b"]> : tensor<2x!onnx.string>
    %strings = onnx.constant dense<["a", "b"]> : tensor<2x!onnx.string>
    // CHECK: %y = onnx.node "MatMulNBits" of "com.microsoft"(%[[X]], %[[CODES]], %[[NONE]]) {K = 64 : i64, bits = 4 : i64} to ["y"] : (tensor<?x64xf32>, tensor<2x2x2xui4>, none) -> tensor<?x32xf32>
    %y = onnx.node "MatMulNBits" of "com.microsoft"(%x, %codes, %none) {K = 64 : i64, bits = 4 : i64} to ["y"]
      : (tensor<?x64xf32>, tensor<2x2x2xui4>, none) -> tensor<?x32xf32>
    // CHECK: %values:2 = onnx.node "TopK"(%y, %{{.*}}) to ["values", ""] : (tensor<?x32xf32>, tensor<2xi64>) -> (!onnx.value, tensor<*xi64>)
    %top, %places = onnx.node "TopK"(%y, %axes) to ["values", ""]
      : (tensor<?x32xf32>, tensor<2xi64>) -> (!onnx.value, tensor<*xi64>)
    // CHECK: onnx.node "If"(%{{.*}}) {else_branch = #onnx.message<"\0A\01b">, list = array<i64: 1, 2>} part of "Whole" : (!onnx.value) -> !onnx.value
    %z = onnx.node "If"(%top) {else_branch = #onnx.message<"\0A\01b">, list = array<i64: 1, 2>} part of "Whole"
      : (!onnx.value) -> !onnx.value
    return %y : tensor<?x32xf32>
  }
}

{-#
  dialect_resources: { builtin: { codes: "0x0100000021436587" } }
#-}

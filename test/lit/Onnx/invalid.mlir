// RUN: quern-opt %s -split-input-file -verify-diagnostics

func.func @f() {
  // expected-error@+1 {{expected a static shape and elements that ONNX has (C1), got 'tensor<2xi3>'}}
  %c = onnx.constant dense<0> : tensor<2xi3>
  return
}

// -----

func.func @f() {
  // expected-error@+1 {{expected a resource of 8 bytes (C2), got 4}}
  %c = onnx.constant dense_resource<short> : tensor<2xf32>
  return
}

{-#
  dialect_resources: { builtin: { short: "0x0100000000000000" } }
#-}

// -----

func.func @f() {
  // expected-error@+1 {{has dimensions that multiply to more bytes than any machine holds (C2)}}
  %c = onnx.constant dense_resource<large> : tensor<4611686018427387904x16xf32>
  return
}

// -----

func.func @f(%x: tensor<2xf32>) {
  // expected-error@+1 {{expected the name of an operator (N1)}}
  %y = onnx.node ""(%x) : (tensor<2xf32>) -> tensor<2xf32>
  return
}

// -----

func.func @f(%x: i32) {
  // expected-error@+1 {{expected a tensor, '!onnx.value' or 'none' as input 0 (N2), got 'i32'}}
  %y = onnx.node "Abs"(%x) : (i32) -> tensor<2xf32>
  return
}

// -----

func.func @f(%x: tensor<2xf32>) {
  // expected-error@+1 {{expected at least one output (N3)}}
  onnx.node "Abs"(%x) : (tensor<2xf32>) -> ()
  return
}

// -----

func.func @f(%x: tensor<2xf32>) {
  // expected-error@+1 {{expected 1 names of outputs (N4), got 2}}
  %y = onnx.node "Abs"(%x) to ["y", "z"] : (tensor<2xf32>) -> tensor<2xf32>
  return
}

// -----

func.func @f(%x: tensor<2xf32>) {
  // expected-error@+1 {{has two outputs named "y" (N4)}}
  %y:2 = onnx.node "Split"(%x) to ["y", "y"] : (tensor<2xf32>) -> (tensor<1xf32>, tensor<1xf32>)
  return
}

// -----

// expected-error@+1 {{expected 'onnx.opsets' on a module, with a version for each domain}}
module attributes {onnx.opsets = {ai.onnx = "17"}} {}

// -----

// expected-error@+1 {{has the attribute 'onnx.opset', which the onnx dialect does not have}}
module attributes {onnx.opset = 17 : i64} {}

// -----

// expected-error@+1 {{expected a string as 'onnx.name'}}
func.func private @f(tensor<2xf32> {onnx.name = 1 : i64})

// -----

// expected-error@+1 {{expected 'onnx.dims' to have a string for each dimension of 'tensor<?xf32>'}}
func.func private @f() -> (tensor<?xf32> {onnx.dims = ["rows", "columns"]})

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

// -----

func.func @f(%x: tensor<2x4xf32>, %w: tensor<4xf32>) {
  // expected-error@+1 {{expected a positive epsilon (R1)}}
  %y = onnx.rms_norm %x, %w {epsilon = 0.0 : f32} : (tensor<2x4xf32>, tensor<4xf32>) -> tensor<2x4xf32>
  return
}

// -----

func.func @f(%x: tensor<2x4xf32>) {
  // expected-error@+1 {{expected a positive width and columns from 0 on (S1)}}
  %y = onnx.swiglu %x at 0, %x at -1 width 2 : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x2xf32>
  return
}

// -----

func.func @f(%x: tensor<2x4xf32>) {
  // expected-error@+1 {{expected heads in a multiple of kv_heads (A1), got 3 and 2}}
  %y = onnx.attention %x, %x, %x {columns = array<i64: 0, 0, 0>, heads = 3 : i64, kv_heads = 2 : i64,
    head_size = 2 : i64, frequencies = array<f64: 1.0>}
    : (tensor<2x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  return
}

// -----

func.func @f(%x: tensor<2x4xf32>) {
  // expected-error@+1 {{expected an even head_size and half as many frequencies (A2), got 4 and 1}}
  %y = onnx.attention %x, %x, %x {columns = array<i64: 0, 0, 0>, heads = 1 : i64, kv_heads = 1 : i64,
    head_size = 4 : i64, frequencies = array<f64: 1.0>}
    : (tensor<2x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  return
}

// -----

func.func @f(%x: tensor<2x4xf32>) {
  // expected-error@+1 {{expected the first columns of queries, keys and values (A3)}}
  %y = onnx.attention %x, %x, %x {columns = array<i64: 0, 0>, heads = 1 : i64, kv_heads = 1 : i64,
    head_size = 2 : i64, frequencies = array<f64: 1.0>}
    : (tensor<2x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  return
}

// -----

func.func @f(%x: tensor<2x4xf32>, %w: tensor<2xf32>) {
  // expected-error@+1 {{expected norms of queries and keys, or none (A4), got 1}}
  %y = onnx.attention %x, %x, %x norms(%w) {columns = array<i64: 0, 0, 0>, heads = 1 : i64, kv_heads = 1 : i64,
    head_size = 2 : i64, frequencies = array<f64: 1.0>}
    : (tensor<2x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>, tensor<2xf32>) -> tensor<2x4xf32>
  return
}

// -----

func.func @f(%x: tensor<2x4xf32>) {
  // expected-error@+1 {{expected a cache of keys and one of values, or none (A5), got 1}}
  %y = onnx.attention %x, %x, %x caches(%x) {columns = array<i64: 0, 0, 0>, heads = 1 : i64, kv_heads = 1 : i64,
    head_size = 2 : i64, frequencies = array<f64: 1.0>}
    : (tensor<2x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  return
}

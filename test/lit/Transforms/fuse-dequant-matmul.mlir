// RUN: quern-opt %s -split-input-file --dq-fuse-dequant-matmul --cse | FileCheck %s

// Block weights: rows are quantized once for all that read them.
!q5_0 = !dq.block<q5_0>
// CHECK-LABEL: func.func @blocks
// CHECK-SAME: %[[X:.*]]: tensor<?x64xf32>, %[[V:.*]]: tensor<8x64x!q5_0{{.*}}>, %[[W:.*]]: tensor<9x64x!q5_0{{.*}}>, %[[B:.*]]: tensor<9xf32>
func.func @blocks(%x: tensor<?x64xf32>, %v: tensor<8x64x!q5_0>, %w: tensor<9x64x!q5_0>, %b: tensor<9xf32>)
    -> (tensor<?x8xf32>, tensor<?x9xf32>) {
  // CHECK-NOT: dq.dequantize
  %vf = dq.dequantize %v : tensor<8x64x!q5_0> -> tensor<8x64xf32>
  %wf = dq.dequantize %w : tensor<9x64x!q5_0> -> tensor<9x64xf32>
  // CHECK: %[[Q:.*]] = dq.quantize %[[X]] : tensor<?x64xf32> -> tensor<?x64x!dq.act8<32>>
  // CHECK-NOT: dq.quantize
  // CHECK-DAG: dq.matmul %[[Q]], [%[[V]]] :
  // CHECK-DAG: dq.matmul %[[Q]], [%[[W]]] bias(%[[B]]) :
  %0 = lm.linear %x, %vf : tensor<?x64xf32>, tensor<8x64xf32> -> tensor<?x8xf32>
  %1 = lm.linear %x, %wf bias(%b : tensor<9xf32>) : tensor<?x64xf32>, tensor<9x64xf32> -> tensor<?x9xf32>
  // CHECK-NOT: lm.linear
  return %0, %1 : tensor<?x8xf32>, tensor<?x9xf32>
}

// -----

// Float weights, dequantized or as they are: rows stay f32 for f16, and are rounded to bf16 for bf16.
// CHECK-LABEL: func.func @floats
// CHECK-SAME: %[[X:.*]]: tensor<?x64xf32>, %[[V:.*]]: tensor<8x64xf16>, %[[W:.*]]: tensor<8x64xbf16>
func.func @floats(%x: tensor<?x64xf32>, %v: tensor<8x64xf16>, %w: tensor<8x64xbf16>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  // CHECK-DAG: dq.matmul %[[X]], [%[[V]]] : tensor<?x64xf32>, [tensor<8x64xf16>]
  // CHECK-DAG: %[[B:.*]] = dq.quantize %[[X]] : tensor<?x64xf32> -> tensor<?x64xbf16>
  // CHECK-DAG: dq.matmul %[[B]], [%[[W]]] : tensor<?x64xbf16>, [tensor<8x64xbf16>]
  %vf = dq.dequantize %v : tensor<8x64xf16> -> tensor<8x64xf32>
  %0 = lm.linear %x, %vf : tensor<?x64xf32>, tensor<8x64xf32> -> tensor<?x8xf32>
  %1 = lm.linear %x, %w : tensor<?x64xf32>, tensor<8x64xbf16> -> tensor<?x8xf32>
  return %0, %1 : tensor<?x8xf32>, tensor<?x8xf32>
}

// -----

!q8_0 = !dq.block<q8_0>
// CHECK-LABEL: func.func @embedding
func.func @embedding(%ids: tensor<?xi32>, %table: tensor<100x64x!q8_0>) -> tensor<?x64xf32> {
  // CHECK-NOT: dq.dequantize
  %f = dq.dequantize %table : tensor<100x64x!q8_0> -> tensor<100x64xf32>
  // CHECK: lm.embedding %{{.*}}, %{{.*}} : tensor<?xi32>, tensor<100x64x!q8_0{{.*}}> -> tensor<?x64xf32>
  %0 = lm.embedding %ids, %f : tensor<?xi32>, tensor<100x64xf32> -> tensor<?x64xf32>
  return %0 : tensor<?x64xf32>
}

// -----

// A dequantized weight that something else reads stays.
!q8_0 = !dq.block<q8_0>
// CHECK-LABEL: func.func @other_use
func.func @other_use(%x: tensor<?x64xf32>, %w: tensor<8x64x!q8_0>) -> (tensor<?x8xf32>, tensor<8x64xf32>) {
  // CHECK: %[[F:.*]] = dq.dequantize
  %f = dq.dequantize %w : tensor<8x64x!q8_0> -> tensor<8x64xf32>
  // CHECK: dq.matmul
  %0 = lm.linear %x, %f : tensor<?x64xf32>, tensor<8x64xf32> -> tensor<?x8xf32>
  // CHECK: return %{{.*}}, %[[F]]
  return %0, %f : tensor<?x8xf32>, tensor<8x64xf32>
}

// -----

// Rows that the graph rounds by row go into the matmul as they are; float weights read what they stand for.
!q8_0 = !dq.block<q8_0>
// CHECK-LABEL: func.func @rounded_rows
func.func @rounded_rows(%x: tensor<?x64xf32>, %v: tensor<8x64x!q8_0>, %w: tensor<8x64xf32>)
    -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  // CHECK: %[[Q:.*]] = dq.quantize %{{.*}} : tensor<?x64xf32> -> tensor<?x64x!dq.act8<row>>
  // CHECK-NEXT: %[[R:.*]] = dq.dequantize %[[Q]]
  // CHECK-NOT: dq.quantize
  // CHECK-DAG: dq.matmul %[[Q]], [%{{.*}}] : tensor<?x64x!dq.act8<row>>, [tensor<8x64x!q8_0{{.*}}>]
  // CHECK-DAG: dq.matmul %[[R]], [%{{.*}}] : tensor<?x64xf32>, [tensor<8x64xf32>]
  %q = dq.quantize %x : tensor<?x64xf32> -> tensor<?x64x!dq.act8<row>>
  %r = dq.dequantize %q : tensor<?x64x!dq.act8<row>> -> tensor<?x64xf32>
  %vf = dq.dequantize %v : tensor<8x64x!q8_0> -> tensor<8x64xf32>
  %0 = lm.linear %r, %vf : tensor<?x64xf32>, tensor<8x64xf32> -> tensor<?x8xf32>
  %1 = lm.linear %r, %w : tensor<?x64xf32>, tensor<8x64xf32> -> tensor<?x8xf32>
  return %0, %1 : tensor<?x8xf32>, tensor<?x8xf32>
}

// Every op of the quantization dialect prints as it was read.
// RUN: quern-opt %s -split-input-file | quern-opt -split-input-file | FileCheck %s
// RUN: quern-opt %s -split-input-file -mlir-print-op-generic | quern-opt -split-input-file | FileCheck %s

// A format that no file has embedded.
// CHECK: dq.format <own4, block = 32, bytes = 18, group = 32, codes = [4 bits at {{.*}}] less 8, scale = f16 at 0>
dq.format <own4, block = 32, bytes = 18, group = 32,
  codes = [4 bits at 2 + i mod 16 shift (i floordiv 16) * 4] less 8, scale = f16 at 0>

// -----

!q5_0 = !dq.block<q5_0>
// CHECK: dq.source @blk.0.attn_q.weight : tensor<896x896x!q5_0{{.*}}> in 0 at 5947648 bytes 551936
dq.source @blk.0.attn_q.weight : tensor<896x896x!q5_0> in 0 at 5947648 bytes 551936
// CHECK: dq.source @"a name" : tensor<3xf32> in 1 at 0 bytes 12
dq.source @"a name" : tensor<3xf32> in 1 at 0 bytes 12

// CHECK: dq.source @later : tensor<32x64x!q5_0{{.*}}> from tensor<32x64xbf16> in 0 at 64 bytes 4096
dq.source @later : tensor<32x64x!q5_0> from tensor<32x64xbf16> in 0 at 64 bytes 4096
// CHECK: dq.source @weighed : tensor<1x32xf16> from tensor<1x32x!q5_0{{.*}}> in 0 at 0 bytes 22 importance dense_resource<columns> : tensor<32xf32>
dq.source @weighed : tensor<1x32xf16> from tensor<1x32x!q5_0> in 0 at 0 bytes 22 importance dense_resource<columns> : tensor<32xf32>

// CHECK-LABEL: func.func @weight
func.func @weight() -> tensor<896x896x!q5_0, #dq.panels<rows = 16>> {
  // CHECK: %[[W:.*]] = dq.weight @blk.0.attn_q.weight : tensor<896x896x!q5_0{{.*}}>
  %w = dq.weight @blk.0.attn_q.weight : tensor<896x896x!q5_0>
  // CHECK: dq.relayout %[[W]] : tensor<896x896x!q5_0{{.*}}> -> tensor<896x896x!q5_0{{.*}}, #dq.panels<rows = 16>>
  %p = dq.relayout %w : tensor<896x896x!q5_0> -> tensor<896x896x!q5_0, #dq.panels<rows = 16>>
  // CHECK: dq.weight @blk.0.attn_q.weight : tensor<896x896x!q5_0{{.*}}, #dq.panels<rows = 16>>
  %q = dq.weight @blk.0.attn_q.weight : tensor<896x896x!q5_0, #dq.panels<rows = 16>>
  return %p : tensor<896x896x!q5_0, #dq.panels<rows = 16>>
}

// -----

!q5_0 = !dq.block<q5_0>
// CHECK-LABEL: func.func @quantize
func.func @quantize(%x: tensor<?x896xf32>, %w: tensor<896x896x!q5_0>) -> tensor<?x896xf32> {
  // CHECK: dq.dequantize %{{.*}} : tensor<896x896x!q5_0{{.*}}> -> tensor<896x896xf32>
  %f = dq.dequantize %w : tensor<896x896x!q5_0> -> tensor<896x896xf32>
  // CHECK: %[[Q:.*]] = dq.quantize %{{.*}} : tensor<?x896xf32> -> tensor<?x896x!dq.act8<32>>
  %q = dq.quantize %x : tensor<?x896xf32> -> tensor<?x896x!dq.act8<32>>
  // CHECK: dq.dequantize %[[Q]] : tensor<?x896x!dq.act8<32>> -> tensor<?x896xf32>
  %y = dq.dequantize %q : tensor<?x896x!dq.act8<32>> -> tensor<?x896xf32>
  // CHECK: dq.quantize %{{.*}} : tensor<?x896xf32> -> tensor<?x896x!dq.act8<row>>
  %r = dq.quantize %x : tensor<?x896xf32> -> tensor<?x896x!dq.act8<row>>
  return %y : tensor<?x896xf32>
}

// -----

!q5_0 = !dq.block<q5_0>
!q8_0 = !dq.block<q8_0>
// CHECK-LABEL: func.func @segments
func.func @segments(%x: tensor<?x896x!dq.act8<32>>, %w0: tensor<128x896x!q5_0>, %w1: tensor<64x896x!q8_0>,
                    %b0: tensor<128xf32>, %b1: tensor<64xf32>) {
  // CHECK: dq.matmul %[[X:.*]], [%[[W0:.*]], %[[W1:.*]]] : tensor<?x896x!dq.act8<32>>,
  // CHECK-SAME: [tensor<128x896x!q5_0{{.*}}>, tensor<64x896x!q8_0{{.*}}>] -> tensor<?x128xf32>, tensor<?x64xf32>
  %0:2 = dq.matmul %x, [%w0, %w1] : tensor<?x896x!dq.act8<32>>, [tensor<128x896x!q5_0>, tensor<64x896x!q8_0>]
    -> tensor<?x128xf32>, tensor<?x64xf32>
  // CHECK: dq.matmul %[[X]], [%[[W0]], %[[W1]]] bias(%{{.*}}, %{{.*}}) : {{.*}}], (tensor<128xf32>, tensor<64xf32>) ->
  %1:2 = dq.matmul %x, [%w0, %w1] bias(%b0, %b1) : tensor<?x896x!dq.act8<32>>,
    [tensor<128x896x!q5_0>, tensor<64x896x!q8_0>], (tensor<128xf32>, tensor<64xf32>) -> tensor<?x128xf32>, tensor<?x64xf32>
  return
}

// -----

// CHECK-LABEL: func.func @residual
func.func @residual(%x: tensor<?x896xf32>, %w: tensor<128x896xf16>, %r: tensor<?x128xf32>) -> tensor<?x128xf32> {
  // CHECK: dq.matmul %{{.*}}, [%{{.*}}] residual(%{{.*}} : tensor<?x128xf32>) : tensor<?x896xf32>, [tensor<128x896xf16>] -> tensor<?x128xf32>
  %0 = dq.matmul %x, [%w] residual(%r : tensor<?x128xf32>) : tensor<?x896xf32>, [tensor<128x896xf16>] -> tensor<?x128xf32>
  return %0 : tensor<?x128xf32>
}

// -----

// CHECK-LABEL: func.func @swiglu
func.func @swiglu(%x: tensor<?x896xf32>, %g: tensor<128x896xf16>, %u: tensor<128x896xf16>) -> tensor<?x128xf32> {
  // CHECK: dq.matmul swiglu %{{.*}}, [%{{.*}}, %{{.*}}] : tensor<?x896xf32>, [tensor<128x896xf16>, tensor<128x896xf16>] -> tensor<?x128xf32>
  %0 = dq.matmul swiglu %x, [%g, %u] : tensor<?x896xf32>, [tensor<128x896xf16>, tensor<128x896xf16>] -> tensor<?x128xf32>
  return %0 : tensor<?x128xf32>
}

// -----

// CHECK-LABEL: func.func @kernel_ops
func.func @kernel_ops(%acc: vector<16xi32>, %u: vector<64xi8>) -> vector<16xi32> {
  // CHECK: %[[T:.*]] = dq.lookup %[[U:.*]], [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113] : vector<64xi8>
  %t = dq.lookup %u, [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113] : vector<64xi8>
  // CHECK: dq.dot %{{.*}}, %[[U]], %[[T]] : vector<16xi32>, vector<64xi8>
  %0 = dq.dot %acc, %u, %t : vector<16xi32>, vector<64xi8>
  // CHECK: dq.dot %{{.*}}, %[[U]], %[[T]] largest 15 : vector<16xi32>, vector<64xi8>
  %1 = dq.dot %0, %u, %t largest 15 : vector<16xi32>, vector<64xi8>
  // CHECK: dq.dot %{{.*}}, %[[U]], %[[T]] signed largest 128 : vector<16xi32>, vector<64xi8>
  %2 = dq.dot %1, %u, %t signed largest 128 : vector<16xi32>, vector<64xi8>
  return %2 : vector<16xi32>
}

// -----

// CHECK-LABEL: func.func @pairs
func.func @pairs(%acc: vector<16xf32>, %w: vector<32xbf16>, %x: vector<32xbf16>) -> vector<16xf32> {
  // CHECK: dq.dot_pairs %{{.*}}, %{{.*}}, %{{.*}} : vector<16xf32>, vector<32xbf16>
  %0 = dq.dot_pairs %acc, %w, %x : vector<16xf32>, vector<32xbf16>
  return %0 : vector<16xf32>
}

// -----

// CHECK-LABEL: func.func @bfloats
func.func @bfloats(%x: tensor<?x64xf32>, %w: tensor<8x64xbf16>) -> tensor<?x8xf32> {
  // CHECK: dq.quantize %{{.*}} : tensor<?x64xf32> -> tensor<?x64xbf16>
  %0 = dq.quantize %x : tensor<?x64xf32> -> tensor<?x64xbf16>
  // CHECK: dq.matmul %{{.*}}, [%{{.*}}] : tensor<?x64xbf16>, [tensor<8x64xbf16>] -> tensor<?x8xf32>
  %1 = dq.matmul %0, [%w] : tensor<?x64xbf16>, [tensor<8x64xbf16>] -> tensor<?x8xf32>
  return %1 : tensor<?x8xf32>
}

// RUN: quern-opt %s -split-input-file --dq-merge-matmuls | FileCheck %s

// Segments keep their own formats and the order in which they stood.
!q5_0 = !dq.block<q5_0>
!q8_0 = !dq.block<q8_0>
// CHECK-LABEL: func.func @formats
// CHECK-SAME: %[[X:.*]]: tensor<?x64x!dq.act8<32>>, %[[V:.*]]: tensor<8x64x!q5_0{{.*}}>, %[[W:.*]]: tensor<9x64x!q8_0{{.*}}>
func.func @formats(%x: tensor<?x64x!dq.act8<32>>, %v: tensor<8x64x!q5_0>, %w: tensor<9x64x!q8_0>) -> (tensor<?x9xf32>, tensor<?x8xf32>) {
  // CHECK: %[[Y:.*]]:2 = dq.matmul %[[X]], [%[[V]], %[[W]]] : {{.*}} -> tensor<?x8xf32>, tensor<?x9xf32>
  // CHECK-NOT: dq.matmul
  %0 = dq.matmul %x, [%v] : tensor<?x64x!dq.act8<32>>, [tensor<8x64x!q5_0>] -> tensor<?x8xf32>
  %1 = dq.matmul %x, [%w] : tensor<?x64x!dq.act8<32>>, [tensor<9x64x!q8_0>] -> tensor<?x9xf32>
  // CHECK: return %[[Y]]#1, %[[Y]]#0
  return %1, %0 : tensor<?x9xf32>, tensor<?x8xf32>
}

// -----

// Biases go with their segments; weight references move up to the first matmul.
dq.source @v : tensor<8x64xf16> in 0 at 0 bytes 1024
dq.source @w : tensor<8x64xf16> in 0 at 1024 bytes 1024
dq.source @b : tensor<8xf32> in 0 at 2048 bytes 32
// CHECK-LABEL: func.func @references
func.func @references(%x: tensor<?x64xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %v = dq.weight @v : tensor<8x64xf16>
  %b = dq.weight @b : tensor<8xf32>
  // CHECK-DAG: %[[V:.*]] = dq.weight @v
  // CHECK-DAG: %[[W:.*]] = dq.weight @w
  // CHECK-DAG: %[[B:.*]] = dq.weight @b
  // CHECK: dq.matmul %{{.*}}, [%[[V]], %[[W]]] bias(%[[B]], %[[B]])
  %0 = dq.matmul %x, [%v] bias(%b) : tensor<?x64xf32>, [tensor<8x64xf16>], (tensor<8xf32>) -> tensor<?x8xf32>
  %w = dq.weight @w : tensor<8x64xf16>
  %1 = dq.matmul %x, [%w] bias(%b) : tensor<?x64xf32>, [tensor<8x64xf16>], (tensor<8xf32>) -> tensor<?x8xf32>
  return %0, %1 : tensor<?x8xf32>, tensor<?x8xf32>
}

// -----

// Not of other rows, nor with and without bias, nor with a residual.
// CHECK-LABEL: func.func @apart
func.func @apart(%x: tensor<?x64xf32>, %y: tensor<?x64xf32>, %w: tensor<8x64xf16>, %b: tensor<8xf32>, %r: tensor<?x8xf32>) {
  // CHECK-COUNT-4: dq.matmul %{{.*}}, [%{{[^,]*}}]
  %0 = dq.matmul %x, [%w] : tensor<?x64xf32>, [tensor<8x64xf16>] -> tensor<?x8xf32>
  %1 = dq.matmul %y, [%w] : tensor<?x64xf32>, [tensor<8x64xf16>] -> tensor<?x8xf32>
  %2 = dq.matmul %x, [%w] bias(%b) : tensor<?x64xf32>, [tensor<8x64xf16>], (tensor<8xf32>) -> tensor<?x8xf32>
  %3 = dq.matmul %x, [%w] residual(%r : tensor<?x8xf32>) : tensor<?x64xf32>, [tensor<8x64xf16>] -> tensor<?x8xf32>
  return
}

// RUN: quern-opt %s -split-input-file --dq-fuse-epilogue | FileCheck %s

// A residual on either side of the sum.
// CHECK-LABEL: func.func @residual
// CHECK-SAME: %[[X:.*]]: tensor<?x64xf32>, %[[W:.*]]: tensor<8x64xf16>, %[[R:.*]]: tensor<?x8xf32>
func.func @residual(%x: tensor<?x64xf32>, %w: tensor<8x64xf16>, %r: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // CHECK: %[[Y:.*]] = dq.matmul %[[X]], [%[[W]]] residual(%[[R]] : tensor<?x8xf32>)
  %0 = dq.matmul %x, [%w] : tensor<?x64xf32>, [tensor<8x64xf16>] -> tensor<?x8xf32>
  %1 = arith.addf %r, %0 : tensor<?x8xf32>
  // CHECK: %[[Z:.*]] = dq.matmul %[[X]], [%[[W]]] residual(%[[Y]] : tensor<?x8xf32>)
  %2 = dq.matmul %x, [%w] : tensor<?x64xf32>, [tensor<8x64xf16>] -> tensor<?x8xf32>
  %3 = arith.addf %2, %1 : tensor<?x8xf32>
  // CHECK-NOT: arith.addf
  // CHECK: return %[[Z]]
  return %3 : tensor<?x8xf32>
}

// -----

// Not where the product has another use, nor where the matmul has a bias or several segments.
// CHECK-LABEL: func.func @no_residual
func.func @no_residual(%x: tensor<?x64xf32>, %w: tensor<8x64xf16>, %r: tensor<?x8xf32>, %b: tensor<8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  // CHECK-NOT: residual(
  // CHECK-COUNT-3: arith.addf
  %0 = dq.matmul %x, [%w] : tensor<?x64xf32>, [tensor<8x64xf16>] -> tensor<?x8xf32>
  %1 = arith.addf %r, %0 : tensor<?x8xf32>
  %2 = dq.matmul %x, [%w] bias(%b) : tensor<?x64xf32>, [tensor<8x64xf16>], (tensor<8xf32>) -> tensor<?x8xf32>
  %3 = arith.addf %1, %2 : tensor<?x8xf32>
  %4:2 = dq.matmul %x, [%w, %w] : tensor<?x64xf32>, [tensor<8x64xf16>, tensor<8x64xf16>] -> tensor<?x8xf32>, tensor<?x8xf32>
  %5 = arith.addf %3, %4#1 : tensor<?x8xf32>
  return %5, %0 : tensor<?x8xf32>, tensor<?x8xf32>
}

// -----

// The gate comes first, in whichever order the segments stood.
// CHECK-LABEL: func.func @swiglu
// CHECK-SAME: %[[X:.*]]: tensor<?x64xf32>, %[[G:.*]]: tensor<8x64xf16>, %[[U:.*]]: tensor<8x64xf32>
func.func @swiglu(%x: tensor<?x64xf32>, %g: tensor<8x64xf16>, %u: tensor<8x64xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  // CHECK: dq.matmul swiglu %[[X]], [%[[G]], %[[U]]]
  %0:2 = dq.matmul %x, [%g, %u] : tensor<?x64xf32>, [tensor<8x64xf16>, tensor<8x64xf32>] -> tensor<?x8xf32>, tensor<?x8xf32>
  %1 = lm.swiglu %0#0, %0#1 : tensor<?x8xf32> -> tensor<?x8xf32>
  // CHECK: dq.matmul swiglu %[[X]], [%[[G]], %[[U]]]
  %2:2 = dq.matmul %x, [%u, %g] : tensor<?x64xf32>, [tensor<8x64xf32>, tensor<8x64xf16>] -> tensor<?x8xf32>, tensor<?x8xf32>
  %3 = lm.swiglu %2#1, %2#0 : tensor<?x8xf32> -> tensor<?x8xf32>
  // CHECK-NOT: lm.swiglu
  return %1, %3 : tensor<?x8xf32>, tensor<?x8xf32>
}

// -----

// Not of two matmuls, nor where gate or up has another use.
// CHECK-LABEL: func.func @no_swiglu
func.func @no_swiglu(%x: tensor<?x64xf32>, %w: tensor<8x64xf16>) -> (tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32>) {
  // CHECK-COUNT-2: lm.swiglu
  %0 = dq.matmul %x, [%w] : tensor<?x64xf32>, [tensor<8x64xf16>] -> tensor<?x8xf32>
  %1 = dq.matmul %x, [%w] : tensor<?x64xf32>, [tensor<8x64xf16>] -> tensor<?x8xf32>
  %2 = lm.swiglu %0, %1 : tensor<?x8xf32> -> tensor<?x8xf32>
  %3:2 = dq.matmul %x, [%w, %w] : tensor<?x64xf32>, [tensor<8x64xf16>, tensor<8x64xf16>] -> tensor<?x8xf32>, tensor<?x8xf32>
  %4 = lm.swiglu %3#0, %3#1 : tensor<?x8xf32> -> tensor<?x8xf32>
  return %2, %4, %3#1 : tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32>
}

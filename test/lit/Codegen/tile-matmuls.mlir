// RUN: quern-opt %s -cpu-tile-matmuls -split-input-file | FileCheck %s --enable-var-scope
// RUN: quern-opt %s -cpu-fuse-elementwise -split-input-file | FileCheck %s --check-prefix=FUSE --enable-var-scope

#left = affine_map<(m, k, n) -> (m, k)>
#right = affine_map<(m, k, n) -> (k, n)>
#out = affine_map<(m, k, n) -> (m, n)>

// CHECK-LABEL: func.func @product
// CHECK:         scf.for
// CHECK:           scf.for
// CHECK-COUNT-4:     vector.load {{.*}} vector<32xf32>
// CHECK:             scf.for {{.*}} iter_args
// CHECK-COUNT-4:       arith.mulf {{.*}} vector<32xf32>
// CHECK:             vector.store
// CHECK-COUNT-2: linalg.generic
func.func @product(%x: memref<?x?xf32>, %y: memref<?x?xf32>, %out: memref<?x?xf32>) {
  linalg.generic {indexing_maps = [#left, #right, #out], iterator_types = ["parallel", "reduction", "parallel"]}
      ins(%x, %y : memref<?x?xf32>, memref<?x?xf32>) outs(%out : memref<?x?xf32>) {
  ^bb0(%a: f32, %b: f32, %c: f32):
    %0 = arith.mulf %a, %b : f32
    %1 = arith.addf %c, %0 : f32
    linalg.yield %1 : f32
  }
  return
}

// -----

#left = affine_map<(m, k, n) -> (m, k)>
#right = affine_map<(m, k, n) -> (k, n)>
#out = affine_map<(m, k, n) -> (m, n)>

// Products of integers stay as they are.
// CHECK-LABEL: func.func @integers
// CHECK-NOT:     vector
// CHECK:         linalg.generic
func.func @integers(%x: memref<8x8xi32>, %y: memref<8x64xi32>, %out: memref<8x64xi32>) {
  linalg.generic {indexing_maps = [#left, #right, #out], iterator_types = ["parallel", "reduction", "parallel"]}
      ins(%x, %y : memref<8x8xi32>, memref<8x64xi32>) outs(%out : memref<8x64xi32>) {
  ^bb0(%a: i32, %b: i32, %c: i32):
    %0 = arith.muli %a, %b : i32
    %1 = arith.addi %c, %0 : i32
    linalg.yield %1 : i32
  }
  return
}

// -----

#left = affine_map<(m, k, n) -> (m, k)>
#right = affine_map<(m, k, n) -> (k, n)>
#out = affine_map<(m, k, n) -> (m, n)>
#same = affine_map<(m, n) -> (m, n)>

// What makes a factor stays before the product; two elementwise ops become one.
// FUSE-LABEL: func.func @factor
// FUSE:         linalg.generic
// FUSE:           arith.negf
// FUSE:           math.absf
// FUSE:         linalg.generic
// FUSE-NOT:       arith.negf
// FUSE:           arith.mulf
// FUSE-NOT:     linalg.generic
func.func @factor(%x: tensor<4x8xf32>, %y: tensor<8x4xf32>, %empty: tensor<4x8xf32>,
                  %out: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %0 = linalg.generic {indexing_maps = [#same, #same], iterator_types = ["parallel", "parallel"]}
      ins(%x : tensor<4x8xf32>) outs(%empty : tensor<4x8xf32>) {
  ^bb0(%a: f32, %b: f32):
    %n = arith.negf %a : f32
    linalg.yield %n : f32
  } -> tensor<4x8xf32>
  %1 = linalg.generic {indexing_maps = [#same, #same], iterator_types = ["parallel", "parallel"]}
      ins(%0 : tensor<4x8xf32>) outs(%empty : tensor<4x8xf32>) {
  ^bb0(%a: f32, %b: f32):
    %n = math.absf %a : f32
    linalg.yield %n : f32
  } -> tensor<4x8xf32>
  %2 = linalg.generic {indexing_maps = [#left, #right, #out], iterator_types = ["parallel", "reduction", "parallel"]}
      ins(%1, %y : tensor<4x8xf32>, tensor<8x4xf32>) outs(%out : tensor<4x4xf32>) {
  ^bb0(%a: f32, %b: f32, %c: f32):
    %p = arith.mulf %a, %b : f32
    %s = arith.addf %c, %p : f32
    linalg.yield %s : f32
  } -> tensor<4x4xf32>
  return %2 : tensor<4x4xf32>
}

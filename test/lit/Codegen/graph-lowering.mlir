// RUN: quern-opt %s -cpu-copies-to-loops -cpu-expand-math | FileCheck %s --enable-var-scope

// CHECK-LABEL: func.func @copy
// CHECK:         linalg.generic
// CHECK-NOT:     memref.copy
func.func @copy(%from: memref<4xf32>, %to: memref<4xf32, strided<[2]>>) {
  memref.copy %from, %to : memref<4xf32> to memref<4xf32, strided<[2]>>
  return
}

// Instructions of the processor stay; functions become arithmetic.
// CHECK-LABEL: func.func @functions
// CHECK:         math.sqrt
// CHECK-NOT:     math.{{(exp|log|tanh|erf|powf|atan) }}
// CHECK:         return
func.func @functions(%x: f32) -> (f32, f32, f32, f32, f32, f32, f32) {
  %0 = math.sqrt %x : f32
  %1 = math.exp %x : f32
  %2 = math.log %x : f32
  %3 = math.tanh %x : f32
  %4 = math.erf %x : f32
  %5 = math.powf %x, %x : f32
  %6 = math.atan %x : f32
  return %0, %1, %2, %3, %4, %5, %6 : f32, f32, f32, f32, f32, f32, f32
}

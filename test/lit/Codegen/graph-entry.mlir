// RUN: quern-opt %s -split-input-file -verify-diagnostics -cpu-graph-entry | FileCheck %s --enable-var-scope

// Arguments come from the call, memory is asked for and released after its last use, the result is told.
// CHECK-LABEL: func.func @graph
// CHECK-SAME:    (%[[CALL:[^:]*]]: !llvm.ptr) {
// CHECK:         llvm.getelementptr %[[CALL]][40]
// CHECK:         llvm.getelementptr %[[CALL]][48]
// CHECK:         llvm.getelementptr %[[CALL]][24]
// CHECK:         llvm.getelementptr %[[CALL]][96]
// CHECK:         memref.store
// CHECK:         memref.load
// CHECK:         llvm.getelementptr %[[CALL]][104]
// CHECK:         llvm.getelementptr %[[CALL]][128]
// CHECK:         return
// CHECK-NOT:     memref.alloc
func.func @graph(%x: memref<?xf32> {graph.buffer = 0 : i64, graph.sizes = array<i64: 0>},
                 %w: memref<4xf32> {graph.weight = 64 : i64, graph.sizes = array<i64: -1>}) -> memref<?xf32> {
  %zero = arith.constant 0 : index
  %scratch = memref.alloc() : memref<1xf32>
  %a = memref.load %w[%zero] : memref<4xf32>
  memref.store %a, %scratch[%zero] : memref<1xf32>
  %b = memref.load %scratch[%zero] : memref<1xf32>
  return %x : memref<?xf32>
}

// -----

// An assertion calls `fail` of the call.
// CHECK-LABEL: func.func @check
// CHECK:         scf.if
// CHECK:           llvm.getelementptr %{{.*}}[112]
// CHECK:           llvm.call
// CHECK-NOT:     cf.assert
func.func @check(%x: memref<1xi1> {graph.buffer = 0 : i64, graph.sizes = array<i64: -1>}) {
  %zero = arith.constant 0 : index
  %ok = memref.load %x[%zero] : memref<1xi1>
  cf.assert %ok, "node 'a': wrong"
  return
}

// -----

// expected-error @below {{argument 0 of a graph should be a memref that says where it comes from}}
func.func @unknown(%x: memref<1xf32>) {
  return
}

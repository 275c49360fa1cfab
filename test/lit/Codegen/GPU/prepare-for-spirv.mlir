// RUN: quern-opt --pass-pipeline='builtin.module(gpu.module(gpu-prepare-for-spirv))' %s | FileCheck %s

gpu.module @kernels {
  // Pointers to nowhere in particular are to device memory; a dot product becomes four.
  // CHECK-LABEL: gpu.func @dot(
  // CHECK-SAME: %[[P:.*]]: !llvm.ptr<1>, %{{.*}}: i64) kernel
  // CHECK-SAME: intel_reqd_sub_group_size = 32 : i32
  // CHECK-NOT: nvvm
  gpu.func @dot(%p: !llvm.ptr, %n: i64) kernel attributes {nvvm.maxntid = array<i32: 128>} {
    // CHECK: %[[A:.*]] = llvm.load %[[P]] : !llvm.ptr<1> -> vector<4xi8>
    %a = llvm.load %p : !llvm.ptr -> vector<4xi8>
    %c = arith.constant 7 : i32
    // CHECK: %[[X:.*]] = llvm.bitcast %[[A]] : vector<4xi8> to i32
    // CHECK: %[[L:.*]] = arith.shli %[[X]], %{{.*}} : i32
    // CHECK: %[[X0:.*]] = arith.shrsi %[[L]], %{{.*}} : i32
    // CHECK: arith.muli %[[X0]], %{{.*}} : i32
    // CHECK-COUNT-3: arith.muli
    %d = nvvm.dot.accumulate.4way %a <signed>, %a <signed>, %c : vector<4xi8>, vector<4xi8>
    // CHECK: arith.andi %{{.*}}, %{{.*}} : i32
    // CHECK-COUNT-4: arith.muli
    %e = nvvm.dot.accumulate.4way %a <unsigned>, %a <signed>, %d : vector<4xi8>, vector<4xi8>
    llvm.store %e, %p : i32, !llvm.ptr
    gpu.return
  }

  // A buffer of the workgroup becomes a variable, a memref a bare pointer.
  // CHECK: llvm.mlir.global internal @share_shared0() {addr_space = 3 : i32, alignment = 16 : i64} : !llvm.array<4 x f32>
  // CHECK-LABEL: gpu.func @share(%{{.*}}: !llvm.ptr<1>) kernel
  gpu.func @share(%x: memref<8xf32>) workgroup(%b: memref<4xf32, #gpu.address_space<workgroup>> {llvm.align = 16 : i64})
      kernel {
    // CHECK: llvm.mlir.addressof @share_shared0 : !llvm.ptr<3>
    %c0 = arith.constant 0 : index
    // CHECK: memref.load %{{.*}} : memref<8xf32, 1>
    %v = memref.load %x[%c0] : memref<8xf32>
    // CHECK: memref.store %{{.*}} : memref<4xf32, 3>
    memref.store %v, %b[%c0] : memref<4xf32, #gpu.address_space<workgroup>>
    gpu.return
  }

  // Memory whose size the launch says is the last argument.
  // CHECK-LABEL: gpu.func @dynamic(%{{.*}}: !llvm.ptr<1>, %{{.*}}: !llvm.ptr<3>) kernel
  gpu.func @dynamic(%p: !llvm.ptr) kernel {
    %c0 = arith.constant 0 : index
    // CHECK-NOT: gpu.dynamic_shared_memory
    %all = gpu.dynamic_shared_memory : memref<?xi8, #gpu.address_space<workgroup>>
    %v = memref.load %all[%c0] : memref<?xi8, #gpu.address_space<workgroup>>
    llvm.store %v, %p : i8, !llvm.ptr
    gpu.return
  }
}

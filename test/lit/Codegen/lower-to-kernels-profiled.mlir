// RUN: quern-opt %s --dq-pack-weights --lm-plan-memory --cpu-lower-to-kernels=profiled=true | FileCheck %s

// The profiled entry calls the same kernels; all threads meet after each, then tell its number.
!q4_0 = !dq.block<q4_0>
dq.source @t : tensor<64x64xf16> in 0 at 0 bytes 8192
dq.source @a : tensor<64x64x!q4_0> in 0 at 8192 bytes 2304
// CHECK: func.func @f(%{{.*}}: !llvm.ptr)
// CHECK-NOT: cpu.op_table
// CHECK: func.func @f_profiled(%[[CALL:.*]]: !llvm.ptr)
// CHECK-SAME: cpu.op_table = [
// CHECK-SAME: kernel = "embedding_f16"
// CHECK-SAME: op = "lm.embedding"
// CHECK-SAME: size = 0
// CHECK-SAME: weight_bytes = 0
// CHECK-SAME: weight_bytes_per_row = 128
// CHECK-SAME: kernel = "quantize"
// The weight has 64 rows of two blocks of 18 bytes, the product 64 x 64 multiplications and additions.
// CHECK-SAME: kernel = "matmul_c4z8_half_store"
// CHECK-SAME: name = "layer"
// CHECK-SAME: operations_per_row = 8192
// CHECK-SAME: unit = "dot"
// CHECK-SAME: weight_bytes = 2304
func.func @f(%ids: tensor<?xi32> {lm.size = "tokens"}) {
  %t = dq.weight @t : tensor<64x64xf16>
  %a = dq.weight @a : tensor<64x64x!q4_0>
  // CHECK: call @embedding_f16(%[[CALL]]
  // CHECK: llvm.call %{{.*}}(%{{.*}}) : !llvm.ptr, (!llvm.ptr) -> ()
  // CHECK: llvm.call %{{.*}}(%[[CALL]], %{{.*}}) : !llvm.ptr, (!llvm.ptr, i64) -> ()
  %x = lm.embedding %ids, %t : tensor<?xi32>, tensor<64x64xf16> -> tensor<?x64xf32>
  %q = dq.quantize %x : tensor<?x64xf32> -> tensor<?x64x!dq.act8<32>>
  %y = dq.matmul %q, [%a] : tensor<?x64x!dq.act8<32>>, [tensor<64x64x!q4_0>] -> tensor<?x64xf32> loc("layer")
  return
}
// CHECK: func.func private @matmul_c4z8_half_store
// CHECK-NOT: func.func private @matmul_c4z8_half_store

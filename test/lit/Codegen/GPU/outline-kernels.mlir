// RUN: quern-opt --gpu-outline-kernels %s | FileCheck %s
// RUN: quern-opt --gpu-outline-kernels %s | quern-translate --gpu-to-ptx | FileCheck %s --check-prefix=PTX

!q8_0 = !dq.block<q8_0>
!q4_K = !dq.block<q4_K>
dq.source @a : tensor<64x512x!q8_0> in 0 at 0 bytes 34816
dq.source @b : tensor<64x512x!q8_0> in 0 at 34816 bytes 34816
dq.source @c : tensor<30x512x!q4_K> in 0 at 69632 bytes 8640

// Segments share a kernel, each with blocks of its own.
// CHECK-LABEL: func.func @f(
// CHECK: dq.quantize %{{.*}} {gpu.kernels = [@kernels::@quantize_1x512]}
// CHECK: dq.matmul {{.*}} {gpu.kernels = [@kernels::@matvec_q8_0_64_q8_0_64_q4_K_30_x512_t1]}
// CHECK: dq.matmul {{.*}} {gpu.kernels = [@kernels::@matvec_q8_0_64x512_t1_residual]}
func.func @f(%x32: tensor<1x512xf32>, %r: tensor<1x64xf32>) -> tensor<1x64xf32> {
  %x = dq.quantize %x32 : tensor<1x512xf32> -> tensor<1x512x!dq.act8<32>>
  %a = dq.weight @a : tensor<64x512x!q8_0>
  %b = dq.weight @b : tensor<64x512x!q8_0>
  %c = dq.weight @c : tensor<30x512x!q4_K>
  %0:3 = dq.matmul %x, [%a, %b, %c] : tensor<1x512x!dq.act8<32>>,
    [tensor<64x512x!q8_0>, tensor<64x512x!q8_0>, tensor<30x512x!q4_K>]
    -> tensor<1x64xf32>, tensor<1x64xf32>, tensor<1x30xf32>
  %1 = dq.matmul %x, [%a] residual(%r : tensor<1x64xf32>) : tensor<1x512x!dq.act8<32>>, [tensor<64x512x!q8_0>]
    -> tensor<1x64xf32>
  // CHECK: dq.matmul swiglu {{.*}} {gpu.kernels = [@kernels::@swiglu_q8_0_q8_0_64x512_t1]}
  %2 = dq.matmul swiglu %x, [%a, %b] : tensor<1x512x!dq.act8<32>>, [tensor<64x512x!q8_0>, tensor<64x512x!q8_0>]
    -> tensor<1x64xf32>
  return %1 : tensor<1x64xf32>
}

// CHECK: gpu.module @kernels {
// CHECK: gpu.func @quantize_1x512(
// CHECK: gpu.func @matvec_q8_0_64_q8_0_64_q4_K_30_x512_t1(
// 16, 16 and, since 16 units of 32 k are two rows to a warp, 4.
// CHECK-SAME: known_block_size = array<i32: 128, 1, 1>, known_grid_size = array<i32: 36, 1, 1>
// CHECK: gpu.func @matvec_q8_0_64x512_t1_residual(
// CHECK-SAME: known_grid_size = array<i32: 16, 1, 1>
// CHECK-NOT: gpu.func @matvec_q8_0_64x512_t1_residual(

// Weights and activations come by 16 bytes, and are multiplied as bytes.
// PTX-LABEL: .visible .entry matvec_q8_0_64x512_t1_residual(
// PTX-NOT: ld.global.b8
// PTX-NOT: ld.global.s8
// PTX-COUNT-2: ld.global.v4.b32
// PTX-COUNT-4: dp4a.s32.s32
// PTX-COUNT-5: shfl.sync.bfly.b32
// PTX: st.global.b32
// PTX-LABEL: .visible .entry swiglu_q8_0_q8_0_64x512_t1(
// PTX: ex2.approx.f32
// PTX: div.rn.f32

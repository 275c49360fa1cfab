// RUN: quern-opt --gpu-outline-kernels %s | FileCheck %s
// RUN: quern-opt --gpu-outline-kernels %s | quern-translate --gpu-to-ptx | FileCheck %s --check-prefix=PTX
// RUN: quern-opt --gpu-outline-kernels=target=sm_86 %s | quern-translate --gpu-to-ptx --gpu-target=sm_86 \
// RUN:   | FileCheck %s --check-prefix=SM86
// RUN: quern-opt --gpu-outline-kernels=target=sm_75 %s | quern-translate --gpu-to-ptx --gpu-target=sm_75 \
// RUN:   | FileCheck %s --check-prefix=SM75

!q8_0 = !dq.block<q8_0>
!q4_K = !dq.block<q4_K>
dq.source @a : tensor<64x512x!q8_0> in 0 at 0 bytes 34816
dq.source @b : tensor<64x512x!q4_K> in 0 at 34816 bytes 18432

// CHECK-LABEL: func.func @prompt(
// CHECK: dq.matmul {{.*}} {gpu.kernels = [@kernels::@prompt_q8_0_64x512_by64x64_residual]}
// CHECK: dq.matmul swiglu {{.*}} {gpu.kernels = [@kernels::@prompt_swiglu_q8_0_q4_K_64x512]}
func.func @prompt(%x: tensor<?x512x!dq.act8<32>>, %r: tensor<?x64xf32>) -> (tensor<?x64xf32>, tensor<?x64xf32>) {
  %a = dq.weight @a : tensor<64x512x!q8_0>
  %b = dq.weight @b : tensor<64x512x!q4_K>
  %0 = dq.matmul %x, [%a] residual(%r : tensor<?x64xf32>) : tensor<?x512x!dq.act8<32>>, [tensor<64x512x!q8_0>]
    -> tensor<?x64xf32>
  %1 = dq.matmul swiglu %x, [%a, %b] : tensor<?x512x!dq.act8<32>>, [tensor<64x512x!q8_0>, tensor<64x512x!q4_K>]
    -> tensor<?x64xf32>
  return %0, %1 : tensor<?x64xf32>, tensor<?x64xf32>
}

dq.source @c : tensor<8960x512x!q4_K> in 0 at 0 bytes 2580480
dq.source @d : tensor<2048x512x!q8_0> in 0 at 0 bytes 1114112

// Large matmuls are of f16 where the target multiplies it faster.
// CHECK-LABEL: func.func @large(
// CHECK: {gpu.kernels = [@kernels::@prompt_f16_q8_0_2048x512]}
// CHECK: {gpu.kernels = [@kernels::@prompt_f16_swiglu_q4_K_q4_K_8960x512_by256x128]}
func.func @large(%x: tensor<?x512x!dq.act8<32>>) -> (tensor<?x2048xf32>, tensor<?x8960xf32>) {
  %c = dq.weight @c : tensor<8960x512x!q4_K>
  %d = dq.weight @d : tensor<2048x512x!q8_0>
  %0 = dq.matmul %x, [%d] : tensor<?x512x!dq.act8<32>>, [tensor<2048x512x!q8_0>] -> tensor<?x2048xf32>
  %1 = dq.matmul swiglu %x, [%c, %c] : tensor<?x512x!dq.act8<32>>, [tensor<8960x512x!q4_K>, tensor<8960x512x!q4_K>]
    -> tensor<?x8960xf32>
  return %0, %1 : tensor<?x2048xf32>, tensor<?x8960xf32>
}

// The number of tokens is an argument, and so the grid is not known.
// CHECK: gpu.func @prompt_q8_0_64x512_by64x64_residual(
// CHECK-SAME: i64) kernel attributes {known_block_size = array<i32: 256, 1, 1>}
// CHECK: nvvm.cp.async.shared.global
// CHECK: gpu.barrier
// CHECK: scf.for
// CHECK: nvvm.ldmatrix
// CHECK: nvvm.mma.sync

// The first stage comes before the loop; in it the next one is copied while one is multiplied.
// PTX-LABEL: .visible .entry prompt_q8_0_64x512_by64x64_residual(
// PTX: .maxntid 256
// PTX: cp.async.cg.shared.global {{.*}}, 16;
// PTX: cp.async.wait_group 0
// PTX: bar.sync
// PTX: cp.async.cg.shared.global {{.*}}, 16;
// PTX-COUNT-2: ldmatrix.sync.aligned.m8n8.x4.shared.b16
// PTX: mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32
// PTX-NOT: cvt.rn.f32.s32
// PTX: cp.async.wait_group 0
// PTX: bar.sync
// PTX-LABEL: .visible .entry prompt_swiglu_q8_0_q4_K_64x512(
// Minimums are products of bf16.
// PTX: mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32

// Products of f16 are added to the sums. Small blocks hold codes in registers, large ones copy them to shared memory.
// PTX-LABEL: .visible .entry prompt_f16_q8_0_2048x512(
// PTX-NOT: cp.async.cg
// PTX: bar.sync
// PTX: ldmatrix.sync.aligned.m8n8.x4.shared.b16
// PTX: mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32
// PTX-LABEL: .visible .entry prompt_f16_swiglu_q4_K_q4_K_8960x512_by256x128(
// PTX: cp.async.cg.shared.global {{.*}}, 16;
// PTX: cp.async.wait_group 0
// Minimums are part of the numbers.
// PTX: fma.rn.f16x2
// PTX: bar.sync
// PTX: cp.async.cg.shared.global {{.*}}, 16;
// PTX: mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32

// SM86-LABEL: .visible .entry prompt_q8_0_2048x512
// SM86: mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32
// SM86-NOT: f32.f16.f16.f32

// SM75-LABEL: .visible .entry prompt_swiglu_q8_0_q4_K_64x512(
// SM75-NOT: cp.async
// SM75: ldmatrix.sync.aligned.m8n8.x4.shared.b16
// SM75: mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32

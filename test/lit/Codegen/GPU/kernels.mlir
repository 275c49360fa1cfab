// Kernels of upstream's dialects become PTX without a CUDA toolkit. GpuTests runs the same kernels in the PTX executor.
// RUN: quern-translate --gpu-to-ptx --gpu-target=sm_75 %s | FileCheck %s --check-prefixes=CHECK,SM75
// RUN: quern-translate --gpu-to-ptx --gpu-target=sm_80 %s | FileCheck %s --check-prefixes=CHECK,SM80
// RUN: quern-translate --gpu-to-ptx --gpu-target=sm_90 %s | FileCheck %s --check-prefixes=CHECK,SM90

// SM75: .target sm_75
// SM80: .target sm_80
// SM90: .target sm_90
// CHECK-NOT: .extern
// CHECK-NOT: call

#shared = #gpu.address_space<workgroup>

module attributes {gpu.container_module} {
gpu.module @kernels {
  // CHECK-LABEL: .visible .entry add(
  // CHECK: .maxntid 128
  // CHECK: setp.gt.u64 [[OUT:%p[0-9]+]], {{.*}}, 999
  // CHECK: @[[OUT]] bra
  // CHECK-COUNT-2: ld.global.b32
  // CHECK: add.rn.f32
  // CHECK: st.global.b32
  gpu.func @add(%a: memref<1000xf32>, %b: memref<1000xf32>, %sum: memref<1000xf32>) kernel
      attributes {nvvm.maxntid = array<i32: 128>} {
    %size = arith.constant 1000 : index
    %i = gpu.global_id x
    %inside = arith.cmpi ult, %i, %size : index
    scf.if %inside {
      %x = memref.load %a[%i] : memref<1000xf32>
      %y = memref.load %b[%i] : memref<1000xf32>
      %z = arith.addf %x, %y : f32
      memref.store %z, %sum[%i] : memref<1000xf32>
    }
    gpu.return
  }

  // CHECK-LABEL: .visible .entry silu(
  // CHECK: cvt.rmi.f32.f32
  // CHECK-COUNT-2: fma.rn.f32
  // CHECK-COUNT-2: ex2.approx.f32
  // CHECK: div.rn.f32
  // CHECK: cvt.rn.f16.f32
  gpu.func @silu(%a: memref<4096xf32>, %out: memref<4096xf16>) kernel {
    %one = arith.constant 1.0 : f32
    %i = gpu.global_id x
    %x = memref.load %a[%i] : memref<4096xf32>
    %minus = arith.negf %x : f32
    %e = math.exp %minus : f32
    %d = arith.addf %e, %one : f32
    %s = arith.divf %x, %d : f32
    %h = arith.truncf %s : f32 to f16
    memref.store %h, %out[%i] : memref<4096xf16>
    gpu.return
  }

  // One row of 1,024 to a block of 128 threads: y = x / sqrt(mean of squares + 1e-6).
  // CHECK-LABEL: .visible .entry norm(
  // CHECK: .shared .align 16 .b8 {{.*}}[16];
  // CHECK-COUNT-5: shfl.sync.bfly.b32
  // CHECK: bar.sync
  // CHECK: rsqrt.approx.f32
  gpu.func @norm(%x: memref<8x1024xf32>, %y: memref<8x1024xf32>)
      workgroup(%part: memref<4xf32, #shared> {llvm.align = 16 : i64}) kernel {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c4 = arith.constant 4 : index
    %c32 = arith.constant 32 : index
    %c128 = arith.constant 128 : index
    %c1024 = arith.constant 1024 : index
    %zero = arith.constant 0.0 : f32
    %share = arith.constant 9.765625e-04 : f32
    %epsilon = arith.constant 1.0e-6 : f32
    %row = gpu.block_id x
    %thread = gpu.thread_id x
    %mine = scf.for %k = %thread to %c1024 step %c128 iter_args(%sum = %zero) -> f32 {
      %v = memref.load %x[%row, %k] : memref<8x1024xf32>
      %next = math.fma %v, %v, %sum : f32
      scf.yield %next : f32
    }
    %warpSum = gpu.subgroup_reduce add %mine : (f32) -> f32
    %lane = arith.remui %thread, %c32 : index
    %warp = arith.divui %thread, %c32 : index
    %first = arith.cmpi eq, %lane, %c0 : index
    scf.if %first {
      memref.store %warpSum, %part[%warp] : memref<4xf32, #shared>
    }
    gpu.barrier
    %total = scf.for %w = %c0 to %c4 step %c1 iter_args(%sum = %zero) -> f32 {
      %v = memref.load %part[%w] : memref<4xf32, #shared>
      %next = arith.addf %sum, %v : f32
      scf.yield %next : f32
    }
    %mean = math.fma %total, %share, %epsilon : f32
    %scale = math.rsqrt %mean : f32
    scf.for %k = %thread to %c1024 step %c128 {
      %v = memref.load %x[%row, %k] : memref<8x1024xf32>
      %scaled = arith.mulf %v, %scale : f32
      memref.store %scaled, %y[%row, %k] : memref<8x1024xf32>
    }
    gpu.return
  }
}
}

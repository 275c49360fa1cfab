// RUN: quern-opt --pass-pipeline='builtin.module(gpu.module(gpu-add-device-functions))' -split-input-file \
// RUN:   -verify-diagnostics %s | FileCheck %s

gpu.module @known {
  // CHECK: llvm.func internal @__nv_rsqrtf(%{{.*}}: f32) -> f32 attributes {always_inline} {
  // CHECK: llvm.call_intrinsic "llvm.nvvm.rsqrt.approx.f"
  llvm.func @__nv_rsqrtf(f32) -> f32
  // CHECK: llvm.func @own(
  llvm.func @own(%x: f32) -> f32 {
    %0 = llvm.call @__nv_rsqrtf(%x) : (f32) -> f32
    llvm.return %0 : f32
  }
}

// -----

gpu.module @unknown {
  // expected-error @+1 {{no device function '__nv_erff' of type '!llvm.func<f32 (f32)>'}}
  llvm.func @__nv_erff(f32) -> f32
}

// -----

gpu.module @other_type {
  // expected-error @+1 {{no device function '__nv_expf' of type '!llvm.func<f64 (f64)>'}}
  llvm.func @__nv_expf(f64) -> f64
}

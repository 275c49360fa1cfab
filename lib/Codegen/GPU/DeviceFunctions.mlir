// The functions that `convert-gpu-to-nvvm` calls for ops of the math dialect, in place of NVIDIA's libdevice. Those
// that a module calls are copied into it and inlined. Errors are those of the hardware's approximations as documented
// in the PTX ISA (2 ulp of ex2 and rsqrt), unless said otherwise.
module {
  llvm.func @__nv_fmaf(%a: f32, %b: f32, %c: f32) -> f32 {
    %0 = llvm.intr.fma(%a, %b, %c) : (f32, f32, f32) -> f32
    llvm.return %0 : f32
  }
  llvm.func @__nv_fabsf(%x: f32) -> f32 {
    %0 = llvm.intr.fabs(%x) : (f32) -> f32
    llvm.return %0 : f32
  }
  llvm.func @__nv_floorf(%x: f32) -> f32 {
    %0 = llvm.intr.floor(%x) : (f32) -> f32
    llvm.return %0 : f32
  }
  llvm.func @__nv_ceilf(%x: f32) -> f32 {
    %0 = llvm.intr.ceil(%x) : (f32) -> f32
    llvm.return %0 : f32
  }
  llvm.func @__nv_rintf(%x: f32) -> f32 {
    %0 = llvm.intr.rint(%x) : (f32) -> f32
    llvm.return %0 : f32
  }
  llvm.func @__nv_fmaxf(%a: f32, %b: f32) -> f32 {
    %0 = llvm.intr.maxnum(%a, %b) : (f32, f32) -> f32
    llvm.return %0 : f32
  }
  llvm.func @__nv_fminf(%a: f32, %b: f32) -> f32 {
    %0 = llvm.intr.minnum(%a, %b) : (f32, f32) -> f32
    llvm.return %0 : f32
  }
  // Correctly rounded.
  llvm.func @__nv_sqrtf(%x: f32) -> f32 {
    %0 = llvm.intr.sqrt(%x) : (f32) -> f32
    llvm.return %0 : f32
  }
  llvm.func @__nv_rsqrtf(%x: f32) -> f32 {
    %0 = llvm.call_intrinsic "llvm.nvvm.rsqrt.approx.f"(%x) : (f32) -> f32
    llvm.return %0 : f32
  }
  llvm.func @__nv_exp2f(%x: f32) -> f32 {
    %0 = llvm.call_intrinsic "llvm.nvvm.ex2.approx"(%x) : (f32) -> f32
    llvm.return %0 : f32
  }
  // e^x = 2^n 2^f, with n the floor of x log2(e) and f what is left, computed with log2(e) as the sum of two f32: the
  // error of a single product would grow with x. Of the result's error, relative to it, the two approximations make up
  // to 2^-22 each, and the rounding of f and of the product 2^-24 each; a subnormal result is rounded once more. Beyond
  // -104 and 89 the result is 0 and infinity, as it would be anyway; the comparisons keep a NaN.
  llvm.func @__nv_expf(%x: f32) -> f32 {
    %low = llvm.mlir.constant(-1.040000e+02 : f32) : f32
    %high = llvm.mlir.constant(8.900000e+01 : f32) : f32
    %log2e = llvm.mlir.constant(1.44269502 : f32) : f32
    %rest = llvm.mlir.constant(1.92596303E-8 : f32) : f32
    %under = llvm.fcmp "olt" %x, %low : f32
    %0 = llvm.select %under, %low, %x : i1, f32
    %over = llvm.fcmp "ogt" %0, %high : f32
    %1 = llvm.select %over, %high, %0 : i1, f32
    %product = llvm.fmul %1, %log2e : f32
    %n = llvm.intr.floor(%product) : (f32) -> f32
    %minus = llvm.fneg %n : f32
    %2 = llvm.intr.fma(%1, %log2e, %minus) : (f32, f32, f32) -> f32
    %f = llvm.intr.fma(%1, %rest, %2) : (f32, f32, f32) -> f32
    %3 = llvm.call_intrinsic "llvm.nvvm.ex2.approx"(%f) : (f32) -> f32
    %4 = llvm.call_intrinsic "llvm.nvvm.ex2.approx"(%n) : (f32) -> f32
    %5 = llvm.fmul %3, %4 : f32
    llvm.return %5 : f32
  }
}

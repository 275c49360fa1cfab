// RUN: quern-opt %s -split-input-file -verify-diagnostics --dq-pack-weights

// expected-error @+1 {{weight 'w' cannot be packed: weights of element type f64 have no layout that kernels read}}
dq.source @w : tensor<2x32xf64> in 0 at 0 bytes 512
func.func @element() {
  %0 = dq.weight @w : tensor<2x32xf64>
  return
}

// -----

// A described format whose codes no panel holds.
!seven = !dq.block<#dq.format<seven, block = 32, bytes = 34, group = 32, codes = [7 bits at 2 + i], scale = f16 at 0>>
// expected-error @+1 {{weight 'w' cannot be packed: format seven: codes of 7 bits have no panel layout (2 to 6 and 8 bits have)}}
dq.source @w : tensor<2x32x!seven> in 0 at 0 bytes 68
func.func @bits() {
  %0 = dq.weight @w : tensor<2x32x!seven>
  return
}

// -----

!three = !dq.block<#dq.format<three, block = 32, bytes = 18, group = 32, codes = [4 bits at 2 + i mod 16 shift (i floordiv 16) * 4] less 3, scale = f16 at 0>>
// expected-error @+1 {{weight 'w' cannot be packed: format three: the zero point 3 is no power of two}}
dq.source @w : tensor<2x32x!three> in 0 at 0 bytes 36
func.func @zero() {
  %0 = dq.weight @w : tensor<2x32x!three>
  return
}

// -----

!tiny = !dq.block<#dq.format<tiny, block = 16, bytes = 10, group = 16, codes = [4 bits at 2 + i mod 8 shift (i floordiv 8) * 4], scale = f16 at 0>>
// expected-error @+1 {{weight 'w' cannot be packed: format tiny: plain scales need groups of a multiple of 32}}
dq.source @w : tensor<2x32x!tiny> in 0 at 0 bytes 40
func.func @group() {
  %0 = dq.weight @w : tensor<2x32x!tiny>
  return
}

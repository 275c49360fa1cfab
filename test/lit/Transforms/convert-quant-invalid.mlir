// RUN: quern-opt %s --dq-convert-quant --split-input-file --verify-diagnostics

func.func @run_time(%x: tensor<?x64xf32>) -> tensor<?x64x!quant.uniform<i8:f32, 0.5>> {
  // expected-error@+1 {{works on values of run time; only constants that are stored, cast by quant.scast and widened by quant.dcast become weights, and dq.quantize quantizes activations}}
  %q = quant.qcast %x : tensor<?x64xf32> to tensor<?x64x!quant.uniform<i8:f32, 0.5>>
  return %q : tensor<?x64x!quant.uniform<i8:f32, 0.5>>
}

// -----

func.func @along_k() -> tensor<32x2xf32> {
  %c = arith.constant dense<1> : tensor<32x2xi8>
  %q = quant.scast %c : tensor<32x2xi8> to tensor<32x2x!quant.uniform<i8:f32:1, {0.5, 0.25}>>
  // expected-error@+1 {{cannot become a weight: scales and rows must span multiples of 32 along the last dimension}}
  %f = quant.dcast %q : tensor<32x2x!quant.uniform<i8:f32:1, {0.5, 0.25}>> to tensor<32x2xf32>
  return %f : tensor<32x2xf32>
}

// -----

func.func @too_far() -> tensor<1x32xf32> {
  %c = arith.constant dense<-1> : tensor<1x32xi8>
  %q = quant.scast %c : tensor<1x32xi8> to tensor<1x32x!quant.uniform<u8:f32, 0.5>>
  // expected-error@+1 {{cannot become a weight: integers less zero points go from 255 to 255, but must fit a signed byte}}
  %f = quant.dcast %q : tensor<1x32x!quant.uniform<u8:f32, 0.5>> to tensor<1x32xf32>
  return %f : tensor<1x32xf32>
}

// -----

func.func @vector() -> tensor<32xf32> {
  %c = arith.constant dense<1> : tensor<32xi8>
  %q = quant.scast %c : tensor<32xi8> to tensor<32x!quant.uniform<i8:f32, 0.5>>
  // expected-error@+1 {{cannot become a weight: only matrices of static shape are converted}}
  %f = quant.dcast %q : tensor<32x!quant.uniform<i8:f32, 0.5>> to tensor<32xf32>
  return %f : tensor<32xf32>
}

// -----

func.func @half() -> tensor<1x32xf16> {
  %c = arith.constant dense<1> : tensor<1x32xi8>
  %q = quant.scast %c : tensor<1x32xi8> to tensor<1x32x!quant.uniform<i8:f16, 0.5>>
  // expected-error@+1 {{cannot become a weight: only types that express f32 are converted}}
  %f = quant.dcast %q : tensor<1x32x!quant.uniform<i8:f16, 0.5>> to tensor<1x32xf16>
  return %f : tensor<1x32xf16>
}

// -----

func.func @wide() -> tensor<1x32xf32> {
  %c = arith.constant dense<1> : tensor<1x32xi16>
  %q = quant.scast %c : tensor<1x32xi16> to tensor<1x32x!quant.uniform<i16:f32, 0.5>>
  // expected-error@+1 {{cannot become a weight: integers of more than 8 bits are not converted}}
  %f = quant.dcast %q : tensor<1x32x!quant.uniform<i16:f32, 0.5>> to tensor<1x32xf32>
  return %f : tensor<1x32xf32>
}

// -----

func.func @empty() -> tensor<0x64xf32> {
  %c = arith.constant dense<> : tensor<0x64xi8>
  %q = quant.scast %c : tensor<0x64xi8> to tensor<0x64x!quant.uniform<i8:f32, 0.5>>
  // expected-error@+1 {{cannot become a weight: a matrix without elements is no weight}}
  %f = quant.dcast %q : tensor<0x64x!quant.uniform<i8:f32, 0.5>> to tensor<0x64xf32>
  return %f : tensor<0x64xf32>
}

// -----

func.func @far_zero_point() -> tensor<1x32xf32> {
  %c = arith.constant dense<1> : tensor<1x32xi8>
  %q = quant.scast %c : tensor<1x32xi8> to tensor<1x32x!quant.uniform<i8:f32, 0.5:65536>>
  // expected-error@+1 {{cannot become a weight: the zero point 65536 is far from all bytes}}
  %f = quant.dcast %q : tensor<1x32x!quant.uniform<i8:f32, 0.5:65536>> to tensor<1x32xf32>
  return %f : tensor<1x32xf32>
}

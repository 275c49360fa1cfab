// One refusal for each constraint of DQOps.td, by its id; those of formats are in invalid-formats.mlir.
// RUN: quern-opt %s -split-input-file -verify-diagnostics

// S1
// expected-error @+1 {{expected a type of static shape (S1), got 'tensor<?x32xf32>'}}
dq.source @w : tensor<?x32xf32> in 0 at 0 bytes 128

// -----

// S2
// expected-error @+1 {{expected 128 bytes for 'tensor<2x32xf16>' (S2), got 127}}
dq.source @w : tensor<2x32xf16> in 0 at 0 bytes 127

// -----

// S2
// expected-error-re @+1 {{expected 44 bytes for {{.*}} (S2), got 45}}
dq.source @w : tensor<2x32x!dq.block<q5_0>> in 0 at 0 bytes 45

// -----

// S3
// expected-error @+1 {{expected rows of whole blocks (S3)}}
dq.source @w : tensor<2x48x!dq.block<q5_0>> in 0 at 0 bytes 66

// -----

// W1
func.func @weight_unknown() {
  // expected-error @+1 {{expected @w to name a dq.source (W1)}}
  %0 = dq.weight @w : tensor<2x32xf32>
  return
}

// -----

// W1
// expected-note @+1 {{the source is here}}
dq.source @w : tensor<2x32xf16> in 0 at 0 bytes 128
func.func @weight_type() {
  // expected-error @+1 {{expected the source's type 'tensor<2x32xf16>' (W1), got 'tensor<2x32xf32>'}}
  %0 = dq.weight @w : tensor<2x32xf32>
  return
}

// -----

// Y1
func.func @relayout_shape(%w: tensor<2x32xf16>) {
  // expected-error @+1 {{expected the operand's shape and elements (Y1)}}
  %0 = dq.relayout %w : tensor<2x32xf16> -> tensor<2x64xf16>
  return
}

// -----

// Y1
func.func @relayout_elements(%w: tensor<2x32xf16>) {
  // expected-error @+1 {{expected the operand's shape and elements (Y1)}}
  %0 = dq.relayout %w : tensor<2x32xf16> -> tensor<2x32xf32>
  return
}

// -----

// D1
func.func @dequantize_shape(%w: tensor<2x32xf16>) {
  // expected-error @+1 {{expected the operand's shape (D1), got 'tensor<3x32xf32>'}}
  %0 = dq.dequantize %w : tensor<2x32xf16> -> tensor<3x32xf32>
  return
}

// -----

// D1
func.func @dequantize_elements(%w: tensor<2x32xf16>) {
  // expected-error @+1 {{must be ranked tensor of 32-bit float values}}
  %0 = dq.dequantize %w : tensor<2x32xf16> -> tensor<2x32xf16>
  return
}

// -----

// Q1
func.func @quantize_shape(%x: tensor<?x32xf32>) {
  // expected-error @+1 {{expected the operand's shape (Q1)}}
  %0 = dq.quantize %x : tensor<?x32xf32> -> tensor<?x64x!dq.act8<32>>
  return
}

// -----

// Q1
func.func @quantize_elements(%x: tensor<?x32xf32>) {
  // expected-error @+1 {{expected result elements !dq.act8 or bf16 (Q1), got 'i8'}}
  %0 = dq.quantize %x : tensor<?x32xf32> -> tensor<?x32xi8>
  return
}

// -----

// M1
func.func @matmul_inputs(%x: tensor<?x32xf32>, %w: tensor<8x64xf16>) {
  // expected-error @+1 {{expected weight 0 of width 32 (M1), got 'tensor<8x64xf16>'}}
  %0 = dq.matmul %x, [%w] : tensor<?x32xf32>, [tensor<8x64xf16>] -> tensor<?x8xf32>
  return
}

// -----

// M2
func.func @matmul_bias_count(%x: tensor<?x32xf32>, %w: tensor<8x32xf16>, %b: tensor<8xf32>) {
  // expected-error @+1 {{expected none or one bias a segment (M2), got 1}}
  %0:2 = dq.matmul %x, [%w, %w] bias(%b) : tensor<?x32xf32>, [tensor<8x32xf16>, tensor<8x32xf16>], (tensor<8xf32>) -> tensor<?x8xf32>, tensor<?x8xf32>
  return
}

// -----

// M2
func.func @matmul_bias_length(%x: tensor<?x32xf32>, %w: tensor<8x32xf16>, %b: tensor<9xf32>) {
  // expected-error @+1 {{expected bias 0 of 8 elements (M2), got 'tensor<9xf32>'}}
  %0 = dq.matmul %x, [%w] bias(%b) : tensor<?x32xf32>, [tensor<8x32xf16>], (tensor<9xf32>) -> tensor<?x8xf32>
  return
}

// -----

// M3
func.func @matmul_residual_segments(%x: tensor<?x32xf32>, %w: tensor<8x32xf16>, %r: tensor<?x8xf32>) {
  // expected-error @+1 {{expected a residual only with one segment (M3)}}
  %0:2 = dq.matmul %x, [%w, %w] residual(%r : tensor<?x8xf32>) : tensor<?x32xf32>, [tensor<8x32xf16>, tensor<8x32xf16>] -> tensor<?x8xf32>, tensor<?x8xf32>
  return
}

// -----

// M3
func.func @matmul_residual_type(%x: tensor<?x32xf32>, %w: tensor<8x32xf16>, %r: tensor<?x9xf32>) {
  // expected-error @+1 {{expected a residual of the result's type (M3), got 'tensor<?x9xf32>'}}
  %0 = dq.matmul %x, [%w] residual(%r : tensor<?x9xf32>) : tensor<?x32xf32>, [tensor<8x32xf16>] -> tensor<?x8xf32>
  return
}

// -----

// M4
func.func @swiglu_one_segment(%x: tensor<?x32xf32>, %w: tensor<8x32xf16>) {
  // expected-error @+1 {{expected two segments of equal height and no bias with swiglu (M4)}}
  %0 = dq.matmul swiglu %x, [%w] : tensor<?x32xf32>, [tensor<8x32xf16>] -> tensor<?x8xf32>
  return
}

// -----

// M4
func.func @swiglu_heights(%x: tensor<?x32xf32>, %w: tensor<8x32xf16>, %v: tensor<9x32xf16>) {
  // expected-error @+1 {{expected two segments of equal height and no bias with swiglu (M4)}}
  %0 = dq.matmul swiglu %x, [%w, %v] : tensor<?x32xf32>, [tensor<8x32xf16>, tensor<9x32xf16>] -> tensor<?x8xf32>
  return
}

// -----

// M4
func.func @swiglu_bias(%x: tensor<?x32xf32>, %w: tensor<8x32xf16>, %b: tensor<8xf32>) {
  // expected-error @+1 {{expected two segments of equal height and no bias with swiglu (M4)}}
  %0 = dq.matmul swiglu %x, [%w, %w] bias(%b, %b) : tensor<?x32xf32>, [tensor<8x32xf16>, tensor<8x32xf16>], (tensor<8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  return
}

// -----

// M5
func.func @matmul_result_count(%x: tensor<?x32xf32>, %w: tensor<8x32xf16>) {
  // expected-error @+1 {{expected 2 results (M5), got 1}}
  %0 = dq.matmul %x, [%w, %w] : tensor<?x32xf32>, [tensor<8x32xf16>, tensor<8x32xf16>] -> tensor<?x8xf32>
  return
}

// -----

// M5
func.func @matmul_result_width(%x: tensor<?x32xf32>, %w: tensor<8x32xf16>) {
  // expected-error @+1 {{expected result 0 of width 8 (M5), got 'tensor<?x9xf32>'}}
  %0 = dq.matmul %x, [%w] : tensor<?x32xf32>, [tensor<8x32xf16>] -> tensor<?x9xf32>
  return
}

// -----

// M6
func.func @matmul_float_rows(%x: tensor<?x32xf32>, %w: tensor<8x32x!dq.block<q5_0>>) {
  // expected-error @+1 {{expected !dq.act8 rows for block formats, bf16 rows for bf16 and f32 rows for other floats (M6), got 'f32' for weight 0}}
  %0 = dq.matmul %x, [%w] : tensor<?x32xf32>, [tensor<8x32x!dq.block<q5_0>>] -> tensor<?x8xf32>
  return
}

// -----

// M6
func.func @matmul_quantized_rows(%x: tensor<?x32x!dq.act8<32>>, %w: tensor<8x32xf16>) {
  // expected-error @+1 {{(M6), got '!dq.act8<32>' for weight 0 of 'f16'}}
  %0 = dq.matmul %x, [%w] : tensor<?x32x!dq.act8<32>>, [tensor<8x32xf16>] -> tensor<?x8xf32>
  return
}

// -----

// D1
func.func @dot_bytes(%a: vector<16xi32>, %u: vector<32xi8>) {
  // expected-error @+1 {{expected four bytes a lane (D1), got 'vector<32xi8>' for 'vector<16xi32>'}}
  %0 = dq.dot %a, %u, %u : vector<16xi32>, vector<32xi8>
  return
}

// -----

// D2
func.func @dot_largest(%a: vector<16xi32>, %u: vector<64xi8>) {
  // expected-error @+1 {{expected a largest code of 1 to 255 (D2), got 256}}
  %0 = dq.dot %a, %u, %u largest 256 : vector<16xi32>, vector<64xi8>
  return
}

// -----

// D2
func.func @dot_largest_signed(%a: vector<16xi32>, %u: vector<64xi8>) {
  // expected-error @+1 {{expected a largest code of 1 to 128 (D2), got 255}}
  %0 = dq.dot %a, %u, %u signed : vector<16xi32>, vector<64xi8>
  return
}

// -----

// K1
func.func @lookup_table(%u: vector<64xi8>) {
  // expected-error @+1 {{expected a table of 16 entries (K1), got 3}}
  %0 = dq.lookup %u, [1, 2, 3] : vector<64xi8>
  return
}

// -----

// Activations are quantized in groups of whole sums of 16.
// expected-error @+1 {{expected a group that is a positive multiple of 16, or 'row', got 24}}
func.func private @act8(tensor<?x32x!dq.act8<24>>)

// -----

// expected-error @+1 {{expected a group that is a positive multiple of 16, or 'row', got -1}}
func.func private @act8_negative(tensor<?x32x!dq.act8<-1>>)

// -----

// Panels have rows.
// expected-error @+1 {{expected at least one row in a panel, got 0}}
func.func private @panels(tensor<8x32xf16, #dq.panels<rows = 0>>)

// -----

// expected-error@+1 {{expected data of a vector of i8 (S4), got 'tensor<4x8xi8>'}}
dq.source @w : tensor<8xf32> data dense_resource<none> : tensor<4x8xi8>

// -----

// expected-error@+1 {{expected 32 bytes for 'tensor<8xf32>' (S2), got 31}}
dq.source @w : tensor<8xf32> data dense_resource<none> : tensor<31xi8>

// -----

func.func @rows_of_bf16(%x: tensor<?x64xf32>, %w: tensor<8x64xbf16>) {
  // expected-error @+1 {{bf16 rows for bf16 and f32 rows for other floats (M6), got 'f32' for weight 0}}
  %0 = dq.matmul %x, [%w] : tensor<?x64xf32>, [tensor<8x64xbf16>] -> tensor<?x8xf32>
  return
}

// -----

func.func @bf16_rows_of_f16(%x: tensor<?x64xbf16>, %w: tensor<8x64xf16>) {
  // expected-error @+1 {{bf16 rows for bf16 and f32 rows for other floats (M6), got 'bf16' for weight 0}}
  %0 = dq.matmul %x, [%w] : tensor<?x64xbf16>, [tensor<8x64xf16>] -> tensor<?x8xf32>
  return
}

// -----

// expected-error@+1 {{expected a matrix stored in the shape of 'tensor<2x32xf16>' (S5), got 'tensor<4x16xf32>'}}
dq.source @w : tensor<2x32xf16> from tensor<4x16xf32> in 0 at 0 bytes 256

// -----

// expected-error@+1 {{expected a matrix stored in the shape of 'tensor<32xf32>' (S5)}}
dq.source @w : tensor<32xf32> from tensor<32xf16> in 0 at 0 bytes 64

// -----

// What is stored has the bytes that the file holds.
// expected-error@+1 {{expected 256 bytes for 'tensor<2x32xf32>' (S2), got 128}}
dq.source @w : tensor<2x32xf16> from tensor<2x32xf32> in 0 at 0 bytes 128

// -----

// expected-error@+1 {{expected rows of whole blocks (S3)}}
dq.source @w : tensor<2x48x!dq.block<q5_0>> from tensor<2x48xf32> in 0 at 0 bytes 384

// -----

// expected-error@+1 {{expected importance of f32 for each column of a type after 'from' (S6), got 'tensor<31xf32>'}}
dq.source @w : tensor<2x32x!dq.block<q5_0>> from tensor<2x32xf32> in 0 at 0 bytes 256 importance dense_resource<none> : tensor<31xf32>

// -----

// expected-error@+1 {{expected importance of f32 for each column of a type after 'from' (S6)}}
dq.source @w : tensor<2x32xf32> in 0 at 0 bytes 256 importance dense_resource<none> : tensor<32xf32>

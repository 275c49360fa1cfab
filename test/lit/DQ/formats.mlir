// Every embedded file reads, prints and reads again as the format of its name.
// RUN: cat %formats/*.mlir | quern-opt | quern-opt | FileCheck %s
// A name alone, and the whole description, are the same type.
// RUN: quern-opt %s | FileCheck %s --check-prefix=SAME

// CHECK: dq.format <iq4_nl, gguf = 20,
// CHECK-SAME: table = [-127, -104,
// CHECK: dq.format <iq4_xs, gguf = 23,
// CHECK: dq.format <mxfp4, gguf = 39,
// CHECK-SAME: unit = 5.000000e-01, scale = e8m0 at 0>
// CHECK: dq.format <q2_K, gguf = 10,
// CHECK-SAME: minus = f16 at 82 times [4 bits at i shift 4]>
// CHECK: dq.format <q3_K, gguf = 11,
// CHECK: dq.format <q4_0, gguf = 2,
// CHECK: dq.format <q4_1, gguf = 3,
// CHECK-SAME: scale = f16 at 0, plus = f16 at 2>
// CHECK: dq.format <q4_K, gguf = 12,
// CHECK: dq.format <q5_0, gguf = 6,
// CHECK: dq.format <q5_1, gguf = 7,
// CHECK: dq.format <q5_K, gguf = 13,
// CHECK: dq.format <q6_K, gguf = 14,
// CHECK-SAME: scale = f16 at 208 times signed [8 bits at i + 192]>
// CHECK: dq.format <q8_0, gguf = 8,
// CHECK-SAME: codes = signed [8 bits at i + 2], scale = f16 at 0>

// SAME: !q8_0 = !dq.block<#dq.format<q8_0,
// SAME-NOT: !dq.block
// SAME: @same(tensor<32x!q8_0>, tensor<32x!q8_0>, tensor<32x!q8_0>)
func.func private @same(
  tensor<32x!dq.block<q8_0>>,
  tensor<32x!dq.block<#dq.format<q8_0>>>,
  tensor<32x!dq.block<#dq.format<q8_0, gguf = 8, block = 32, bytes = 34, group = 32,
                                 codes = signed [8 bits at 2 + i], scale = f16 at 0>>>)

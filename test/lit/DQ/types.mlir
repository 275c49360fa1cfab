// RUN: quern-opt %s | quern-opt | FileCheck %s

!q5_0 = !dq.block<q5_0>

// The file opens with the whole description of the formats it uses.
// CHECK: !q5_0 = !dq.block<#dq.format<q5_0, gguf = 6, block = 32, bytes = 22, group = 32,
// CHECK-SAME: codes = [4 bits at i mod 16 + 6 shift (i floordiv 16) * 4, 1 bits at i floordiv 8 + 2 shift i mod 8] less 16,
// CHECK-SAME: scale = f16 at 0>>

// CHECK: func.func private @weight(tensor<896x896x!q5_0>)
func.func private @weight(tensor<896x896x!q5_0>)

// CHECK: func.func private @packed(tensor<896x896x!q5_0, #dq.panels<rows = 16>>)
func.func private @packed(tensor<896x896x!q5_0, #dq.panels<rows = 16>>)

// CHECK: func.func private @activation(tensor<?x896x!dq.act8<32>>)
func.func private @activation(tensor<?x896x!dq.act8<32>>)

// One scale and one zero point for a row.
// CHECK: func.func private @row(tensor<?x896x!dq.act8<row>>)
func.func private @row(tensor<?x896x!dq.act8<row>>)

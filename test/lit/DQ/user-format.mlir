// A format of the user's is known by its name once its file is given.
// RUN: quern-opt --dq-format=%S/Inputs/q3_plain.mlir %s | FileCheck %s
// RUN: not quern-opt %s 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// RUN: not quern-opt --dq-format=%S/Inputs/q3_plain.mlir --dq-format=%S/Inputs/q3_plain.mlir %s 2>&1 | FileCheck %s --check-prefix=TWICE
// RUN: not quern-opt --dq-format=%s %s 2>&1 | FileCheck %s --check-prefix=SYNTAX
// RUN: not quern-opt --dq-format=%S/none.mlir %s 2>&1 | FileCheck %s --check-prefix=MISSING

// CHECK: !q3_plain = !dq.block<#dq.format<q3_plain, block = 32, bytes = 14, group = 32, codes = [2 bits
// CHECK: @f(tensor<8x32x!q3_plain>)
// UNKNOWN: error: no format is called 'q3_plain'
// TWICE: q3_plain.mlir: there is already a format called 'q3_plain'
// SYNTAX: user-format.mlir: not a format file
// MISSING: none.mlir: No such file or directory
func.func private @f(tensor<8x32x!dq.block<q3_plain>>)

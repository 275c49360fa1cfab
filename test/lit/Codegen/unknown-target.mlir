// RUN: not quern-opt %s --cpu-lower-target-ops=target=z80 2>&1 | FileCheck %s
// RUN: not quern-opt %s --cpu-lower-to-kernels=target=z80 2>&1 | FileCheck %s

// CHECK: error: there is no target 'z80'; the targets are x86-64-avx512bf16, x86-64-avx512vnni, x86-64-avxvnni, x86-64-avx2, x86-64-v2
module {}

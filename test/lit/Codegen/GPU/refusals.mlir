// RUN: not quern-translate --gpu-to-ptx --gpu-target=sm_99 %s 2>&1 | FileCheck %s --check-prefix=TARGET
// RUN: not quern-translate --gpu-to-ptx %s 2>&1 | FileCheck %s --check-prefix=NONE
// TARGET: error: there is no GPU target 'sm_99'; the targets are sm_75, sm_80, sm_90
// NONE: error: expected a module with one gpu.module, got 0
module {}

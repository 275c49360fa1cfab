// RUN: quern-opt --pass-pipeline='builtin.module(gpu.module(gpu-overlap-launches))' %s | FileCheck %s
// RUN: quern-translate --gpu-to-ptx --gpu-target=sm_90 %s | FileCheck %s --check-prefix=SM90
// RUN: not quern-translate --gpu-to-ptx --gpu-target=sm_86 %s 2>&1 | FileCheck %s --check-prefix=OLDER
// OLDER: error: 'llvm.inline_asm' op needs sm_90 or later; the target is sm_86

gpu.module @kernels {
  // Nothing goes past the wait, though what it reads hangs on nothing.
  // CHECK-LABEL: gpu.func @negate(
  // CHECK-NEXT: nvvm.griddepcontrol launch_dependents
  // CHECK-NEXT: llvm.inline_asm has_side_effects "griddepcontrol.wait;", "~{memory}"
  // CHECK-NEXT: llvm.load
  // SM90-LABEL: .entry negate(
  // SM90: griddepcontrol.launch_dependents;
  // SM90-NOT: {{ld\.(global\.)?b32}}
  // SM90: griddepcontrol.wait;
  // SM90: {{ld\.(global\.)?b32}}
  // SM90: ret;
  gpu.func @negate(%x: !llvm.ptr, %y: !llvm.ptr) kernel {
    %a = llvm.load %x : !llvm.ptr -> f32
    %b = arith.negf %a : f32
    llvm.store %b, %y : f32, !llvm.ptr
    gpu.return
  }

  // A kernel with a wait of its own keeps it where it is.
  // CHECK-LABEL: gpu.func @late(
  // CHECK-NEXT: nvvm.griddepcontrol launch_dependents
  // CHECK-NEXT: llvm.load
  // CHECK-NEXT: griddepcontrol.wait
  // CHECK-NEXT: llvm.store
  // SM90-LABEL: .entry late(
  // SM90: {{ld\.(global\.)?b32}}
  // SM90: griddepcontrol.wait;
  // SM90-NOT: griddepcontrol.wait;
  gpu.func @late(%w: !llvm.ptr, %y: !llvm.ptr) kernel {
    %a = llvm.load %w : !llvm.ptr -> f32
    llvm.inline_asm has_side_effects "griddepcontrol.wait;", "~{memory}" : () -> ()
    llvm.store %a, %y : f32, !llvm.ptr
    gpu.return
  }

  // What is no kernel is called by those that wait.
  // CHECK-LABEL: gpu.func @function(
  // CHECK-NEXT: gpu.return
  gpu.func @function(%x: f32) {
    gpu.return
  }
}

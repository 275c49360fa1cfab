// RUN: quern-opt %s --cpu-add-probes | FileCheck %s
// RUN: quern-opt %s --cpu-add-probes=target=x86-64-v2 | FileCheck %s --check-prefix=NARROW
// RUN: not quern-opt %s --cpu-add-probes=target=pdp-11 2>&1 | FileCheck %s --check-prefix=UNKNOWN

module {
}
// A plain loop has no prefetch, the others do.
// CHECK-LABEL: func.func @probe_read_plain(%{{.*}}: !llvm.ptr)
// CHECK-NOT: llvm.intr.prefetch
// CHECK-LABEL: func.func @probe_read_prefetch
// CHECK: llvm.intr.prefetch
// CHECK-LABEL: func.func @probe_read_streams
// CHECK: llvm.intr.prefetch
// Twelve accumulators fill the registers of this target.
// CHECK-LABEL: func.func @probe_dot
// CHECK-COUNT-12: dq.dot
// CHECK-NOT: dq.dot
// CHECK-LABEL: func.func @probe_pairs
// CHECK-COUNT-12: dq.dot_pairs
// CHECK-NOT: dq.dot_pairs
// CHECK-LABEL: func.func @probe_fma
// CHECK-COUNT-12: math.fma
// NARROW-LABEL: func.func @probe_dot
// NARROW-COUNT-2: dq.dot
// NARROW-NOT: dq.dot
// NARROW-LABEL: func.func @probe_pairs
// NARROW-COUNT-2: dq.dot_pairs
// UNKNOWN: there is no target 'pdp-11'

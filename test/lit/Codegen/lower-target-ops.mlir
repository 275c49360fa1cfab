// RUN: quern-opt %s --cpu-lower-target-ops=target=x86-64-avx512vnni | FileCheck %s --check-prefixes=CHECK,VNNI
// RUN: quern-opt %s --cpu-lower-target-ops=target=x86-64-avx512bf16 | FileCheck %s --check-prefix=BF16
// RUN: quern-opt %s --cpu-lower-target-ops=target=x86-64-v2 | FileCheck %s --check-prefixes=CHECK,V2

// CHECK-LABEL: func.func @dot
func.func @dot(%acc: vector<16xi32>, %u: vector<64xi8>, %s: vector<64xi8>) -> vector<16xi32> {
  // CHECK-NOT: dq.dot
  // VNNI: llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%{{.*}}, %{{.*}}, %{{.*}}) :
  // Bytes are widened to words first, so that no sum of two products saturates: even and odd ones, 128 bits at a time.
  // V2: %[[U:.*]] = vector.bitcast {{.*}} : vector<16xi8> to vector<8xi16>
  // V2: %[[S:.*]] = vector.bitcast {{.*}} : vector<16xi8> to vector<8xi16>
  // V2-DAG: %[[EVEN_U:.*]] = arith.andi %[[U]]
  // V2-DAG: %[[ODD_U:.*]] = arith.shrui %[[U]]
  // V2: llvm.call_intrinsic "llvm.x86.sse2.pmadd.wd"(%[[EVEN_U]], %{{.*}})
  // V2: %[[ODD_S:.*]] = arith.shrsi %[[S]]
  // V2: llvm.call_intrinsic "llvm.x86.sse2.pmadd.wd"(%[[ODD_U]], %[[ODD_S]])
  // V2-COUNT-6: llvm.x86.sse2.pmadd.wd
  // V2-NOT: llvm.x86.sse2.pmadd.wd
  %0 = dq.dot %acc, %u, %s : vector<16xi32>, vector<64xi8>
  return %0 : vector<16xi32>
}

// CHECK-LABEL: func.func @lookup
func.func @lookup(%codes: vector<64xi8>) -> vector<64xi8> {
  // VNNI: %[[TABLE:.*]] = arith.constant dense<[0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12, 0, 1, {{.*}}]> : vector<64xi8>
  // VNNI: llvm.call_intrinsic "llvm.x86.avx512.pshuf.b.512"(%[[TABLE]], %{{.*}})
  // V2: %[[TABLE:.*]] = arith.constant dense<[0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12]> : vector<16xi8>
  // V2-COUNT-4: llvm.call_intrinsic "llvm.x86.ssse3.pshuf.b.128"(%[[TABLE]], %{{.*}})
  %0 = dq.lookup %codes, [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12] : vector<64xi8>
  return %0 : vector<64xi8>
}

// The four codes of one row, for the embedding.
// CHECK-LABEL: func.func @narrow_lookup
func.func @narrow_lookup(%codes: vector<4xi8>) -> vector<4xi8> {
  // CHECK: vector.insert_strided_slice {{.*}} : vector<4xi8> into vector<16xi8>
  // CHECK: %[[OUT:.*]] = llvm.call_intrinsic "llvm.x86.ssse3.pshuf.b.128"
  // CHECK: vector.extract_strided_slice %[[OUT]] {{.*}} : vector<16xi8> to vector<4xi8>
  %0 = dq.lookup %codes, [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12] : vector<4xi8>
  return %0 : vector<4xi8>
}

// CHECK-LABEL: func.func @halves
func.func @halves(%h: vector<16xf16>, %f: vector<16xf32>) -> (vector<16xf32>, vector<16xf16>) {
  // VNNI: arith.extf {{.*}} : vector<16xf16> to vector<16xf32>
  // VNNI: arith.truncf {{.*}} : vector<16xf32> to vector<16xf16>
  // V2-NOT: arith.{{extf|truncf}}
  // V2: arith.bitcast %{{.*}} : vector<16xf16> to vector<16xi16>
  // V2: arith.bitcast %{{.*}} : vector<16xi16> to vector<16xf16>
  %0 = arith.extf %h : vector<16xf16> to vector<16xf32>
  %1 = arith.truncf %f : vector<16xf32> to vector<16xf16>
  return %0, %1 : vector<16xf32>, vector<16xf16>
}

// Other widths are left to LLVM, which has instructions or shifts for them.
// CHECK-LABEL: func.func @other_widths
func.func @other_widths(%b: vector<16xbf16>, %d: vector<8xf64>) -> (vector<16xf32>, vector<8xf32>) {
  // CHECK: arith.extf {{.*}} : vector<16xbf16> to vector<16xf32>
  // CHECK: arith.truncf {{.*}} : vector<8xf64> to vector<8xf32>
  %0 = arith.extf %b : vector<16xbf16> to vector<16xf32>
  %1 = arith.truncf %d : vector<8xf64> to vector<8xf32>
  return %0, %1 : vector<16xf32>, vector<8xf32>
}

// CHECK-LABEL: func.func @fma
// CHECK-SAME: %[[A:.*]]: vector<16xf32>, %[[B:.*]]: vector<16xf32>, %[[C:.*]]: vector<16xf32>
func.func @fma(%a: vector<16xf32>, %b: vector<16xf32>, %c: vector<16xf32>) -> vector<16xf32> {
  // VNNI: math.fma %[[A]], %[[B]], %[[C]]
  // V2: %[[AB:.*]] = arith.mulf %[[A]], %[[B]] : vector<16xf32>
  // V2: arith.addf %[[AB]], %[[C]] : vector<16xf32>
  %0 = math.fma %a, %b, %c : vector<16xf32>
  return %0 : vector<16xf32>
}

// CHECK-LABEL: func.func @exp
func.func @exp(%x: vector<16xf32>) -> vector<16xf32> {
  // CHECK-NOT: math.exp
  // V2-NOT: math.fma
  // CHECK: return
  %0 = math.exp %x : vector<16xf32>
  return %0 : vector<16xf32>
}

// A bf16 number is the upper half of the f32 one: of a pair the odd one is masked, the even one shifted. The odd product
// is added first.
// CHECK-LABEL: func.func @pairs
// BF16-LABEL: func.func @pairs
func.func @pairs(%acc: vector<16xf32>, %w: vector<32xbf16>, %x: vector<32xbf16>) -> vector<16xf32> {
  // BF16: llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%{{.*}}, %{{.*}}, %{{.*}}) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
  // BF16-NEXT: return
  // VNNI: %[[ODD:.*]] = math.fma %{{.*}}, %{{.*}}, %arg0 : vector<16xf32>
  // VNNI: math.fma %{{.*}}, %{{.*}}, %[[ODD]] : vector<16xf32>
  // V2: %[[PRODUCT:.*]] = arith.mulf
  // V2: %[[ODD:.*]] = arith.addf %[[PRODUCT]], %arg0
  // V2: arith.mulf
  // V2: arith.addf %{{.*}}, %[[ODD]]
  // CHECK-NOT: dq.dot_pairs
  %0 = dq.dot_pairs %acc, %w, %x : vector<16xf32>, vector<32xbf16>
  return %0 : vector<16xf32>
}

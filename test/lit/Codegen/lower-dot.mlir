// dq.dot for each dot instruction, by the size and sign of codes.
// RUN: quern-opt %s --cpu-lower-target-ops=target=x86-64-avx512vnni | FileCheck %s --check-prefixes=CHECK,ZMM
// RUN: quern-opt %s --cpu-lower-target-ops=target=x86-64-avxvnni | FileCheck %s --check-prefixes=CHECK,VNNI
// RUN: quern-opt %s --cpu-lower-target-ops=target=x86-64-avx2 | FileCheck %s --check-prefixes=CHECK,AVX2

// CHECK-LABEL: func.func @bytes
func.func @bytes(%acc: vector<16xi32>, %u: vector<64xi8>, %s: vector<64xi8>) -> vector<16xi32> {
  // ZMM: llvm.x86.avx512.vpdpbusd.512
  // VNNI-COUNT-2: "llvm.x86.avx512.vpdpbusd.256"(%{{.*}}) : (vector<8xi32>, vector<32xi8>, vector<32xi8>)
  // Pairs of products of whole unsigned bytes overflow 16 bits: bytes are widened first.
  // AVX2-NOT: pmadd.ub.sw
  // AVX2-COUNT-4: llvm.x86.avx2.pmadd.wd
  %0 = dq.dot %acc, %u, %s : vector<16xi32>, vector<64xi8>
  return %0 : vector<16xi32>
}

// Signed codes: magnitudes, and the sign on the other operand.
// CHECK-LABEL: func.func @signed
// CHECK-SAME: %[[ACC:.*]]: vector<8xi32>, %[[C:.*]]: vector<32xi8>, %[[S:.*]]: vector<32xi8>
func.func @signed(%acc: vector<8xi32>, %c: vector<32xi8>, %s: vector<32xi8>) -> vector<8xi32> {
  // AVX2-DAG: %[[SIGNED:.*]] = llvm.call_intrinsic "llvm.x86.avx2.psign.b"(%[[S]], %[[C]])
  // AVX2-DAG: %[[SIZE:.*]] = math.absi %[[C]]
  // AVX2: %[[PAIRS:.*]] = llvm.call_intrinsic "llvm.x86.avx2.pmadd.ub.sw"(%[[SIZE]], %[[SIGNED]])
  // AVX2: %[[SUM:.*]] = llvm.call_intrinsic "llvm.x86.avx2.pmadd.wd"(%[[PAIRS]], %{{.*}})
  // AVX2: arith.addi %[[ACC]], %[[SUM]]
  // vpdpbusd takes no signed codes.
  // VNNI-NOT: vpdpbusd
  // VNNI-COUNT-2: llvm.x86.avx2.pmadd.wd
  %0 = dq.dot %acc, %c, %s signed largest 128 : vector<8xi32>, vector<32xi8>
  return %0 : vector<8xi32>
}

// Two dots of codes of six bits fit 16 bits; the third begins anew.
// CHECK-LABEL: func.func @chain
// CHECK-SAME: %[[ACC:.*]]: vector<8xi32>, %[[U:.*]]: vector<32xi8>, %[[S:.*]]: vector<32xi8>
func.func @chain(%acc: vector<8xi32>, %u: vector<32xi8>, %s: vector<32xi8>) -> vector<8xi32> {
  // AVX2: %[[A:.*]] = llvm.call_intrinsic "llvm.x86.avx2.pmadd.ub.sw"(%[[U]], %[[S]])
  // AVX2: %[[B:.*]] = llvm.call_intrinsic "llvm.x86.avx2.pmadd.ub.sw"(%[[U]], %[[S]])
  // AVX2: %[[WORDS:.*]] = arith.addi %[[A]], %[[B]] : vector<16xi16>
  // AVX2: %[[SUM:.*]] = llvm.call_intrinsic "llvm.x86.avx2.pmadd.wd"(%[[WORDS]], %{{.*}})
  // AVX2: %[[NEXT:.*]] = arith.addi %[[ACC]], %[[SUM]] : vector<8xi32>
  // AVX2: %[[C:.*]] = llvm.call_intrinsic "llvm.x86.avx2.pmadd.ub.sw"(%[[U]], %[[S]])
  // AVX2: %[[LAST:.*]] = llvm.call_intrinsic "llvm.x86.avx2.pmadd.wd"(%[[C]], %{{.*}})
  // AVX2: arith.addi %[[NEXT]], %[[LAST]]
  %0 = dq.dot %acc, %u, %s largest 63 : vector<8xi32>, vector<32xi8>
  %1 = dq.dot %0, %u, %s largest 63 : vector<8xi32>, vector<32xi8>
  %2 = dq.dot %1, %u, %s largest 63 : vector<8xi32>, vector<32xi8>
  return %2 : vector<8xi32>
}

// A sum that is used twice is not left in 16 bits.
// CHECK-LABEL: func.func @used_twice
func.func @used_twice(%acc: vector<8xi32>, %u: vector<32xi8>, %s: vector<32xi8>) -> (vector<8xi32>, vector<8xi32>) {
  // AVX2-COUNT-2: llvm.x86.avx2.pmadd.wd
  // CHECK: return
  %0 = dq.dot %acc, %u, %s largest 15 : vector<8xi32>, vector<32xi8>
  %1 = dq.dot %0, %u, %s largest 15 : vector<8xi32>, vector<32xi8>
  return %0, %1 : vector<8xi32>, vector<8xi32>
}

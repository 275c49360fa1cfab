// Where a row's keys and values lie, for kernels that write or read the key-value cache.
#ifndef QUERN_LIB_CODEGEN_CPU_CACHEACCESS_H
#define QUERN_LIB_CODEGEN_CPU_CACHEACCESS_H

#include "lib/Codegen/Common/Emitter.h"
#include "quern/Codegen/CacheLayout.h"

namespace quern::codegen {

/// 16 numbers of a cache of f16 or f32.
inline mlir::VectorType cacheNumbers(Emitter &e, const CacheLayout &layout) {
  return layout.kind == CacheKind::F16 ? e.vec(kKeyBlock, e.getF16Type()) : e.f32s();
}

/// The keys and the values of (layer, head) in the cache of row t.
inline std::pair<mlir::Value, mlir::Value> headCache(Emitter &e, mlir::Value caches, mlir::Value capacities,
                                                     mlir::Value t, mlir::Value layer, mlir::Value head,
                                                     const CacheLayout &layout) {
  mlir::Value base = e.load(e.ptr(), e.at(caches, e.mul(t, 8)), 8);
  mlir::Value capacity = e.load(e.getI64Type(), e.at(capacities, e.mul(t, 8)), 8);
  mlir::Value bytes = e.mul(capacity, layout.positionBytes());
  mlir::Value index = e.mul(e.add(e.mul(layer, layout.kvHeads), head), 2);
  mlir::Value keys = e.at(base, e.mul(index, bytes));
  return {keys, e.at(keys, bytes)};
}

inline mlir::Value loadPosition(Emitter &e, mlir::Value positions, mlir::Value t) {
  mlir::Value position = e.load(e.getI32Type(), e.at(positions, e.mul(t, 4)), 4);
  return mlir::arith::ExtSIOp::create(e, e.getI64Type(), position);
}

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_CPU_CACHEACCESS_H

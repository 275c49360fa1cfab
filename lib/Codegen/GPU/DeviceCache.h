// Where keys and values lie in a sequence's cache on the device: f16, [layer][keys, values][kv head][capacity][D], in
// one allocation for each sequence. A row of a step names its cache and the capacity, in positions.
#ifndef QUERN_LIB_CODEGEN_GPU_DEVICECACHE_H
#define QUERN_LIB_CODEGEN_GPU_DEVICECACHE_H

#include "lib/Codegen/Common/Emitter.h"

namespace quern::codegen {

/// Arrays of a step, one entry for each row: addresses, and i64.
struct DeviceCaches {
  mlir::Value addresses, capacities;
  int64_t kvHeads, headDim;
};

/// The keys and the values of a head, each [capacity, D].
struct HeadCache {
  mlir::Value keys, values;
};
HeadCache headCache(Emitter &e, const DeviceCaches &caches, mlir::Value row, mlir::Value layer, mlir::Value head);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_DEVICECACHE_H

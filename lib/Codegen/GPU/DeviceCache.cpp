#include "DeviceCache.h"

using namespace mlir;
using namespace quern::codegen;

HeadCache quern::codegen::headCache(Emitter &e, const DeviceCaches &caches, Value row, Value layer, Value head) {
  // Said to be in device memory, since an address that was loaded could be any.
  Type pointer = LLVM::LLVMPointerType::get(e.getContext(), /*addressSpace=*/1);
  Value address = e.load(e.getI64Type(), e.at(caches.addresses, e.mul(row, 8)), 8);
  Value capacity = e.load(e.getI64Type(), e.at(caches.capacities, e.mul(row, 8)), 8);
  Value headBytes = e.mul(capacity, caches.headDim * 2);
  Value before = e.add(e.mul(layer, 2 * caches.kvHeads), head);
  Value keys = e.at(LLVM::IntToPtrOp::create(e, pointer, address), e.mul(before, headBytes));
  return {keys, e.at(keys, e.mul(headBytes, caches.kvHeads))};
}

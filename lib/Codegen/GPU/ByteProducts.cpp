#include "ByteProducts.h"

#include "HalfProducts.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

Emitter::Values codegen::emitByteProduct(Emitter &e, const GpuTarget &target, ValueRange a, ValueRange b,
                                         ValueRange c) {
  if (target.halfProductDepth >= 16)
    return emitMma(e, NVVM::MMATypes::s8, 16, 16 * int64_t(b.size()), a, b, c);
  // sm_75 has 8 x 8 x 16: each half of the rows by itself, 16 bytes after 16.
  Emitter::Values whole;
  for (size_t half = 0; half < 2; ++half) {
    Emitter::Values sums(c.slice(2 * half, 2));
    for (size_t k = 0; k < b.size(); ++k)
      sums = emitMma(e, NVVM::MMATypes::s8, 8, 16, a.slice(2 * k + half, 1), b.slice(k, 1), sums);
    whole.append(sums);
  }
  return whole;
}

Emitter::Values codegen::emitBfloatProduct(Emitter &e, ValueRange a, Value b, ValueRange c) {
  return emitMma(e, NVVM::MMATypes::bf16, 16, 8, a, b, c);
}

Emitter::Values codegen::emitBfloatProduct(Emitter &e, ValueRange a, ValueRange b, ValueRange c) {
  auto words = [&](ValueRange of) {
    return llvm::map_to_vector(of,
                               [&](Value word) -> Value { return LLVM::BitcastOp::create(e, e.getI32Type(), word); });
  };
  return emitMma(e, NVVM::MMATypes::bf16, 16, 16, words(a), words(b), c);
}

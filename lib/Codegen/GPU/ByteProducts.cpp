#include "ByteProducts.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

/// The instruction of m x 8 x k.
static Emitter::Values multiply(Emitter &e, NVVM::MMATypes type, int64_t m, int64_t k, ValueRange a, ValueRange b,
                                ValueRange c) {
  auto result = LLVM::LLVMStructType::getLiteral(e.getContext(), SmallVector<Type>(c.getTypes()));
  auto overflow = std::optional(NVVM::MMAIntOverflow::wrapped);
  if (type == NVVM::MMATypes::bf16)
    overflow.reset();
  auto product = NVVM::MmaOp::create(e, result, a, b, c, ArrayRef<int64_t>{m, 8, k}, std::nullopt, overflow,
                                     std::array{type, type}, std::array{NVVM::MMALayout::row, NVVM::MMALayout::col});
  Emitter::Values sums;
  for (int64_t i = 0; i < int64_t(c.size()); ++i)
    sums.push_back(LLVM::ExtractValueOp::create(e, product, ArrayRef<int64_t>{i}));
  return sums;
}

Emitter::Values codegen::emitByteProduct(Emitter &e, const GpuTarget &target, ValueRange a, ValueRange b,
                                         ValueRange c) {
  if (target.halfProductDepth >= 16)
    return multiply(e, NVVM::MMATypes::s8, 16, 16 * int64_t(b.size()), a, b, c);
  // sm_75 has 8 x 8 x 16: each half of the rows by itself, 16 bytes after 16.
  Emitter::Values whole;
  for (size_t half = 0; half < 2; ++half) {
    Emitter::Values sums(c.slice(2 * half, 2));
    for (size_t k = 0; k < b.size(); ++k)
      sums = multiply(e, NVVM::MMATypes::s8, 8, 16, a.slice(2 * k + half, 1), b.slice(k, 1), sums);
    whole.append(sums);
  }
  return whole;
}

Emitter::Values codegen::emitBfloatProduct(Emitter &e, ValueRange a, Value b, ValueRange c) {
  return multiply(e, NVVM::MMATypes::bf16, 16, 8, a, b, c);
}

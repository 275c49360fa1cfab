#include "HalfProducts.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

static Emitter::Values extractAll(Emitter &e, Value structure, int64_t count) {
  Emitter::Values values;
  for (int64_t i = 0; i < count; ++i)
    values.push_back(LLVM::ExtractValueOp::create(e, structure, ArrayRef<int64_t>{i}));
  return values;
}

static Type fourOf(Emitter &e, Type type) {
  return LLVM::LLVMStructType::getLiteral(e.getContext(), SmallVector<Type>(4, type));
}

Emitter::Values codegen::emitMma(Emitter &e, NVVM::MMATypes type, int64_t m, int64_t k, ValueRange a, ValueRange b,
                                 ValueRange c) {
  auto result = LLVM::LLVMStructType::getLiteral(e.getContext(), SmallVector<Type>(c.getTypes()));
  std::optional<NVVM::MMAIntOverflow> overflow;
  if (type == NVVM::MMATypes::s8)
    overflow = NVVM::MMAIntOverflow::wrapped;
  auto product = NVVM::MmaOp::create(e, result, a, b, c, ArrayRef<int64_t>{m, 8, k}, std::nullopt, overflow,
                                     std::array{type, type}, std::array{NVVM::MMALayout::row, NVVM::MMALayout::col});
  return extractAll(e, product, int64_t(c.size()));
}

Emitter::Values codegen::emitHalfProduct(Emitter &e, const GpuTarget &target, ValueRange a, ValueRange b,
                                         ValueRange c) {
  if (target.halfProductDepth == 16)
    return emitMma(e, NVVM::MMATypes::f16, 16, 16, a, b, c);
  Emitter::Values first = emitMma(e, NVVM::MMATypes::f16, 16, 8, a.take_front(2), b.take_front(1), c);
  return emitMma(e, NVVM::MMATypes::f16, 16, 8, a.drop_front(2), b.drop_front(1), first);
}

Emitter::Values codegen::loadMatrices(Emitter &e, Value address, bool transposed) {
  auto layout = transposed ? NVVM::MMALayout::col : NVVM::MMALayout::row;
  auto loaded =
      NVVM::LdMatrixOp::create(e, fourOf(e, e.getI32Type()), address, 4, layout,
                               NVVM::LdStMatrixShapeAttr::get(e.getContext(), 8, 8), NVVM::LdStMatrixEltType::B16);
  Emitter::Values words = extractAll(e, loaded, 4);
  for (Value &word : words)
    word = LLVM::BitcastOp::create(e, e.vec(2, e.getF16Type()), word);
  return words;
}

Value codegen::packHalves(Emitter &e, Value low, Value high) {
  Value pair = vector::FromElementsOp::create(e, e.f32s(2), ValueRange{low, high});
  return arith::TruncFOp::create(e, e.vec(2, e.getF16Type()), pair);
}

void codegen::copyToShared(Emitter &e, const GpuTarget &target, Value from, Value to, Value bytes) {
  if (target.asyncCopies)
    NVVM::CpAsyncOp::create(e, to, from, 16, NVVM::LoadCacheModifierKind::CG, bytes);
  else
    e.store(e.load(e.i32s(4), from, 16), to, 16);
}

void codegen::endCopies(Emitter &e, const GpuTarget &target) {
  if (target.asyncCopies)
    NVVM::CpAsyncCommitGroupOp::create(e);
}

void codegen::waitForCopies(Emitter &e, const GpuTarget &target, int32_t pending) {
  if (target.asyncCopies)
    NVVM::CpAsyncWaitGroupOp::create(e, uint32_t(pending));
}

// Sizes as fold results: arithmetic that computes now what is known now.
#include "Emitter.h"

#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

#include <functional>

using namespace mlir;
using namespace quern;
using namespace quern::import;

Value Emitter::toValue(OpFoldResult size) {
  if (auto value = dyn_cast<Value>(size))
    return value;
  return arith::ConstantIndexOp::create(b, loc, *getConstantIntValue(size));
}

template <typename Op, typename Fold>
static OpFoldResult combine(Emitter &e, OpFoldResult x, OpFoldResult y, Fold fold) {
  std::optional<int64_t> left = getConstantIntValue(x), right = getConstantIntValue(y);
  if (left && right)
    return e.index(fold(*left, *right));
  return Op::create(e.b, e.loc, e.toValue(x), e.toValue(y)).getResult();
}

/// Wraps where a machine word would, so that no constant in a file is undefined behaviour.
static int64_t wrap(uint64_t value) { return int64_t(value); }

OpFoldResult Emitter::add(OpFoldResult x, OpFoldResult y) {
  return combine<arith::AddIOp>(*this, x, y, [](int64_t a, int64_t c) { return wrap(uint64_t(a) + uint64_t(c)); });
}
OpFoldResult Emitter::sub(OpFoldResult x, OpFoldResult y) {
  return combine<arith::SubIOp>(*this, x, y, [](int64_t a, int64_t c) { return wrap(uint64_t(a) - uint64_t(c)); });
}
OpFoldResult Emitter::mul(OpFoldResult x, OpFoldResult y) {
  if (isConstantIntValue(x, 1))
    return y;
  if (isConstantIntValue(y, 1))
    return x;
  return combine<arith::MulIOp>(*this, x, y, [](int64_t a, int64_t c) { return wrap(uint64_t(a) * uint64_t(c)); });
}
OpFoldResult Emitter::div(OpFoldResult x, OpFoldResult y) {
  return combine<arith::FloorDivSIOp>(*this, x, y, [](int64_t a, int64_t c) {
    return c == 0 ? 0 : a / c - int64_t(a % c != 0 && (a < 0) != (c < 0));
  });
}
OpFoldResult Emitter::min(OpFoldResult x, OpFoldResult y) {
  return combine<arith::MinSIOp>(*this, x, y, [](int64_t a, int64_t c) { return std::min(a, c); });
}
OpFoldResult Emitter::max(OpFoldResult x, OpFoldResult y) {
  return combine<arith::MaxSIOp>(*this, x, y, [](int64_t a, int64_t c) { return std::max(a, c); });
}

OpFoldResult Emitter::select(arith::CmpIPredicate condition, OpFoldResult x, OpFoldResult y, OpFoldResult yes,
                             OpFoldResult no) {
  std::optional<int64_t> left = getConstantIntValue(x), right = getConstantIntValue(y);
  if (left && right)
    return arith::applyCmpPredicate(condition, APInt(64, uint64_t(*left)), APInt(64, uint64_t(*right))) ? yes : no;
  Value holds = arith::CmpIOp::create(b, loc, condition, toValue(x), toValue(y));
  return arith::SelectOp::create(b, loc, holds, toValue(yes), toValue(no)).getResult();
}

/// x * y of sizes that are not negative; the greatest number where that is not below 2^63.
static OpFoldResult saturatingMul(Emitter &e, OpFoldResult x, OpFoldResult y) {
  std::optional<int64_t> left = getConstantIntValue(x), right = getConstantIntValue(y);
  if (left == 1 || right == 1 || left == 0 || right == 0)
    return left == 1 || right == 0 ? y : x;
  if (left && right) {
    int64_t product;
    return e.index(__builtin_mul_overflow(*left, *right, &product) ? INT64_MAX : product);
  }
  Type i64 = e.b.getI64Type();
  Scalars s{e.b, e.loc};
  auto wide = [&](OpFoldResult size) { return s.make<arith::IndexCastOp>(i64, e.toValue(size)); };
  auto product = arith::MulUIExtendedOp::create(e.b, e.loc, wide(x), wide(y));
  Value zero = s.integer(i64, 0);
  Value fits = s.make<arith::AndIOp>(s.equal(product.getHigh(), zero), s.lessOrEqual(zero, product.getLow()));
  Value bounded = s.select(fits, product.getLow(), s.integer(i64, INT64_MAX));
  return s.make<arith::IndexCastOp>(e.b.getIndexType(), bounded);
}

OpFoldResult Emitter::product(ArrayRef<OpFoldResult> sizes) {
  OpFoldResult all = index(1);
  for (OpFoldResult size : sizes)
    all = saturatingMul(*this, all, size);
  return all;
}

void Emitter::check(OpBuilder &builder, Value condition, const std::string &message) {
  cf::AssertOp::create(builder, loc, condition, "node " + node + ": " + message);
}

void Emitter::check(arith::CmpIPredicate predicate, OpFoldResult x, OpFoldResult y, const std::string &message) {
  if (x == y && predicate == arith::CmpIPredicate::eq)
    return;
  std::optional<int64_t> left = getConstantIntValue(x), right = getConstantIntValue(y);
  if (left && right) {
    if (!arith::applyCmpPredicate(predicate, APInt(64, uint64_t(*left)), APInt(64, uint64_t(*right))) && !failure)
      failure = message + " (" + std::to_string(*left) + " and " + std::to_string(*right) + ")";
    return;
  }
  check(b, arith::CmpIOp::create(b, loc, predicate, toValue(x), toValue(y)), message);
}

std::optional<Dims> Emitter::elementsOf(Tensor &tensor) {
  if (tensor.elements)
    return tensor.elements;
  if (tensor.rank() > 1 || !isInteger(tensor.type))
    return std::nullopt;
  std::optional<int64_t> count = tensor.rank() == 0 ? 1 : getConstantIntValue(tensor.dims[0]);
  if (!count || *count > 64)
    return std::nullopt;
  Dims elements;
  for (int64_t i = 0; i < *count; ++i) {
    llvm::SmallVector<Value> at;
    if (tensor.rank() == 1)
      at.push_back(toValue(index(i)));
    Value element = tensor::ExtractOp::create(b, loc, valueOf(tensor), at);
    elements.push_back(isUnsigned(tensor.type)
                           ? arith::IndexCastUIOp::create(b, loc, b.getIndexType(), element).getResult()
                           : arith::IndexCastOp::create(b, loc, b.getIndexType(), element).getResult());
  }
  tensor.elements = elements;
  return elements;
}

Tensor Emitter::fromElements(const Dims &elements, int32_t type, bool scalar) {
  Tensor tensor;
  tensor.type = type;
  if (!scalar)
    tensor.dims = {index(int64_t(elements.size()))};
  tensor.elements = elements;
  return tensor;
}

Value Emitter::valueOf(Tensor &tensor) {
  if (tensor.value)
    return tensor.value;
  RankedTensorType type = tensorType(tensor.dims, tensor.type);
  unsigned bits = type.getElementType().getIntOrFloatBitWidth();
  llvm::SmallVector<APInt> constants;
  llvm::SmallVector<Value> values;
  for (OpFoldResult element : *tensor.elements)
    if (std::optional<int64_t> known = getConstantIntValue(element))
      constants.emplace_back(bits, uint64_t(*known), true, true);
  if (constants.size() == tensor.elements->size())
    return tensor.value = arith::ConstantOp::create(b, loc, DenseElementsAttr::get(type, constants));
  for (OpFoldResult element : *tensor.elements)
    values.push_back(arith::IndexCastOp::create(b, loc, type.getElementType(), toValue(element)));
  return tensor.value = tensor::FromElementsOp::create(b, loc, type, values);
}

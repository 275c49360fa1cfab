// The general forms that give elements other places: reshape, transpose; and the product of matrices.
#include "Emitter.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace quern;
using namespace quern::import;

using utils::IteratorType;

/// As a vector.
Value Emitter::flatten(Tensor &x) {
  Value value = valueOf(x);
  if (x.rank() == 1)
    return value;
  if (x.rank() == 0) {
    auto vector = RankedTensorType::get({1}, elementType(x.type));
    return tensor::ExpandShapeOp::create(b, loc, vector, value, ArrayRef<ReassociationIndices>());
  }
  if (llvm::any_of(x.dims, [](OpFoldResult size) { return isConstantIntValue(size, 0); }))
    return empty({index(0)}, x.type); // a static 0 and dynamic sizes do not collapse into one another
  ReassociationIndices all;
  for (int64_t i = 0; i < x.rank(); ++i)
    all.push_back(i);
  return tensor::CollapseShapeOp::create(b, loc, value, ArrayRef<ReassociationIndices>(all));
}

/// A vector in another shape, element by element.
static Tensor copyByPlace(Emitter &e, Value vector, const Dims &dims, int32_t type) {
  llvm::SmallVector<Value> sizes;
  for (OpFoldResult size : dims)
    sizes.push_back(e.toValue(size));
  return e.compute(dims, type, [&](const Scalars &s, ValueRange at) {
    Value place = at[0];
    for (size_t i = 1; i < sizes.size(); ++i)
      place = s.make<arith::AddIOp>(s.make<arith::MulIOp>(place, sizes[i]), at[i]);
    return e.load(s, vector, place);
  });
}

Tensor Emitter::reshape(Tensor x, const Dims &dims) {
  if (x.dims == dims)
    return x;
  Tensor out{Value(), x.type, dims, {}};
  if (x.elements && dims.size() <= 1)
    out.elements = x.elements;
  for (OpFoldResult size : dims)
    if (!llvm::is_contained(x.dims, size))
      check(arith::CmpIPredicate::sge, size, index(0), "the new shape has a negative size");
  OpFoldResult before = product(x.dims), after = product(dims);
  check(arith::CmpIPredicate::eq, before, after, "the new shape has another number of elements");
  Value vector = flatten(x);
  auto flat = RankedTensorType::get({getConstantIntValue(after).value_or(ShapedType::kDynamic)}, elementType(x.type));
  if (vector.getType() != flat)
    vector = tensor::CastOp::create(b, loc, flat, vector);
  if (dims.empty()) {
    out.value = tensor::CollapseShapeOp::create(b, loc, tensorType(dims, x.type), vector,
                                                ArrayRef<ReassociationIndices>());
    return out;
  }
  out.value = vector;
  // Upstream has expand_shape only where a group has at most one dynamic size, and that for a dynamic whole (not beside
  // a static 0); others are copied by place.
  auto dynamic = llvm::count_if(dims, [](OpFoldResult size) { return !getConstantIntValue(size); });
  if (dynamic > 1 || (dynamic == 1 && getConstantIntValue(after)))
    return copyByPlace(*this, vector, dims, x.type);
  ReassociationIndices all;
  for (size_t i = 0; i < dims.size(); ++i)
    all.push_back(int64_t(i));
  if (dims.size() > 1)
    out.value = tensor::ExpandShapeOp::create(b, loc, tensorType(dims, x.type), vector,
                                              ArrayRef<ReassociationIndices>(all), dims);
  return out;
}

Tensor Emitter::transpose(Tensor x, ArrayRef<int64_t> permutation) {
  Dims dims;
  llvm::SmallVector<AffineExpr> places(permutation.size());
  for (auto [to, from] : llvm::enumerate(permutation)) {
    dims.push_back(x.dims[from]);
    places[from] = b.getAffineDimExpr(unsigned(to));
  }
  auto rank = unsigned(permutation.size());
  llvm::SmallVector<AffineMap> maps{AffineMap::get(rank, 0, places, b.getContext()), b.getMultiDimIdentityMap(rank)};
  llvm::SmallVector<IteratorType> iterators(rank, IteratorType::parallel);
  auto op = linalg::GenericOp::create(b, loc, tensorType(dims, x.type), valueOf(x), empty(dims, x.type), maps,
                                      iterators, [&](OpBuilder &inner, Location where, ValueRange elements) {
                                        linalg::YieldOp::create(inner, where, elements[0]);
                                      });
  return Tensor{op.getResult(0), x.type, dims, {}};
}

/// Loops over the leading sizes, m, k, n, with n innermost: a row of the result grows by a row of y times one element
/// of x, which vectorizes without changing the order of any sum.
Tensor Emitter::matmul(Tensor x, Tensor y) {
  auto batch = unsigned(x.dims.size() - 2), rank = batch + 3;
  Dims dims(x.dims.begin(), x.dims.end() - 1);
  dims.push_back(y.dims.back());
  check(arith::CmpIPredicate::eq, x.dims.back(), y.dims[batch], "the inner sizes of its factors differ");
  int32_t type = foldType(x.type);
  auto map = [&](std::initializer_list<unsigned> last) {
    llvm::SmallVector<AffineExpr> places;
    for (unsigned i = 0; i < batch; ++i)
      places.push_back(b.getAffineDimExpr(i));
    for (unsigned i : last)
      places.push_back(b.getAffineDimExpr(batch + i));
    return AffineMap::get(rank, 0, places, b.getContext());
  };
  llvm::SmallVector<IteratorType> iterators(rank, IteratorType::parallel);
  iterators[batch + 1] = IteratorType::reduction;
  Scalars outside{b, loc};
  Value init = linalg::FillOp::create(b, loc, outside.constant(elementType(type), 0), empty(dims, type)).getResult(0);
  auto op = linalg::GenericOp::create(
      b, loc, init.getType(), ValueRange{valueOf(x), valueOf(y)}, init,
      ArrayRef<AffineMap>{map({0, 1}), map({1, 2}), map({0, 2})}, iterators,
      [&](OpBuilder &inner, Location where, ValueRange elements) {
        Scalars s{inner, where};
        Value product = s.mul(widen(s, elements[0]), widen(s, elements[1]));
        linalg::YieldOp::create(inner, where, s.add(elements[2], product));
      });
  Tensor out{op.getResult(0), type, dims, {}};
  return convert(out, x.type);
}

// The general forms, as linalg on tensors.
#include "Emitter.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace quern;
using namespace quern::import;

using utils::IteratorType;

Type Emitter::elementType(int32_t type) {
  switch (type) {
  case kF32:
    return b.getF32Type();
  case kF64:
    return b.getF64Type();
  case kF16:
    return b.getF16Type();
  case kBF16:
    return b.getBF16Type();
  case kBool:
    return b.getI1Type();
  case kU8:
  case kI8:
    return b.getI8Type();
  case kU16:
  case kI16:
    return b.getI16Type();
  case kU32:
  case kI32:
    return b.getI32Type();
  default:
    return b.getI64Type();
  }
}

Type Emitter::computeType(int32_t type) {
  return type == kF16 || type == kBF16 ? b.getF32Type() : elementType(type);
}

RankedTensorType Emitter::tensorType(const Dims &dims, int32_t type) {
  llvm::SmallVector<int64_t> shape;
  for (OpFoldResult size : dims)
    shape.push_back(getConstantIntValue(size).value_or(ShapedType::kDynamic));
  return RankedTensorType::get(shape, elementType(type));
}

Value Emitter::empty(const Dims &dims, int32_t type) {
  return tensor::EmptyOp::create(b, loc, dims, elementType(type));
}

Tensor Emitter::scalar(double value, int32_t type) {
  Tensor out;
  out.type = type;
  Scalars s{b, loc};
  auto constant = s.constant(elementType(type), value).getDefiningOp<arith::ConstantOp>();
  auto attribute = DenseElementsAttr::get(tensorType({}, type), constant.getValue());
  out.value = arith::ConstantOp::create(b, loc, attribute);
  return out;
}

Value Emitter::widen(const Scalars &s, Value x) {
  if (x.getType().isF16() || x.getType().isBF16())
    return s.make<arith::ExtFOp>(s.b.getF32Type(), x);
  return x;
}

Value Emitter::narrow(const Scalars &s, Value x, Type type) {
  return x.getType() == type ? x : s.make<arith::TruncFOp>(type, x);
}

Value Emitter::load(const Scalars &s, Value tensor, ValueRange indices) {
  return widen(s, s.make<tensor::ExtractOp>(tensor, indices));
}

static std::string shapeText(const Dims &dims) {
  std::string text = "[";
  for (OpFoldResult size : dims) {
    std::optional<int64_t> known = getConstantIntValue(size);
    text += (text.size() > 1 ? ", " : "") + (known ? std::to_string(*known) : "?");
  }
  return text + "]";
}

Result<Dims> Emitter::broadcast(ArrayRef<Dims> shapes) {
  size_t rank = 0;
  for (const Dims &dims : shapes)
    rank = std::max<size_t>(rank, dims.size());
  Dims out(rank, index(1));
  for (const Dims &dims : shapes)
    for (size_t i = 0; i < dims.size(); ++i) {
      OpFoldResult &size = out[rank - dims.size() + i], next = dims[i];
      if (size == next || isConstantIntValue(next, 1))
        continue;
      std::optional<int64_t> left = getConstantIntValue(size), right = getConstantIntValue(next);
      if (left && right && *left != 1)
        return fail("the shapes " + shapeText(out) + " and " + shapeText(dims) + " do not fit each other");
      if (isConstantIntValue(size, 1) || (right && !left))
        size = next; // a known size other than 1 holds for the result, whatever the dynamic one is
      else if (!right && !left)
        size = select(arith::CmpIPredicate::eq, size, index(1), next, size);
    }
  return out;
}

namespace {
/// How a body reaches the elements of one broadcast input.
struct Access {
  std::optional<AffineMap> map; ///< none: by indices that the body computes
  Value tensor;
  llvm::SmallVector<Value> isOne; ///< for each dimension that may or may not be broadcast: whether it is 1
};
} // namespace

/// Reads an element of an input whose sizes of 1 are known at run time only.
static Value loadLoose(Emitter &e, const Scalars &s, const Access &access, size_t rank) {
  llvm::SmallVector<Value> at;
  for (size_t i = 0; i < access.isOne.size(); ++i) {
    Value zero = s.make<arith::ConstantIndexOp>(0);
    Value here = s.make<linalg::IndexOp>(int64_t(rank - access.isOne.size() + i));
    at.push_back(access.isOne[i] ? s.select(access.isOne[i], zero, here) : here);
  }
  return e.load(s, access.tensor, at);
}

static Access accessTo(Emitter &e, Tensor tensor, const Dims &dims) {
  size_t rank = dims.size(), own = tensor.dims.size();
  Access access{AffineMap(), e.valueOf(tensor), {}};
  llvm::SmallVector<AffineExpr> places;
  bool loose = false;
  for (size_t i = 0; i < own; ++i) {
    OpFoldResult size = tensor.dims[i], wanted = dims[rank - own + i];
    bool same = size == wanted, one = isConstantIntValue(size, 1);
    places.push_back(same ? e.b.getAffineDimExpr(unsigned(rank - own + i)) : e.b.getAffineConstantExpr(0));
    if (same) {
      access.isOne.push_back(Value());
      continue;
    }
    OpFoldResult isOne = e.select(arith::CmpIPredicate::eq, size, e.index(1), e.index(1), e.index(0));
    Value flag = e.toValue(isOne);
    access.isOne.push_back(
        arith::CmpIOp::create(e.b, e.loc, arith::CmpIPredicate::ne, flag, e.toValue(e.index(0))));
    if (one)
      continue;
    loose = true;
    e.check(arith::CmpIPredicate::eq, e.select(arith::CmpIPredicate::eq, size, e.index(1), wanted, size), wanted,
            "the shapes of its inputs do not fit each other");
  }
  if (loose)
    access.map.reset();
  else
    access.map = AffineMap::get(unsigned(rank), 0, places, e.b.getContext());
  return access;
}

Result<Tensor> Emitter::elementwise(ArrayRef<Tensor> inputs, int32_t type, Body body) {
  llvm::SmallVector<Dims> shapes;
  for (const Tensor &input : inputs)
    shapes.push_back(input.dims);
  QUERN_ASSIGN(Dims dims, broadcast(shapes));
  llvm::SmallVector<Access> accesses;
  llvm::SmallVector<Value> operands;
  llvm::SmallVector<AffineMap> maps;
  for (const Tensor &input : inputs) {
    accesses.push_back(accessTo(*this, input, dims));
    if (!accesses.back().map)
      continue;
    operands.push_back(accesses.back().tensor);
    maps.push_back(*accesses.back().map);
  }
  maps.push_back(b.getMultiDimIdentityMap(unsigned(dims.size())));
  llvm::SmallVector<IteratorType> iterators(dims.size(), IteratorType::parallel);
  auto op = linalg::GenericOp::create(
      b, loc, tensorType(dims, type), operands, empty(dims, type), maps, iterators,
      [&](OpBuilder &inner, Location where, ValueRange elements) {
        Scalars s{inner, where, !inputs.empty() && isUnsigned(inputs.back().type)};
        llvm::SmallVector<Value> values;
        size_t next = 0;
        for (const Access &access : accesses)
          values.push_back(access.map ? widen(s, elements[next++]) : loadLoose(*this, s, access, dims.size()));
        linalg::YieldOp::create(inner, where, narrow(s, body(s, values), elementType(type)));
      });
  return Tensor{op.getResult(0), type, dims, {}};
}

Tensor Emitter::compute(const Dims &dims, int32_t type, Body body) {
  llvm::SmallVector<IteratorType> iterators(dims.size(), IteratorType::parallel);
  auto op = linalg::GenericOp::create(
      b, loc, tensorType(dims, type), ValueRange(), empty(dims, type), b.getMultiDimIdentityMap(unsigned(dims.size())),
      iterators, [&](OpBuilder &inner, Location where, ValueRange) {
        Scalars s{inner, where, isUnsigned(type)};
        llvm::SmallVector<Value> indices;
        for (size_t i = 0; i < dims.size(); ++i)
          indices.push_back(s.make<linalg::IndexOp>(int64_t(i)));
        linalg::YieldOp::create(inner, where, narrow(s, body(s, indices), elementType(type)));
      });
  return Tensor{op.getResult(0), type, dims, {}};
}

Tensor Emitter::forEach(ArrayRef<OpFoldResult> dims, Tensor start, Step body) {
  llvm::SmallVector<Value> low, high, step;
  for (OpFoldResult size : dims) {
    low.push_back(toValue(index(0)));
    high.push_back(toValue(size));
    step.push_back(toValue(index(1)));
  }
  scf::LoopNest nest = scf::buildLoopNest(b, loc, low, high, step, valueOf(start),
                                          [&](OpBuilder &inner, Location where, ValueRange at, ValueRange tensors) {
                                            Scalars s{inner, where, isUnsigned(start.type)};
                                            return scf::ValueVector{body(s, at, tensors.front())};
                                          });
  return Tensor{nest.results.front(), start.type, start.dims, {}};
}

Value Emitter::store(const Scalars &s, Value element, Value tensor, ValueRange indices) {
  Type type = cast<RankedTensorType>(tensor.getType()).getElementType();
  return s.make<tensor::InsertOp>(narrow(s, element, type), tensor, indices);
}

Tensor Emitter::filled(const Dims &dims, int32_t type, double value) {
  return compute(dims, type, [&](const Scalars &s, ValueRange) { return s.constant(computeType(type), value); });
}

Result<Tensor> Emitter::broadcastTo(Tensor x, const Dims &dims) {
  return elementwise({filled(dims, x.type, 0), x}, x.type, [](const Scalars &, ValueRange v) { return v[1]; });
}

/// Halves are folded in f32.
static int32_t foldType(int32_t type) { return type == kF16 || type == kBF16 ? int32_t(kF32) : type; }

Tensor Emitter::reduce(Tensor x, ArrayRef<bool> reduced, bool keep, TypedAttr start, Body combine) {
  Dims left, kept;
  llvm::SmallVector<AffineExpr> places;
  llvm::SmallVector<IteratorType> iterators;
  for (unsigned i = 0; i < x.dims.size(); ++i) {
    iterators.push_back(reduced[i] ? IteratorType::reduction : IteratorType::parallel);
    kept.push_back(reduced[i] ? index(1) : x.dims[i]);
    if (reduced[i])
      continue;
    left.push_back(x.dims[i]);
    places.push_back(b.getAffineDimExpr(i));
  }
  int32_t type = foldType(x.type);
  Value first = arith::ConstantOp::create(b, loc, start);
  Value init = linalg::FillOp::create(b, loc, first, empty(left, type)).getResult(0);
  auto rank = unsigned(x.dims.size());
  llvm::SmallVector<AffineMap> maps{b.getMultiDimIdentityMap(rank), AffineMap::get(rank, 0, places, b.getContext())};
  auto op = linalg::GenericOp::create(b, loc, init.getType(), valueOf(x), init, maps, iterators,
                                      [&](OpBuilder &inner, Location where, ValueRange elements) {
                                        Scalars s{inner, where, isUnsigned(type)};
                                        Value next = combine(s, {widen(s, elements[0]), elements[1]});
                                        linalg::YieldOp::create(inner, where, next);
                                      });
  Tensor out{op.getResult(0), type, left, {}};
  return keep ? reshape(out, kept) : out;
}

/// As a vector.
Value Emitter::flatten(Tensor &x) {
  Value value = valueOf(x);
  if (x.rank() == 1)
    return value;
  if (x.rank() == 0) {
    auto vector = RankedTensorType::get({1}, elementType(x.type));
    return tensor::ExpandShapeOp::create(b, loc, vector, value, ArrayRef<ReassociationIndices>());
  }
  ReassociationIndices all;
  for (int64_t i = 0; i < x.rank(); ++i)
    all.push_back(i);
  return tensor::CollapseShapeOp::create(b, loc, value, ArrayRef<ReassociationIndices>(all));
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
  // Upstream lowers expand_shape only where a group has at most one dynamic size; others are copied by place.
  if (llvm::count_if(dims, [](OpFoldResult size) { return !getConstantIntValue(size); }) > 1) {
    llvm::SmallVector<Value> sizes;
    for (OpFoldResult size : dims)
      sizes.push_back(toValue(size));
    return compute(dims, x.type, [&](const Scalars &s, ValueRange at) {
      Value place = at[0];
      for (size_t i = 1; i < sizes.size(); ++i)
        place = s.make<arith::AddIOp>(s.make<arith::MulIOp>(place, sizes[i]), at[i]);
      return load(s, vector, place);
    });
  }
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
  auto op = linalg::GenericOp::create(b, loc, tensorType(dims, x.type), valueOf(x), empty(dims, x.type), maps, iterators,
                                      [&](OpBuilder &inner, Location where, ValueRange elements) {
                                        linalg::YieldOp::create(inner, where, elements[0]);
                                      });
  return Tensor{op.getResult(0), x.type, dims, {}};
}

/// Loops over the leading sizes, m, k, n, with n innermost: a row of the result grows by a row of y times one element of
/// x, which vectorizes without changing the order of any sum.
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

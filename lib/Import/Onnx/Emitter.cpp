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

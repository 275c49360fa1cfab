// Operators whose elements are chosen by their place: triangles, diagonals, one-hot rows, padding.
#include "Node.h"

#include "quern/Support/Quoted.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace quern;
using namespace quern::import;

using Predicate = arith::CmpIPredicate;

/// The upper triangle (column - row >= k) or the lower one (<= k) of each matrix, zeros elsewhere.
static Status importTrilu(Node &node) {
  Emitter &e = node.e;
  QUERN_ASSIGN(Tensor x, node.input(0));
  if (!isComputable(x.type) || x.rank() < 2)
    return x.rank() < 2 ? Status(node.wrong("needs a matrix")) : Status(node.wrongType(x.type));
  Dims k = {e.index(0)};
  if (node.has(1)) {
    QUERN_ASSIGN(k, node.sizes(1, "the diagonal k"));
  }
  if (k.size() != 1)
    return node.wrong("needs one number k");
  Value source = e.valueOf(x), diagonal = e.toValue(k[0]);
  auto keeps = node.integer("upper", 1) != 0 ? Predicate::sge : Predicate::sle;
  node.set(0, e.compute(x.dims, x.type, [&](const Scalars &s, ValueRange at) {
    Value distance = s.make<arith::SubIOp>(at.back(), at[at.size() - 2]);
    Value element = e.load(s, source, at);
    return s.select(s.make<arith::CmpIOp>(keeps, distance, diagonal), element, s.constant(element.getType(), 0));
  }));
  return {};
}

static Status importEyeLike(Node &node) {
  Emitter &e = node.e;
  QUERN_ASSIGN(Tensor x, node.input(0));
  auto type = int32_t(node.integer("dtype", x.type));
  if (!isComputable(type) || x.rank() != 2)
    return node.wrong("needs a matrix, and a type of elements that is supported");
  int64_t k = node.integer("k", 0);
  node.set(0, e.compute(x.dims, type, [&](const Scalars &s, ValueRange at) {
    Value on = s.equal(at[1], s.make<arith::AddIOp>(at[0], s.make<arith::ConstantIndexOp>(k)));
    Type element = e.computeType(type);
    return s.select(on, s.constant(element, 1), s.constant(element, 0));
  }));
  return {};
}

/// values[1] where the index is the place along the new axis, values[0] elsewhere; indices outside choose no place.
static Status importOneHot(Node &node) {
  Emitter &e = node.e;
  QUERN_ASSIGN(Tensor indices, node.input(0));
  QUERN_ASSIGN(Tensor depth, node.input(1));
  QUERN_ASSIGN(Tensor values, node.input(2));
  for (int32_t type : {indices.type, depth.type, values.type})
    if (!isComputable(type) || type == kBool)
      return node.wrongType(type);
  depth = e.convert(depth, kI64);
  std::optional<Dims> size = e.elementsOf(depth);
  if (!size || size->size() != 1 || values.rank() != 1)
    return node.wrong("needs one depth and two values");
  e.check(Predicate::eq, values.dims[0], e.index(2), "needs two values");
  e.check(Predicate::sge, (*size)[0], e.index(0), "its depth is negative");
  QUERN_ASSIGN(int64_t axis, node.axis(node.integer("axis", -1), indices.rank() + 1));
  Dims dims(indices.dims);
  dims.insert(dims.begin() + axis, (*size)[0]);
  indices = e.convert(indices, kI64);
  Value places = e.valueOf(indices), both = e.valueOf(values), length = e.toValue((*size)[0]);
  node.set(0, e.compute(dims, values.type, [&](const Scalars &s, ValueRange at) {
    llvm::SmallVector<Value> from(at);
    from.erase(from.begin() + axis);
    Value zero = s.make<arith::ConstantIndexOp>(0), one = s.make<arith::ConstantIndexOp>(1);
    Value place = s.make<arith::IndexCastOp>(s.b.getIndexType(), s.make<tensor::ExtractOp>(places, from));
    Value isNegative = s.make<arith::CmpIOp>(Predicate::slt, place, zero);
    place = s.select(isNegative, s.make<arith::AddIOp>(place, length), place);
    return e.load(s, both, s.select(s.equal(place, at[size_t(axis)]), one, zero));
  }));
  return {};
}

namespace {
/// How an axis of Pad is filled beyond its ends.
enum class Beyond { Constant, Edge, Reflect, Wrap };
} // namespace

/// The place in an axis of `size` elements that the place `at`, inside or beyond, shows.
static Value shownPlace(const Scalars &s, Beyond mode, Value at, Value size) {
  Value zero = s.make<arith::ConstantIndexOp>(0), one = s.make<arith::ConstantIndexOp>(1);
  Value last = s.make<arith::SubIOp>(size, one);
  auto modulo = [&](Value x, Value period) {
    Value rest = s.make<arith::RemSIOp>(x, period);
    return s.select(s.make<arith::CmpIOp>(Predicate::slt, rest, zero), s.make<arith::AddIOp>(rest, period), rest);
  };
  if (mode == Beyond::Edge)
    return s.make<arith::MinSIOp>(s.make<arith::MaxSIOp>(at, zero), last);
  if (mode == Beyond::Wrap)
    return modulo(at, size);
  // The axis and its mirror image, without the ends twice, come again and again.
  Value twice = s.make<arith::MaxSIOp>(s.make<arith::AddIOp>(last, last), one), place = modulo(at, twice);
  return s.make<arith::MinSIOp>(place, s.make<arith::SubIOp>(twice, place));
}

/// The pads of each axis, before and behind; an axis that is not named has none.
static Status readPads(Node &node, int64_t rank, Dims &before, Dims &behind) {
  Dims pads;
  if (auto old = node.integers("pads")) {
    for (int64_t pad : *old)
      pads.push_back(node.e.index(pad));
  } else {
    QUERN_ASSIGN(pads, node.sizes(1, "the pads"));
  }
  std::vector<int64_t> axes;
  for (int64_t i = 0; i < rank; ++i)
    axes.push_back(i);
  if (node.has(3)) {
    QUERN_ASSIGN(axes, node.constants(3, "the axes"));
  }
  if (pads.size() != 2 * axes.size())
    return node.wrong("needs two pads for each axis");
  for (size_t i = 0; i < axes.size(); ++i) {
    QUERN_ASSIGN(int64_t axis, node.axis(axes[i], rank));
    before[axis] = pads[i];
    behind[axis] = pads[axes.size() + i];
  }
  return {};
}

static Status importPad(Node &node) {
  Emitter &e = node.e;
  QUERN_ASSIGN(Tensor x, node.input(0));
  if (!isComputable(x.type))
    return node.wrongType(x.type);
  static const llvm::StringMap<Beyond> kModes = {
      {"constant", Beyond::Constant}, {"edge", Beyond::Edge}, {"reflect", Beyond::Reflect}, {"wrap", Beyond::Wrap}};
  auto mode = kModes.find(node.text("mode", "constant"));
  if (mode == kModes.end())
    return node.wrong("has the mode " + inQuotes(node.text("mode", "")) +
                      "; constant, edge, reflect and wrap are known");
  Dims before(x.dims.size(), e.index(0)), behind(before), dims;
  QUERN_TRY(readPads(node, x.rank(), before, behind));
  Tensor fill = e.scalar(node.real("value", 0), x.type);
  if (node.has(2)) {
    QUERN_ASSIGN(fill, node.input(2));
    if (fill.type != x.type)
      return node.wrong("its constant is of another type than its data");
    fill = e.reshape(fill, {});
  }
  bool constant = mode->second == Beyond::Constant;
  llvm::SmallVector<Value> offsets, sizes;
  for (auto [size, first, last] : llvm::zip(x.dims, before, behind)) {
    dims.push_back(e.add(e.add(first, size), last));
    if (getConstantIntValue(dims.back()).value_or(0) < 0)
      return node.wrong("takes away more than there is");
    e.check(Predicate::sge, dims.back(), e.index(0), "takes away more than there is");
    if (!constant)
      e.check(Predicate::sgt, size, e.index(0), "an empty axis has nothing to repeat");
    offsets.push_back(e.toValue(first));
    sizes.push_back(e.toValue(size));
  }
  Value source = e.valueOf(x), other = e.valueOf(fill);
  node.set(0, e.compute(dims, x.type, [&](const Scalars &s, ValueRange at) -> Value {
    llvm::SmallVector<Value> from;
    Value inside = s.integer(s.b.getI1Type(), 1);
    for (auto [index, offset, size] : llvm::zip(at, offsets, sizes)) {
      Value place = s.make<arith::SubIOp>(index, offset);
      from.push_back(constant ? place : shownPlace(s, mode->second, place, size));
      inside = s.make<arith::AndIOp>(inside, s.make<arith::CmpIOp>(Predicate::ult, place, size));
    }
    if (!constant)
      return e.load(s, source, from);
    auto branch = scf::IfOp::create(
        s.b, s.loc, inside,
        [&](OpBuilder &b, Location loc) { scf::YieldOp::create(b, loc, e.load(Scalars{b, loc}, source, from)); },
        [&](OpBuilder &b, Location loc) { scf::YieldOp::create(b, loc, e.load(Scalars{b, loc}, other, {})); });
    return branch.getResult(0);
  }));
  return {};
}

void import::addFilling(Operators &operators) {
  operators["Trilu"] = importTrilu;
  operators["EyeLike"] = importEyeLike;
  operators["OneHot"] = importOneHot;
  operators["Pad"] = importPad;
}

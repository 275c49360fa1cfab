// Softmax and normalizations, in terms of reductions.
#include "Node.h"

#include "mlir/Dialect/Utils/StaticValueUtils.h"

#include <cmath>

using namespace mlir;
using namespace quern;
using namespace quern::import;

/// `size` as a number of the type, usable in bodies.
static Value countOf(Emitter &e, OpFoldResult size, Type type) {
  if (std::optional<int64_t> known = getConstantIntValue(size))
    return Scalars{e.b, e.loc}.constant(type, double(*known));
  Value wide = arith::IndexCastOp::create(e.b, e.loc, e.b.getI64Type(), e.toValue(size));
  return arith::SIToFPOp::create(e.b, e.loc, type, wide);
}

static Tensor sum(Emitter &e, Tensor x, ArrayRef<bool> reduced, bool keep) {
  TypedAttr zero = e.b.getFloatAttr(e.computeType(x.type), 0);
  return e.reduce(x, reduced, keep, zero, [](const Scalars &s, ValueRange v) { return s.add(v[0], v[1]); });
}

Tensor Emitter::mean(Tensor x, ArrayRef<bool> reduced, bool keep) {
  OpFoldResult count = index(1);
  for (auto [i, size] : llvm::enumerate(x.dims))
    if (reduced[i])
      count = mul(count, size);
  Tensor total = sum(*this, x, reduced, keep);
  Value divisor = countOf(*this, count, computeType(x.type));
  return *elementwise(total, total.type, [&](const Scalars &s, ValueRange v) { return s.div(v[0], divisor); });
}

Tensor Emitter::softmax(Tensor x, ArrayRef<bool> reduced, bool logarithm) {
  TypedAttr least = b.getFloatAttr(b.getF32Type(), -INFINITY);
  Tensor top = reduce(x, reduced, true, least, [](const Scalars &s, ValueRange v) { return s.max(v[0], v[1]); });
  if (logarithm) {
    Tensor shifted = *elementwise({x, top}, kF32, [](const Scalars &s, ValueRange v) { return s.sub(v[0], v[1]); });
    Tensor powers = *elementwise(shifted, kF32, [](const Scalars &s, ValueRange v) { return s.exp(v[0]); });
    return *elementwise({shifted, sum(*this, powers, reduced, true)}, kF32, [](const Scalars &s, ValueRange v) {
      return s.sub(v[0], s.make<math::LogOp>(v[1]));
    });
  }
  Tensor powers = *elementwise({x, top}, kF32, [](const Scalars &s, ValueRange v) { return s.exp(s.sub(v[0], v[1])); });
  return *elementwise({powers, sum(*this, powers, reduced, true)}, kF32,
                        [](const Scalars &s, ValueRange v) { return s.div(v[0], v[1]); });
}

/// Before opset 13 all axes from `axis` on are one; the default axis was 1.
static Status importSoftmax(Node &node) {
  QUERN_ASSIGN(Tensor x, node.input(0));
  if (!isFloat(x.type) || x.type == kF64)
    return node.wrongType(x.type);
  bool old = node.opset() < 13;
  QUERN_ASSIGN(int64_t axis, node.axis(node.integer("axis", old ? 1 : -1), x.rank()));
  llvm::SmallVector<bool> reduced(size_t(x.rank()), false);
  for (int64_t i = axis; i < (old ? x.rank() : axis + 1); ++i)
    reduced[size_t(i)] = true;
  Tensor out = node.e.softmax(node.e.convert(x, kF32), reduced, node.op() == "LogSoftmax");
  node.set(0, node.e.convert(out, x.type));
  return {};
}

/// (x - mean) / sqrt(variance + epsilon) over the axes in `reduced`; without `centered` the mean is taken as 0.
struct Normalized {
  Tensor y, mean, inverseDeviation;
};
static Normalized normalize(Emitter &e, Tensor x, ArrayRef<bool> reduced, double epsilon, bool centered) {
  Normalized out;
  Tensor difference = x;
  if (centered) {
    out.mean = e.mean(x, reduced, true);
    difference =
        *e.elementwise({x, out.mean}, x.type, [](const Scalars &s, ValueRange v) { return s.sub(v[0], v[1]); });
  }
  Tensor squares = *e.elementwise(difference, x.type, [](const Scalars &s, ValueRange v) { return s.mul(v[0], v[0]); });
  out.inverseDeviation = *e.elementwise(e.mean(squares, reduced, true), x.type, [&](const Scalars &s, ValueRange v) {
    Value shifted = s.add(v[0], s.constant(v[0].getType(), epsilon));
    return s.div(s.constant(v[0].getType(), 1), s.make<math::SqrtOp>(shifted));
  });
  out.y = *e.elementwise({difference, out.inverseDeviation}, x.type,
                         [](const Scalars &s, ValueRange v) { return s.mul(v[0], v[1]); });
  return out;
}

/// LayerNormalization, and RMSNormalization, which neither centers nor shifts. Statistics are computed in f32, those of
/// f64 in f64, whatever stash_type says.
static Status importLayerNorm(Node &node) {
  Emitter &e = node.e;
  QUERN_ASSIGN(Tensor x, node.input(0));
  if (!isFloat(x.type))
    return node.wrongType(x.type);
  bool centered = node.op() == "LayerNormalization";
  QUERN_ASSIGN(int64_t axis, node.axis(node.integer("axis", -1), x.rank()));
  llvm::SmallVector<bool> reduced(size_t(x.rank()), false);
  for (int64_t i = axis; i < x.rank(); ++i)
    reduced[size_t(i)] = true;
  int32_t work = x.type == kF64 ? int32_t(kF64) : int32_t(kF32);
  Normalized normal = normalize(e, e.convert(x, work), reduced, node.real("epsilon", 1e-5f), centered);
  std::vector<Tensor> inputs = {e.convert(normal.y, x.type)};
  for (int i = 1; i <= (centered ? 2 : 1); ++i)
    if (node.has(i)) {
      QUERN_ASSIGN(Tensor factor, node.input(i));
      inputs.push_back(e.convert(factor, x.type));
    }
  if (centered) {
    node.set(1, normal.mean);
    node.set(2, normal.inverseDeviation);
  }
  return node.finish(e.elementwise(inputs, x.type, [](const Scalars &s, ValueRange v) {
    Value scaled = v.size() > 1 ? s.mul(v[0], v[1]) : v[0];
    return v.size() > 2 ? s.add(scaled, v[2]) : scaled;
  }));
}

void import::addNormalization(Operators &operators) {
  operators["Softmax"] = importSoftmax;
  operators["LogSoftmax"] = importSoftmax;
  operators["LayerNormalization"] = importLayerNorm;
  operators["RMSNormalization"] = importLayerNorm;
}

// The standard's Attention and RotaryEmbedding, in terms of products of matrices and softmax.
#include "Node.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

#include <cmath>

using namespace mlir;
using namespace quern;
using namespace quern::import;

using Predicate = arith::CmpIPredicate;

/// [batch, tokens, heads * size] -> [batch, heads, tokens, size]; four dimensions stay as they are.
static Result<Tensor> splitHeads(Node &node, int input, const char *countName) {
  Emitter &e = node.e;
  QUERN_ASSIGN(Tensor x, node.input(input));
  if (!isFloat(x.type) || x.type == kF64)
    return node.wrongType(x.type);
  if (x.rank() == 4)
    return x;
  int64_t heads = node.integer(countName, 0);
  if (x.rank() != 3 || heads < 1)
    return node.wrong("needs inputs of four dimensions, or of three and " + std::string(countName));
  OpFoldResult count = e.index(heads), size = e.div(x.dims[2], count);
  return e.transpose(e.reshape(x, {x.dims[0], x.dims[1], count, size}), {0, 2, 1, 3});
}

/// A cache and what is new, one behind the other along axis 2.
static Result<Tensor> appended(Node &node, int cache, Tensor x) {
  Emitter &e = node.e;
  if (!node.has(cache))
    return x;
  QUERN_ASSIGN(Tensor past, node.input(cache));
  if (past.type != x.type || past.rank() != 4)
    return node.wrong("its cache should be of the type of its inputs and of four dimensions");
  for (int64_t i : {0, 1, 3})
    e.check(Predicate::eq, past.dims[i], x.dims[i], "its cache does not fit its inputs");
  Dims dims(x.dims), starts(4, e.index(0)), steps(4, e.index(1));
  dims[2] = e.add(past.dims[2], x.dims[2]);
  Value whole = tensor::EmptyOp::create(e.b, e.loc, dims, e.elementType(x.type));
  for (Tensor part : {past, x}) {
    if (!isConstantIntValue(part.dims[2], 0))
      whole = tensor::InsertSliceOp::create(e.b, e.loc, e.valueOf(part), whole, starts, part.dims, steps);
    starts[2] = part.dims[2];
  }
  return Tensor{whole, x.type, dims, {}};
}

/// Each head of keys or values for the query heads that share it, as f32.
static Tensor repeatHeads(Emitter &e, Tensor x, OpFoldResult heads) {
  x = e.convert(x, kF32);
  if (heads == x.dims[1])
    return x;
  Dims dims(x.dims);
  dims[1] = heads;
  e.check(Predicate::sgt, x.dims[1], e.index(0), "it has no heads of keys");
  OpFoldResult group = e.div(heads, e.max(x.dims[1], e.index(1)));
  e.check(Predicate::eq, e.mul(group, x.dims[1]), heads, "its query heads are no multiple of its key heads");
  Value source = e.valueOf(x), each = e.toValue(e.max(group, e.index(1)));
  return e.compute(dims, kF32, [&](const Scalars &s, ValueRange at) {
    llvm::SmallVector<Value> from(at);
    from[1] = s.make<arith::DivUIOp>(at[1], each);
    return e.load(s, source, from);
  });
}

/// The mask as what is added to the scores, with `keys` as its last size: what it lacks there is not attended.
static Result<Tensor> additiveMask(Node &node, OpFoldResult keys) {
  Emitter &e = node.e;
  QUERN_ASSIGN(Tensor mask, node.input(3));
  if ((mask.type != kBool && !isFloat(mask.type)) || mask.type == kF64 || mask.rank() == 0 || mask.rank() > 4)
    return node.wrong("its mask should be of bool or floats and have one to four dimensions");
  Dims dims(mask.dims);
  dims.back() = keys;
  Value source = e.valueOf(mask), length = e.toValue(mask.dims.back());
  bool isBool = mask.type == kBool, whole = mask.dims.back() == keys;
  return e.compute(dims, kF32, [&](const Scalars &s, ValueRange at) -> Value {
    Value never = s.constant(s.b.getF32Type(), -INFINITY);
    auto load = [&](const Scalars &in) {
      Value element = e.load(in, source, at);
      return isBool ? in.select(element, in.constant(in.b.getF32Type(), 0), in.constant(in.b.getF32Type(), -INFINITY))
                    : element;
    };
    if (whole)
      return load(s);
    Value inside = s.make<arith::CmpIOp>(Predicate::ult, at.back(), length);
    return scf::IfOp::create(
               s.b, s.loc, inside,
               [&](OpBuilder &b, Location loc) { scf::YieldOp::create(b, loc, load(Scalars{b, loc})); },
               [&](OpBuilder &b, Location loc) { scf::YieldOp::create(b, loc, never); })
        .getResult(0);
  });
}

namespace {
/// Which keys a query may see because of its position.
struct Visibility {
  bool causal;
  int64_t left, right; ///< window sizes; -1: no bound
  OpFoldResult past;   ///< number of keys before the first query; unless `lengths` tells it for each sequence
  Value lengths;       ///< [batch]: keys that are valid; null: all
  OpFoldResult queries;

  bool matters() const { return causal || left >= 0 || right >= 0 || lengths; }
  Value at(Emitter &e, const Scalars &s, ValueRange at) const;
};
} // namespace

Value Visibility::at(Emitter &e, const Scalars &s, ValueRange at) const {
  Value key = at[3], visible = s.integer(s.b.getI1Type(), 1);
  auto require = [&](Value holds) { visible = s.make<arith::AndIOp>(visible, holds); };
  auto atMost = [&](Value x, Value y) { return s.make<arith::CmpIOp>(Predicate::sle, x, y); };
  auto number = [&](int64_t value) { return s.make<arith::ConstantIndexOp>(value); };
  Value offset = e.toValue(past);
  if (lengths) {
    Value valid = s.make<arith::IndexCastOp>(s.b.getIndexType(), s.make<tensor::ExtractOp>(lengths, at[0]));
    offset = s.make<arith::SubIOp>(valid, e.toValue(queries));
    require(s.make<arith::CmpIOp>(Predicate::slt, key, valid));
  }
  Value position = s.make<arith::AddIOp>(at[2], offset);
  if (causal)
    require(atMost(key, position));
  if (left >= 0)
    require(atMost(s.make<arith::SubIOp>(position, key), number(left)));
  if (right >= 0)
    require(atMost(s.make<arith::SubIOp>(key, position), number(right)));
  return visible;
}

/// Scores with everything that is not to be seen at -infinity.
static Result<Tensor> masked(Node &node, Tensor scores, const Visibility &visibility) {
  Emitter &e = node.e;
  std::vector<Tensor> inputs = {scores};
  if (node.has(3)) {
    QUERN_ASSIGN(Tensor mask, additiveMask(node, scores.dims[3]));
    inputs.push_back(mask);
  }
  auto out = e.elementwise(inputs, kF32, [&](const Scalars &s, ValueRange v) {
    Value never = s.constant(s.b.getF32Type(), -INFINITY), score = v[0];
    if (v.size() > 1) // a score may be infinite or NaN where the mask hides it
      score = s.select(s.equal(v[1], never), never, s.add(score, v[1]));
    if (!visibility.matters())
      return score;
    llvm::SmallVector<Value> at;
    for (int64_t i = 0; i < 4; ++i)
      at.push_back(s.make<linalg::IndexOp>(i));
    return s.select(visibility.at(e, s, at), score, never);
  });
  return out ? std::move(out) : Result<Tensor>(node.wrong(out.error().message));
}

/// Softmax over the keys; a query that sees none has zeros.
static Tensor probabilities(Emitter &e, Tensor scores) {
  llvm::SmallVector<bool> keys{false, false, false, true};
  TypedAttr least = e.b.getF32FloatAttr(-INFINITY);
  Tensor top = e.reduce(scores, keys, true, least, [](const Scalars &s, ValueRange v) { return s.max(v[0], v[1]); });
  Tensor soft = e.softmax(scores, keys);
  return *e.elementwise({soft, top}, kF32, [](const Scalars &s, ValueRange v) {
    Value none = s.equal(v[1], s.constant(v[1].getType(), -INFINITY));
    return s.select(none, s.constant(v[0].getType(), 0), v[0]);
  });
}

static Result<Visibility> visibilityOf(Node &node, const Tensor &query) {
  Emitter &e = node.e;
  Visibility out{node.integer("is_causal", 0) != 0, node.integer("left_window_size", -1),
                 node.integer("right_window_size", -1), e.index(0), Value(), query.dims[2]};
  if (node.has(4)) {
    QUERN_ASSIGN(Tensor past, node.input(4));
    out.past = past.rank() == 4 ? past.dims[2] : out.past;
  }
  if (node.has(6)) {
    QUERN_ASSIGN(Tensor lengths, node.input(6));
    if (!isIndex(lengths.type) || lengths.rank() != 1)
      return node.wrong("its lengths of keys should be a list of integers");
    e.check(Predicate::eq, lengths.dims[0], query.dims[0], "needs one length of keys for each sequence");
    out.lengths = e.valueOf(lengths);
  }
  return out;
}

/// Output 0, back in the layout of the query.
static void setResult(Node &node, Tensor out, int64_t rank, int32_t type) {
  Emitter &e = node.e;
  if (rank == 3) {
    out = e.transpose(out, {0, 2, 1, 3});
    out = e.reshape(out, {out.dims[0], out.dims[1], e.mul(out.dims[2], out.dims[3])});
  }
  node.set(0, e.convert(out, type));
}

/// softmax(softcap(q k / sqrt(size)) + mask) v; everything between inputs and outputs in f32.
static Status importAttention(Node &node) {
  Emitter &e = node.e;
  QUERN_ASSIGN(Tensor original, node.input(0));
  QUERN_ASSIGN(Tensor query, splitHeads(node, 0, "q_num_heads"));
  QUERN_ASSIGN(Tensor newKey, splitHeads(node, 1, "kv_num_heads"));
  QUERN_ASSIGN(Tensor newValue, splitHeads(node, 2, "kv_num_heads"));
  QUERN_ASSIGN(Tensor key, appended(node, 4, newKey));
  QUERN_ASSIGN(Tensor value, appended(node, 5, newValue));
  if (key.type != query.type || value.type != key.type || node.has(4) != node.has(5))
    return node.wrong("needs queries, keys and values of one type, and either both caches or none");
  std::optional<int64_t> size = getConstantIntValue(query.dims[3]);
  if (!size || *size < 1)
    return node.wrong("the size of a head should be known when compiling");
  QUERN_ASSIGN(Visibility visibility, visibilityOf(node, query));
  double factor = std::sqrt(node.real("scale", 1 / std::sqrt(double(*size))));
  auto scaled = [&](Tensor x) { // as both factors are scaled, neither overflows a half
    return *e.elementwise(x, kF32, [&](const Scalars &s, ValueRange v) {
      return s.mul(v[0], s.constant(v[0].getType(), factor));
    });
  };
  Tensor keys = scaled(repeatHeads(e, key, query.dims[1]));
  auto scores = e.multiply(scaled(query), e.transpose(keys, {0, 1, 3, 2}));
  if (!scores)
    return node.wrong(scores.error().message);
  Tensor raw = *scores;
  if (double cap = node.real("softcap", 0); cap > 0)
    scores = e.elementwise(*scores, kF32, [&](const Scalars &s, ValueRange v) {
      Value limit = s.constant(v[0].getType(), cap);
      return s.mul(s.make<math::TanhOp>(s.div(v[0], limit)), limit);
    });
  QUERN_ASSIGN(Tensor hidden, masked(node, *scores, visibility));
  Tensor soft = probabilities(e, hidden);
  auto out = e.multiply(soft, repeatHeads(e, value, query.dims[1]));
  if (!out)
    return node.wrong(out.error().message);
  setResult(node, *out, original.rank(), query.type);
  node.set(1, key);
  node.set(2, value);
  int64_t mode = node.integer("qk_matmul_output_mode", 0);
  node.set(3, e.convert(mode == 0 ? raw : mode == 1 ? *scores : mode == 2 ? hidden : soft, query.type));
  return {};
}

/// Turns pairs of a head's elements by the angle of their position: halves of the head, or neighbours (interleaved).
static Status importRotary(Node &node) {
  Emitter &e = node.e;
  QUERN_ASSIGN(Tensor x, node.input(0));
  QUERN_ASSIGN(Tensor cosines, node.input(1));
  QUERN_ASSIGN(Tensor sines, node.input(2));
  if (!isFloat(x.type) || x.type != cosines.type || x.type != sines.type)
    return node.wrong("needs floats of one type");
  bool positions = node.has(3), flat = x.rank() == 3, interleaved = node.integer("interleaved", 0) != 0;
  Tensor ids;
  if (positions) {
    QUERN_ASSIGN(ids, node.input(3));
  }
  int64_t rank = positions ? 2 : 3, heads = node.integer("num_heads", 0);
  std::optional<int64_t> width = getConstantIntValue(x.dims.empty() ? e.index(0) : x.dims.back());
  if ((x.rank() != 4 && !(flat && heads > 0)) || !width || (flat && *width % heads != 0))
    return node.wrong("needs an input of four dimensions, or of three and num_heads; its last size should be known");
  int64_t size = flat ? *width / heads : *width, turned = node.integer("rotary_embedding_dim", 0);
  turned = turned ? turned : size;
  if (turned < 2 || turned % 2 != 0 || turned > size || cosines.rank() != rank || sines.rank() != rank ||
      (positions && (!isIndex(ids.type) || ids.rank() != 2)))
    return node.wrong("its head size, caches or positions do not fit each other");
  for (const Tensor *cache : {&cosines, &sines}) {
    e.check(Predicate::eq, cache->dims.back(), e.index(turned / 2), "its caches do not fit the size of its heads");
    for (int64_t i = 0; i < 2 && !positions; ++i)
      e.check(Predicate::eq, cache->dims[i], x.dims[i == 0 ? 0 : flat ? 1 : 2], "its caches do not fit its input");
  }
  for (int64_t i = 0; i < 2 && positions; ++i)
    e.check(Predicate::eq, ids.dims[i], x.dims[i == 0 ? 0 : flat ? 1 : 2], "its positions do not fit its input");
  e.check(Predicate::eq, cosines.dims[0], sines.dims[0], "its caches differ in size");
  Value source = e.valueOf(x), cosine = e.valueOf(cosines), sine = e.valueOf(sines);
  Value places = positions ? e.valueOf(ids) : Value(), most = e.toValue(cosines.dims[0]);
  node.set(0, e.compute(x.dims, x.type, [&](const Scalars &s, ValueRange at) {
    auto number = [&](int64_t value) -> Value { return s.make<arith::ConstantIndexOp>(value); };
    Value inHead = flat ? s.make<arith::RemUIOp>(at[2], number(size)) : at[3];
    Value isTurned = s.make<arith::CmpIOp>(Predicate::ult, inHead, number(turned));
    Value d = s.select(isTurned, inHead, number(0)), half = number(turned / 2);
    Value isFirst = interleaved ? s.equal(s.make<arith::RemUIOp>(d, number(2)), number(0))
                                : s.make<arith::CmpIOp>(Predicate::ult, d, half);
    Value step = interleaved ? number(1) : half;
    Value angle = interleaved ? s.make<arith::DivUIOp>(d, number(2)) : s.make<arith::RemUIOp>(d, half);
    Value last = s.select(isTurned, at.back(), s.sub(at.back(), inHead));
    llvm::SmallVector<Value> partner(at), place{at[0], at[flat ? 1 : 2]};
    partner.back() = s.select(isFirst, s.add(last, step), s.sub(last, step));
    if (positions)
      place = {node.checkedIndex(s, s.make<tensor::ExtractOp>(places, place), most)};
    place.push_back(angle);
    Value own = e.load(s, source, at), other = s.mul(e.load(s, sine, place), e.load(s, source, partner));
    Value product = s.mul(e.load(s, cosine, place), own);
    return s.select(isTurned, s.select(isFirst, s.sub(product, other), s.add(product, other)), own);
  }));
  return {};
}

void import::addAttention(Operators &operators) {
  operators["Attention"] = importAttention;
  operators["RotaryEmbedding"] = importRotary;
}

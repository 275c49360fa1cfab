// Fused operators of attention and the rotary embedding, as their specifications say them.
#include "Evaluator.h"

#include <algorithm>
#include <cmath>
#include <limits>

using namespace quern;
using namespace quern::import;
using namespace quern::import::language;

namespace {
/// [batch, heads, rows, size], from tensors of that shape or of [batch, rows, heads * size].
struct Heads {
  int64_t batch = 0, heads = 0, rows = 0, size = 0;
  std::vector<double> data;

  double *row(int64_t b, int64_t h, int64_t t) { return data.data() + ((b * heads + h) * rows + t) * size; }
  const double *row(int64_t b, int64_t h, int64_t t) const { return const_cast<Heads *>(this)->row(b, h, t); }
  Array array() const { return {{batch, heads, rows, size}, data, false}; }
  /// As [batch, rows, heads * size].
  Array flat() const;
};
} // namespace

Array Heads::flat() const {
  Array out{{batch, rows, heads * size}, std::vector<double>(data.size()), false};
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t t = 0; t < rows; ++t)
      for (int64_t h = 0; h < heads; ++h)
        std::copy_n(row(b, h, t), size, out.data.data() + ((b * rows + t) * heads + h) * size);
  return out;
}

/// Columns from `first` on of a tensor of rank 3, as `heads` heads; the whole of one of rank 4.
static Result<Heads> split(Call &call, const Array &from, int64_t heads, int64_t first = 0, int64_t width = -1) {
  Heads out;
  if (from.rank() == 4) {
    out = {from.shape[0], from.shape[1], from.shape[2], from.shape[3], from.data};
    return out;
  }
  if (from.rank() != 3 || heads < 1)
    return call.wrong("needs tensors of rank 4, or of rank 3 and the number of heads");
  int64_t columns = from.shape[2];
  width = width < 0 ? columns : width;
  if (width % heads != 0 || first + width > columns)
    return call.wrong("its heads do not divide its columns");
  out = {from.shape[0], heads, from.shape[1], width / heads, {}};
  out.data.resize(static_cast<size_t>(out.batch * out.rows * width));
  for (int64_t b = 0; b < out.batch; ++b)
    for (int64_t t = 0; t < out.rows; ++t)
      for (int64_t h = 0; h < heads; ++h)
        std::copy_n(from.data.data() + (b * out.rows + t) * columns + first + h * out.size, out.size, out.row(b, h, t));
  return out;
}

/// Turns pairs of each head's leading elements by the angles of the row's position.
/// `tables`: cosines and sines [positions, pairs]; `at(b, t)` is the row in them.
template <typename At>
static Status rotate(Call &call, Heads &x, const Array &cosines, const Array &sines, bool interleaved, At at) {
  if (cosines.rank() < 1 || cosines.shape != sines.shape)
    return call.wrong("its tables of cosines and sines differ in shape");
  int64_t pairs = cosines.shape.back(), rows = pairs ? cosines.size() / pairs : 0;
  if (2 * pairs > x.size)
    return call.wrong("turns more elements than a head has");
  for (int64_t b = 0; b < x.batch; ++b)
    for (int64_t t = 0; t < x.rows; ++t) {
      int64_t position = at(b, t);
      if (position < 0 || position >= rows)
        return call.wrong(kNoCosines + std::to_string(position));
      for (int64_t h = 0; h < x.heads; ++h)
        for (int64_t i = 0; i < pairs; ++i) {
          double c = cosines.data[size_t(position * pairs + i)], s = sines.data[size_t(position * pairs + i)];
          double &first = x.row(b, h, t)[interleaved ? 2 * i : i];
          double &second = x.row(b, h, t)[interleaved ? 2 * i + 1 : i + pairs];
          std::tie(first, second) = std::pair(first * c - second * s, second * c + first * s);
        }
    }
  return {};
}

/// RotaryEmbedding: of the standard (X, cosines, sines, positions), and of com.microsoft (X, positions, cosines,
/// sines).
static Status rotaryEmbedding(Call &call) {
  bool standard = call.node.op == "RotaryEmbedding";
  size_t cosines = standard ? 1 : 2, positions = standard ? 3 : 1;
  if (call.node.integer("rotary_embedding_dim", 0) != 0 || call.node.integer("is_packed_batching", 0) != 0 ||
      call.node.real("scale", 1) != 1)
    return call.wrong("turns heads in part, or with a scale, which is not supported");
  int64_t heads = call.node.integer("num_heads", 0);
  if (!standard && heads == 0 && call[0].rank() == 3)
    heads = call[0].shape[2] / std::max<int64_t>(2 * call[cosines].shape.back(), 1);
  QUERN_ASSIGN(Heads x, split(call, call[0], heads));
  std::vector<int64_t> at = call.has(positions) ? call[positions].integers() : std::vector<int64_t>();
  auto row = [&](int64_t b, int64_t t) {
    if (at.size() == 1)
      return at[0] + t;
    auto i = static_cast<size_t>(b * x.rows + t);
    return at.empty() ? static_cast<int64_t>(i) : i < at.size() ? at[i] : -1;
  };
  QUERN_TRY(rotate(call, x, call[cosines], call[cosines + 1], call.node.integer("interleaved", 0) != 0, row));
  call.outputs.push_back(call[0].rank() == 4 ? x.array() : x.flat());
  return {};
}

/// The rows of `past`, then those of `x`.
static Result<Heads> append(Call &call, const Array *past, const Heads &x) {
  if (!past)
    return x;
  if (past->rank() != 4 || past->shape[0] != x.batch || past->shape[1] != x.heads || past->shape[3] != x.size)
    return call.wrong("its cache does not fit its keys and values");
  Heads out{x.batch, x.heads, past->shape[2] + x.rows, x.size, {}};
  out.data.resize(static_cast<size_t>(out.batch * out.heads * out.rows * out.size));
  for (int64_t i = 0; i < x.batch * x.heads; ++i) {
    double *to = std::copy_n(past->data.data() + i * past->shape[2] * x.size, past->shape[2] * x.size,
                             out.data.data() + i * out.rows * x.size);
    std::copy_n(x.data.data() + i * x.rows * x.size, x.rows * x.size, to);
  }
  return out;
}

/// softmax(scale * q k^T + mask) v. `mask(b, h, i, j)` is added; minus infinity leaves a key out.
template <typename Mask>
static Result<Heads> attend(Call &call, const Heads &q, const Heads &k, const Heads &v, double scale, Mask mask) {
  if (k.heads < 1 || q.heads % k.heads != 0 || k.heads != v.heads || q.size != k.size || k.rows != v.rows ||
      q.batch != k.batch || k.batch != v.batch)
    return call.wrong("its queries, keys and values do not fit together");
  Heads out{q.batch, q.heads, q.rows, v.size, {}};
  out.data.resize(static_cast<size_t>(out.batch * out.heads * out.rows * out.size));
  std::vector<double> weights(static_cast<size_t>(k.rows));
  for (int64_t b = 0; b < q.batch; ++b)
    for (int64_t h = 0; h < q.heads; ++h)
      for (int64_t i = 0; i < q.rows; ++i) {
        int64_t g = h / (q.heads / k.heads);
        double most = -std::numeric_limits<double>::infinity(), sum = 0;
        for (int64_t j = 0; j < k.rows; ++j) {
          double dot = 0;
          for (int64_t d = 0; d < q.size; ++d)
            dot += q.row(b, h, i)[d] * k.row(b, g, j)[d];
          most = std::max(most, weights[size_t(j)] = dot * scale + mask(b, h, i, j));
        }
        for (double &weight : weights)
          sum += weight = std::isinf(most) ? 0 : std::exp(weight - most);
        for (int64_t j = 0; j < k.rows; ++j)
          for (int64_t d = 0; d < v.size; ++d)
            out.row(b, h, i)[d] += sum > 0 ? weights[size_t(j)] / sum * v.row(b, g, j)[d] : 0;
      }
  return out;
}

/// Refuses what would change attention and a small sample cannot show.
static Status refuseOthers(Call &call, std::initializer_list<const char *> windows) {
  for (const char *name : windows)
    if (call.node.integer(name, -1) != -1)
      return call.wrong("has a sliding window (" + std::string(name) + "), which is not supported");
  if (call.node.real("softcap", 0) != 0 || call.node.integer("smooth_softmax", 0) == 1)
    return call.wrong("caps or smooths its softmax, which is not supported");
  return {};
}

static double scaleOf(Call &call, int64_t size) {
  double given = call.node.real("scale", 0);
  return given != 0 ? given : 1 / std::sqrt(static_cast<double>(size));
}

/// Refuses a GroupQueryAttention whose inputs are not known, or whose heads make no sense.
static Status checkGroupQuery(Call &call) {
  QUERN_TRY(refuseOthers(call, {"local_window_size"}));
  for (size_t i = 10; i < call.inputs.size(); ++i)
    if (call.has(i))
      return call.wrong("has input " + std::to_string(i) + ", which is not supported");
  int64_t heads = call.node.integer("num_heads", 0), kvHeads = call.node.integer("kv_num_heads", 0);
  if (heads < 1 || kvHeads < 1 || heads % kvHeads != 0 || call[0].rank() != 3)
    return call.wrong("has no sensible number of heads");
  if (call.has(1) && !call.has(2))
    return call.wrong("has keys without values");
  if (heads > call[0].shape[2])
    return call.wrong("has more heads than columns");
  return {};
}

/// Turns the queries and keys of a GroupQueryAttention, if it is asked to, where each sequence starts at a position of
/// `past` or all positions are given.
static Status rotateGroupQuery(Call &call, Heads &q, Heads &k, const std::vector<int64_t> &past) {
  if (!call.node.integer("do_rotary", 0))
    return {};
  if (!call.has(7) || !call.has(8))
    return call.wrong("turns without tables of cosines and sines");
  std::vector<int64_t> given = call.has(9) ? call[9].integers() : std::vector<int64_t>();
  auto at = [&](int64_t b, int64_t t) {
    auto i = static_cast<size_t>(b * q.rows + t);
    return given.empty() ? past[size_t(b)] + t : i < given.size() ? given[i] : -1;
  };
  bool interleaved = call.node.integer("rotary_interleaved", 0) != 0;
  QUERN_TRY(rotate(call, q, call[7], call[8], interleaved, at));
  return rotate(call, k, call[7], call[8], interleaved, at);
}

/// com.microsoft.GroupQueryAttention with a cache that grows.
static Status groupQueryAttention(Call &call) {
  QUERN_TRY(checkGroupQuery(call));
  int64_t heads = call.node.integer("num_heads", 0), kvHeads = call.node.integer("kv_num_heads", 0);
  bool packed = !call.has(1);
  int64_t size = call[0].shape[2] / (packed ? heads + 2 * kvHeads : heads);
  QUERN_ASSIGN(Heads q, split(call, call[0], heads, 0, heads * size));
  QUERN_ASSIGN(Heads k, split(call, call[packed ? 0 : 1], kvHeads, packed ? heads * size : 0, kvHeads * size));
  QUERN_ASSIGN(Heads v,
               split(call, call[packed ? 0 : 2], kvHeads, packed ? (heads + kvHeads) * size : 0, kvHeads * size));
  if (!call.has(5) || call[5].size() != q.batch)
    return call.wrong("lacks the lengths of its sequences");
  if (k.batch != q.batch || v.batch != q.batch)
    return call.wrong("has another number of sequences in its keys or values than in its queries");
  std::vector<int64_t> past = call[5].integers(); // where they end, less one
  for (int64_t &length : past)
    length += 1 - q.rows;
  QUERN_TRY(rotateGroupQuery(call, q, k, past));
  QUERN_ASSIGN(k, append(call, call.has(3) ? call.inputs[3] : nullptr, k));
  QUERN_ASSIGN(v, append(call, call.has(4) ? call.inputs[4] : nullptr, v));
  auto mask = [&](int64_t b, int64_t, int64_t i, int64_t j) {
    return j <= past[size_t(b)] + i ? 0 : -std::numeric_limits<double>::infinity();
  };
  QUERN_ASSIGN(Heads out, attend(call, q, k, v, scaleOf(call, size), mask));
  call.outputs = {out.flat(), k.array(), v.array()};
  return {};
}

/// The standard's Attention, of versions 23 to 25. Without a cache of its own, `nonpad_kv_seqlen` says how long the
/// outer one is.
static Status attention(Call &call) {
  QUERN_TRY(refuseOthers(call, {"left_window_size", "right_window_size"}));
  if (call.node.integer("qk_matmul_output_mode", 0) != 0)
    return call.wrong("gives its scores, which is not supported");
  QUERN_ASSIGN(Heads q, split(call, call[0], call.node.integer("q_num_heads", 0)));
  QUERN_ASSIGN(Heads k, split(call, call[1], call.node.integer("kv_num_heads", 0)));
  QUERN_ASSIGN(Heads v, split(call, call[2], call.node.integer("kv_num_heads", 0)));
  int64_t fresh = k.rows;
  QUERN_ASSIGN(k, append(call, call.has(4) ? call.inputs[4] : nullptr, k));
  QUERN_ASSIGN(v, append(call, call.has(5) ? call.inputs[5] : nullptr, v));
  std::vector<int64_t> lengths = call.has(6) ? call[6].integers() : std::vector<int64_t>();
  bool causal = call.node.integer("is_causal", 0) != 0, isBool = call.has(3) && call[3].integer;
  std::vector<int64_t> offsets;
  std::vector<int64_t> scores{q.batch, q.heads, q.rows, k.rows};
  if (call.has(3)) {
    QUERN_ASSIGN(std::vector<int64_t> shape, broadcastShapes(call[3].shape, scores));
    if (shape != scores)
      return call.wrong("its mask does not fit its scores");
    offsets = broadcastOffsets(call[3].shape, scores);
  }
  auto mask = [&](int64_t b, int64_t h, int64_t i, int64_t j) {
    constexpr double out = -std::numeric_limits<double>::infinity();
    int64_t length = size_t(b) < lengths.size() ? lengths[size_t(b)] : k.rows;
    int64_t past = lengths.empty() ? k.rows - fresh : length - q.rows;
    if (j >= length || (causal && j > past + i))
      return out;
    if (offsets.empty())
      return 0.0;
    double given = call[3].data[size_t(offsets[size_t(((b * q.heads + h) * q.rows + i) * k.rows + j)])];
    return !isBool ? given : given != 0 ? 0.0 : out;
  };
  QUERN_ASSIGN(Heads out, attend(call, q, k, v, scaleOf(call, q.size), mask));
  call.outputs = {call[0].rank() == 4 ? out.array() : out.flat(), k.array(), v.array()};
  return {};
}

void language::addAttentionOperators(OperatorTable &table) {
  table["RotaryEmbedding"] = {3, rotaryEmbedding};
  table["com.microsoft.RotaryEmbedding"] = {4, rotaryEmbedding};
  table["com.microsoft.GroupQueryAttention"] = {1, groupQueryAttention};
  table["Attention"] = {3, attention};
}

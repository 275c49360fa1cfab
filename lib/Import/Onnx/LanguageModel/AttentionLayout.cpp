// Tries what is not written in the graph: which input means what, which product is which, how wide a head is.
#include "Parts.h"

#include "quern/Support/Quoted.h"

#include <algorithm>
#include <limits>

using namespace quern;
using namespace quern::import;
using namespace quern::import::language;

/// Inputs whose meanings are tried out.
static constexpr size_t kMostOthers = 5;

/// Vectors as wide as a head that are tried as weights of norms.
static constexpr size_t kMostNorms = 4;

static int rankOf(const Input &input) { return int(input.shape.size()); }

static bool isInteger(const Input &input) {
  return input.type == onnx::TensorProto::INT64 || input.type == onnx::TensorProto::INT32 ||
         input.type == onnx::TensorProto::BOOL;
}

/// What an input of that rank may mean; see `meaningOf`.
static int meaningsOf(int rank) { return rank == 1 ? 3 : rank == 4 ? 1 : 2; }

/// The value of an input that means the `which`-th thing that one of its rank can mean.
static Result<Array> meaningOf(const Input &input, int which, int64_t past, int64_t rows) {
  Array positions{{1, rows}, {}, true};
  for (int64_t i = 0; i < rows; ++i)
    positions.data.push_back(double(past + i));
  Array ones{{1, past + rows}, std::vector<double>(size_t(past + rows), 1), true};
  switch (rankOf(input)) {
  case 2: // attention mask, positions
    return which == 0 ? ones : positions;
  case 1: // positions; of each sequence, the past length; the whole length
    positions.shape = {rows};
    return which == 0 ? positions : Array::vector({double(which == 1 ? past : past + rows)}, true);
  case 0:
    return Array{{}, {double(which == 0 ? past : past + rows)}, true};
  case 4: { // the whole mask: true, or 0, where a key is seen
    bool integer = isInteger(input);
    Array mask{{1, 1, rows, past + rows}, {}, integer};
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < past + rows; ++j)
        mask.data.push_back(integer ? j <= past + i : j <= past + i ? 0 : -std::numeric_limits<double>::infinity());
    return mask;
  }
  }
  return fail("input " + inQuotes(input.name) + " has a shape that none of a language model's inputs has");
}

/// The cache as the graph takes it: rows that grow, or, where it is written in place, more rows than are filled.
static Array cacheOf(const Graph &graph, const std::string &name, const Array &past, int64_t rows) {
  auto scatters = [](const GraphNode *node) { return node->op == "TensorScatter"; };
  if (std::ranges::none_of(graph.consumers(name), scatters))
    return past;
  int64_t room = graph.input(name)->shape[2];
  int64_t heads = past.shape[1], old = past.shape[2], size = past.shape[3];
  int64_t all = std::max(old + rows + 3, std::min<int64_t>(std::max<int64_t>(room, 0), 4096));
  if (past.isShapeOnly())
    return {{1, heads, all, size}, {}, false};
  Array out{{1, heads, all, size}, std::vector<double>(size_t(heads * all * size), 0.5), false};
  for (int64_t h = 0; h < heads; ++h)
    std::copy_n(past.data.data() + h * old * size, old * size, out.data.data() + h * all * size);
  return out;
}

Result<std::map<std::string, Array>> AttentionFinder::inputs(const Step &step) const {
  std::map<std::string, Array> values;
  QUERN_ASSIGN(values[tokenIds], Array::zeros({1, step.rows}, true));
  for (const std::string &name : rows) {
    QUERN_ASSIGN(values[name], Array::zeros({1, step.rows, hidden}));
  }
  for (size_t i = 0; i < others.size(); ++i) {
    QUERN_ASSIGN(values[others[i]], meaningOf(*graph.input(others[i]), meanings[i], step.past, step.rows));
  }
  Array nothing = step.pastKey;
  std::ranges::fill(nothing.data, 0);
  for (const std::string &name : otherCaches)
    values[name] = cacheOf(graph, name, nothing, step.rows);
  for (size_t i = 0; i < caches.size(); ++i)
    values[caches[i]] = cacheOf(graph, caches[i], (i == 0) != cachesSwapped ? step.pastKey : step.pastValue, step.rows);
  return values;
}

/// Sizes of a head that fit the keys: what the cache says, or all that divide.
static std::vector<int64_t> headSizes(const Graph &graph, const std::vector<std::string> &caches, int64_t query,
                                      int64_t key) {
  std::vector<int64_t> out;
  int64_t known = 0;
  for (const std::string &cache : caches)
    if (int64_t last = graph.input(cache)->shape[3]; last >= 0)
      known = last;
  for (int64_t size = std::min<int64_t>(key, 1024); size >= 2; --size)
    if (size % 2 == 0 && key % size == 0 && query % size == 0 && query / size % (key / size) == 0 &&
        (known == 0 || size == known))
      out.push_back(size);
  return out;
}

Result<AttentionFinder::Roles> AttentionFinder::findLayout(const Projection &output, const std::vector<Roles> &all) {
  // Heads are tried without norms first, then with each two vectors as wide as a head.
  bool isKnown = !layout.frequencies.empty();
  int combinations = caches.size() == 2 ? 2 : 1;
  for (const std::string &name : others)
    combinations *= meaningsOf(rankOf(*graph.input(name)));
  for (int combination = 0; combination < combinations; ++combination) {
    int rest = combination;
    for (size_t i = 0; i < others.size(); ++i) {
      int count = meaningsOf(rankOf(*graph.input(others[i])));
      meanings[i] = rest % count;
      rest /= count;
    }
    cachesSwapped = rest != 0;
    for (const Roles &roles : all) {
      std::vector<int64_t> sizes{layout.size};
      if (!isKnown)
        sizes = headSizes(graph, caches, roles.query.count, roles.key.count);
      for (int64_t size : sizes) {
        if (!isKnown)
          layout = {roles.query.count / size, roles.key.count / size, size, false, {}, layout.coarse, false};
        if (!isKnown && !passesValues(output, roles))
          continue;
        for (const Roles &whole : withNorms(roles, size)) {
          if ((isKnown || findPairing(output, whole)) && check(output, whole))
            return whole;
        }
      }
      if (!isKnown)
        layout.frequencies.clear();
    }
  }
  return graph.wrong("node " + output.node->describe(),
                     "should be the last product of causal grouped-query attention with a rotary embedding as in "
                     "the other layers, but what lies before it computes something else" +
                         (firstProblem.empty() ? "" : " (" + firstProblem + ")"));
}

/// Whether a constant of the layer is of 16-bit floats: then cosines are as coarse.
static bool hasCoarseConstants(const Graph &graph, const std::set<std::string> &constants) {
  return std::ranges::any_of(constants, [&](const std::string &name) {
    const Constant *tensor = graph.constant(name);
    bool isHalf = tensor->type == onnx::TensorProto::FLOAT16 || tensor->type == onnx::TensorProto::BFLOAT16;
    return isHalf && tensor->shape.size() >= 2;
  });
}

/// Whether two constants of one type hold the same.
static bool sameBytes(const Graph &graph, const std::string &a, const std::string &b) {
  auto left = graph.data(*graph.constant(a)), right = graph.data(*graph.constant(b));
  return a == b ||
         (left && right && graph.constant(a)->type == graph.constant(b)->type && std::ranges::equal(*left, *right));
}

/// Sorts out which inputs of the graph the layer needs: for their values, or for their shapes alone.
Status AttentionFinder::takeInputs(const Projection &output, const std::string &stream,
                                   const Projections::Sources &sources) {
  others.clear();
  caches.clear();
  otherCaches.clear();
  rows = {embedding, stream};
  std::map<std::string, Array> given{{tokenIds, {}}};
  for (const std::string &name : sources.projections) {
    given[name];
    if (const Projection *made = projections.make(name); made->weight.k == hidden)
      rows.insert(graph.strip(made->input));
  }
  for (const std::string &name : rows)
    given[name];
  std::vector<std::string> needed =
      Evaluator(graph, projections.surroundings(), std::move(given)).missing(output.input);
  for (const Input &input : graph.inputs()) {
    if (std::ranges::find(needed, input.name) == needed.end())
      continue;
    if (isInteger(input))
      others.push_back(input.name);
    else if (rankOf(input) == 4)
      (sources.inputs.contains(input.name) ? caches : otherCaches).push_back(input.name);
  }
  if (caches.size() != 0 && caches.size() != 2)
    return graph.wrong("node " + output.node->describe(), "its attention reads " + std::to_string(caches.size()) +
                                                              " caches; one of keys and one of values, or none, "
                                                              "are supported");
  if (others.size() > kMostOthers)
    return graph.wrong("node " + output.node->describe(),
                       "its attention reads " + std::to_string(others.size()) +
                           " inputs of whole numbers beside the token ids; at most " + std::to_string(kMostOthers) +
                           " are supported");
  return {};
}

std::vector<float> AttentionFinder::weightOf(const std::string &norm) const {
  auto found = norm.empty() ? std::nullopt : vectorOf(graph, norm, layout.size).value_or(std::nullopt);
  return found ? *std::move(found) : std::vector<float>();
}

/// The roles without norms of heads, and with each pair of the layer's vectors that may be their weights.
std::vector<AttentionFinder::Roles> AttentionFinder::withNorms(const Roles &roles, int64_t size) const {
  std::vector<std::string> vectors;
  for (const std::string &name : constants)
    if (vectorOf(graph, name, size).value_or(std::nullopt) && vectors.size() < kMostNorms)
      vectors.push_back(name);
  std::vector<Roles> out{roles};
  for (const std::string &query : vectors)
    for (const std::string &key : vectors) {
      out.push_back(roles);
      out.back().queryNorm = query;
      out.back().keyNorm = key;
    }
  return out;
}

/// The roles that the projections have in a layer that computes the same; none if this is another one.
std::optional<AttentionFinder::Roles> AttentionFinder::rolesAs(const Known &known,
                                                               const Fingerprint &fingerprint) const {
  if (known.fingerprint.text != fingerprint.text)
    return std::nullopt;
  Roles roles = known.roles;
  for (size_t i = 0; i < fingerprint.vectors.size(); ++i) {
    const std::string &there = known.fingerprint.vectors[i], &here = fingerprint.vectors[i];
    if (there == known.roles.queryNorm)
      roles.queryNorm = here;
    if (there == known.roles.keyNorm)
      roles.keyNorm = here;
    if (there != known.roles.queryNorm && there != known.roles.keyNorm && !sameBytes(graph, there, here))
      return std::nullopt;
  }
  for (const std::string &norm : {roles.queryNorm, roles.keyNorm})
    if (!norm.empty() && weightOf(norm).empty()) // the text tells neither size nor type
      return std::nullopt;
  for (Piece *piece : roles.all()) {
    auto at = std::ranges::find(known.fingerprint.projections, piece->projection->output);
    piece->projection = projections.make(fingerprint.projections[size_t(at - known.fingerprint.projections.begin())]);
  }
  return roles;
}

Result<AttentionFinder::Roles> AttentionFinder::findRoles(const Projection &output) {
  QUERN_ASSIGN(std::vector<Roles> all, candidates(output));
  firstProblem.clear();
  meanings.assign(others.size(), 0);
  QUERN_ASSIGN(Roles roles, findLayout(output, all));
  QUERN_TRY(checkFar(output, roles));
  QUERN_TRY(checkMasks(output));
  return roles;
}

/// The roles in the layer at hand: those of a layer before that computes the same, else what samples say.
Result<AttentionFinder::Roles> AttentionFinder::rolesOf(const Projection &output, Fingerprint fingerprint) {
  for (const Known &one : known) {
    std::optional<Roles> roles = rolesAs(one, fingerprint);
    if (!roles)
      continue;
    meanings = one.meanings;
    cachesSwapped = one.cachesSwapped;
    // Where that layer's norms have equal weights, either of them may stand for both; here they may differ.
    if (roles->queryNorm.empty() || check(output, *roles))
      return *std::move(roles);
  }
  QUERN_ASSIGN(Roles roles, findRoles(output));
  if (known.empty())
    layout.normed = !roles.queryNorm.empty();
  known.push_back({std::move(fingerprint), roles, meanings, cachesSwapped});
  return roles;
}

/// Of an exporter's graph: nodes Cos and Sin; where there are none, the constants that may be tables.
static Names rotaryNames(const Graph &graph, const Projections::Sources &sources) {
  Names nodes, tables;
  for (const GraphNode *node : sources.nodes)
    if (node->op == "Cos" || node->op == "Sin")
      nodes.push_back(node->name);
  for (const std::string &name : sources.constants)
    if (graph.constant(name)->shape.size() > 1)
      tables.push_back(name);
  return nodes.empty() ? tables : nodes;
}

Result<FoundAttention> AttentionFinder::find(const Projection &output, const std::string &stream) {
  if (const GraphNode *part = graph.producer(output.input, "onnx.attention"))
    return raised(output, *part);
  Projections::Sources sources = projections.sources(graph, output.input);
  layout.coarse |= hasCoarseConstants(graph, sources.constants);
  QUERN_TRY(takeInputs(output, stream, sources));
  constants = sources.constants;
  QUERN_ASSIGN(Roles roles,
               rolesOf(output, fingerprintOf(graph, projections, output.input, sources.projections, caches, rows)));
  std::string input = graph.strip(roles.query.projection->input);
  for (const Piece *piece : {&roles.key, &roles.value})
    if (graph.strip(piece->projection->input) != input)
      return graph.wrong("node " + piece->projection->node->describe(),
                         "should have the same input as the product for the queries, but has another");
  if (layout.normed == roles.queryNorm.empty())
    return graph.wrong("node " + output.node->describe(),
                       "norms the heads of its queries and keys, or does not, unlike the other layers");
  auto linear = [&](const Piece &piece) { return rowsOf(graph, *piece.projection, piece.first, piece.count); };
  return FoundAttention{linear(roles.query),
                        linear(roles.key),
                        linear(roles.value),
                        weightOf(roles.queryNorm),
                        weightOf(roles.keyNorm),
                        roles.queryNorm,
                        roles.keyNorm,
                        roles.query.projection->input,
                        graph.namesBetween(sources.projections, output.input),
                        rotaryNames(graph, sources),
                        {roles.query.projection->output, roles.key.projection->output, roles.value.projection->output},
                        {roles.query.first, roles.key.first, roles.value.first},
                        cachesSwapped ? std::vector<std::string>(caches.rbegin(), caches.rend()) : caches};
}

// The walk along the residual stream, from the logits back to the token ids.
#include "Parts.h"

#include "quern/Support/Quoted.h"

#include <algorithm>
#include <functional>

using namespace quern;
using namespace quern::import;
using namespace quern::import::language;

namespace {
/// Where token ids become rows of a table.
struct Embedding {
  const GraphNode *node;
  std::string tokenIds, output;
  Matrix table;
};

class Walk {
public:
  explicit Walk(const Graph &graph) : graph(graph) {}
  Result<LanguageModel> run();

private:
  tl::unexpected<Error> wrong(const GraphNode &node, const std::string &what) const {
    return graph.wrong("node " + node.describe(), what);
  }
  Result<std::string> findHead(const std::vector<Embedding> &lookUps);
  /// The projection that a sum adds to the residual stream, and the stream before it.
  struct Step {
    const Projection *projection;
    std::string before;
    std::string sum; ///< the node's name
  };
  Result<Step> stepBack(const std::string &stream) const;
  Status addLayer(std::string &stream, AttentionFinder &attention);

  const Graph &graph;
  Projections projections;
  Embedding embedding;
  LanguageModel model;
};
} // namespace

/// The look-ups of inputs of whole numbers in constant tables: of token ids, and of positions in tables of cosines.
static Result<std::vector<Embedding>> findLookUps(const Graph &graph) {
  std::vector<Embedding> out;
  for (const GraphNode &node : graph.nodes()) {
    bool packed = node.op == "com.microsoft.GatherBlockQuantized";
    if ((node.op != "Gather" && !packed) || (!packed && node.integer("axis", 0) != 0))
      continue;
    std::string ids = graph.strip(node.input(1));
    const Input *input = graph.input(ids);
    if (!input || input->shape.size() > 2)
      continue;
    std::optional<Matrix> table;
    if (packed) {
      QUERN_ASSIGN(table, gatheredMatrix(graph, node));
    } else {
      QUERN_ASSIGN(table, matrixOf(graph, node.input(0), false));
    }
    if (table && table->k > 1)
      out.push_back({&node, ids, node.outputs[0], *std::move(table)});
  }
  return out;
}

/// A Slice or Gather that keeps some rows, as graphs have that give the logits of the last token only.
static std::string skipRows(const Graph &graph, std::string value) {
  for (value = graph.strip(value);; value = graph.strip(value)) {
    const GraphNode *node = graph.producer(value);
    if (!node || (node->op != "Slice" && node->op != "Gather" && node->op != "GatherND" && node->op != "Unsqueeze"))
      return value;
    if (graph.constant(node->input(0)))
      return value;
    value = node->input(0);
  }
}

namespace {
/// A last product before an output of the graph.
struct Head {
  const Projection *projection;
  std::string output;
  bool isPlain; ///< only operators that keep rows lie between
};
} // namespace

/// The table whose rows a product may give logits for. Of those as wide as its input only the one with most rows can be
/// of token ids; others are of their types or positions. Null if it gives another number of them.
static const Embedding *tableOf(const Projection &head, const std::vector<Embedding> &lookUps) {
  const Embedding *most = nullptr;
  for (const Embedding &one : lookUps)
    if (one.table.k == head.weight.k && (!most || one.table.n > most->table.n))
      most = &one;
  return most && most->table.n == head.weight.n ? most : nullptr;
}

/// The last products that give as many numbers as the table of token ids has rows.
static std::vector<Head> findHeads(const Graph &graph, const Projections &projections,
                                   const std::vector<Embedding> &lookUps) {
  std::vector<Head> out;
  auto add = [&](const Projection *made, const std::string &output, bool isPlain) {
    if (tableOf(*made, lookUps))
      out.push_back({made, output, isPlain});
  };
  for (const std::string &output : graph.outputs()) {
    if (const Projection *made = projections.make(skipRows(graph, output)))
      add(made, output, true);
    else
      for (const std::string &name : projections.sources(graph, output).projections)
        add(projections.make(name), output, false);
  }
  return out;
}

bool language::hasLanguageModelShape(const Graph &graph) {
  auto lookUps = findLookUps(graph);
  if (lookUps && lookUps->empty())
    return false;
  auto projections = Projections::find(graph);
  if (!lookUps || !projections)
    return true; // the error is worth telling
  return !findHeads(graph, *projections, *lookUps).empty();
}

/// Chooses the head and the table that belong together. Returns the value that the head reads, without what keeps some
/// rows.
Result<std::string> Walk::findHead(const std::vector<Embedding> &lookUps) {
  std::vector<Head> heads = findHeads(graph, projections, lookUps);
  if (heads.empty())
    return graph.wrong("graph", "none of its outputs is the product of a hidden state with a matrix of as many "
                                     "rows as a table has that it looks up token ids in");
  const auto &[head, output, isPlain] = *std::ranges::max_element(heads, {}, &Head::isPlain); // the first of them
  if (!isPlain)
    return wrong(*graph.producer(graph.strip(output)),
                 "stands between the product that gives the logits and the graph's output; logits that are capped, "
                 "scaled or made probabilities are not supported");
  if (!head->bias.empty())
    return wrong(*head->node, "gives the logits with a bias, which is not supported");
  embedding = *tableOf(*head, lookUps);
  model.embedding = embedding.table;
  model.lookUp = {embedding.node->name};
  model.head = rowsOf(graph, *head, 0, head->weight.n);
  std::string normed = skipRows(graph, head->input);
  model.wantedRows = graph.namesBetween({normed}, head->input);
  return normed;
}

Result<Walk::Step> Walk::stepBack(const std::string &stream) const {
  const GraphNode *sum = graph.producer(stream);
  if (!sum)
    return graph.wrong("value " + inQuotes(stream),
                            "should be the hidden state behind a layer, but nothing makes it");
  if (sum->op != "Add")
    return wrong(*sum, "should add what a layer computes to its hidden state");
  for (size_t i = 0; i < 2; ++i)
    if (const Projection *found = projections.make(graph.strip(sum->input(i))))
      return Step{found, graph.strip(sum->input(1 - i)), sum->name};
  return wrong(*sum, "should add a product with a constant matrix to the hidden state, but neither input is one");
}

Status Walk::addLayer(std::string &stream, AttentionFinder &attention) {
  Layer layer;
  QUERN_ASSIGN(Step down, stepBack(stream));
  QUERN_ASSIGN(FoundFeedForward feedForward, findFeedForward(graph, projections, *down.projection));
  QUERN_ASSIGN(FoundNorm norm, findNorm(graph, projections, feedForward.input, embedding.table.k));
  if (norm.input != down.before)
    return wrong(*down.projection->node, "its feed-forward part reads another hidden state than it adds to");
  layer.feedForwardNorm = std::move(norm.norm);
  layer.gate = std::move(feedForward.gate);
  layer.up = std::move(feedForward.up);
  layer.down = rowsOf(graph, *down.projection, 0, down.projection->weight.n);
  layer.feedForward = std::move(feedForward.nodes);
  layer.feedForward.push_back(down.sum);
  QUERN_ASSIGN(Step output, stepBack(down.before));
  QUERN_ASSIGN(FoundAttention found, attention.find(*output.projection, output.before));
  QUERN_ASSIGN(norm, findNorm(graph, projections, found.input, embedding.table.k));
  if (norm.input != output.before)
    return wrong(*output.projection->node, "its attention reads another hidden state than it adds to");
  layer.attentionNorm = std::move(norm.norm);
  layer.query = std::move(found.query);
  layer.key = std::move(found.key);
  layer.value = std::move(found.value);
  layer.queryNorm = std::move(found.queryNorm);
  layer.keyNorm = std::move(found.keyNorm);
  layer.queryNormName = std::move(found.queryNormName);
  layer.keyNormName = std::move(found.keyNormName);
  layer.attention = std::move(found.nodes);
  layer.attention.push_back(output.sum);
  model.rotary = std::move(found.rotary);
  layer.output = rowsOf(graph, *output.projection, 0, output.projection->weight.n);
  model.layers.insert(model.layers.begin(), std::move(layer));
  stream = output.before;
  return {};
}

Result<LanguageModel> Walk::run() {
  QUERN_ASSIGN(std::vector<Embedding> lookUps, findLookUps(graph));
  QUERN_ASSIGN(projections, Projections::find(graph));
  QUERN_ASSIGN(std::string value, findHead(lookUps));
  QUERN_ASSIGN(FoundNorm norm, findNorm(graph, projections, value, embedding.table.k));
  model.finalNorm = std::move(norm.norm);
  std::string stream = skipRows(graph, norm.input);
  std::ranges::move(graph.namesBetween({stream}, norm.input), std::back_inserter(model.wantedRows));
  AttentionFinder attention(graph, projections, embedding.tokenIds, embedding.output, embedding.table.k,
                            double(model.finalNorm.epsilon));
  while (stream != embedding.output)
    QUERN_TRY(addLayer(stream, attention));
  if (model.layers.empty())
    return graph.wrong("graph", "has no layers between its embedding and its logits");
  model.layout = std::move(attention.layout);
  return std::move(model);
}

Result<LanguageModel> language::recognise(const Graph &graph) { return Walk(graph).run(); }

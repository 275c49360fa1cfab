// The walk along the residual stream, from the logits back to the token ids.
#include "Heads.h"
#include "Parts.h"
#include "Raise.h"

#include "quern/Support/Quoted.h"

#include <algorithm>
#include <functional>

using namespace quern;
using namespace quern::import;
using namespace quern::import::language;

namespace {
class Walk {
public:
  explicit Walk(const Graph &graph) : graph(graph) {}
  Result<LanguageModel> run();
  /// Of the layers from the last to the first, as far as they are those of a language model.
  std::vector<FoundLayerAttention> findAttention(HeadLayout &layout);

private:
  Status begin();
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
  Status addLayer();

  const Graph &graph;
  Projections projections;
  Embedding embedding;
  LanguageModel model;
  std::string stream; ///< the hidden state behind the layer at hand
  std::optional<AttentionFinder> attention;
};
} // namespace

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
  model.lookUp = embedding.node->names;
  model.head = rowsOf(graph, *head, 0, head->weight.n);
  std::string normed = skipRows(graph, head->input);
  model.wantedRows = graph.namesBetween({normed}, head->input);
  return normed;
}

Result<Walk::Step> Walk::stepBack(const std::string &stream) const {
  const GraphNode *sum = graph.producer(stream);
  if (!sum)
    return graph.wrong("value " + inQuotes(stream), "should be the hidden state behind a layer, but nothing makes it");
  if (sum->op != "Add")
    return wrong(*sum, "should add what a layer computes to its hidden state");
  for (size_t i = 0; i < 2; ++i)
    if (const Projection *found = projections.make(graph.strip(sum->input(i))))
      return Step{found, graph.strip(sum->input(1 - i)), sum->name};
  return wrong(*sum, "should add a product with a constant matrix to the hidden state, but neither input is one");
}

Status Walk::addLayer() {
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
  QUERN_ASSIGN(FoundAttention found, attention->find(*output.projection, output.before));
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

/// Finds where the walk begins: the table, the head and the last norm.
Status Walk::begin() {
  QUERN_ASSIGN(std::vector<Embedding> lookUps, findLookUps(graph));
  QUERN_ASSIGN(projections, Projections::find(graph));
  QUERN_ASSIGN(std::string value, findHead(lookUps));
  QUERN_ASSIGN(FoundNorm norm, findNorm(graph, projections, value, embedding.table.k));
  model.finalNorm = std::move(norm.norm);
  stream = skipRows(graph, norm.input);
  std::ranges::move(graph.namesBetween({stream}, norm.input), std::back_inserter(model.wantedRows));
  attention.emplace(graph, projections, embedding.tokenIds, embedding.output, embedding.table.k,
                    double(model.finalNorm.epsilon));
  return {};
}

Result<LanguageModel> Walk::run() {
  QUERN_TRY(begin());
  while (stream != embedding.output)
    QUERN_TRY(addLayer());
  if (model.layers.empty())
    return graph.wrong("graph", "has no layers between its embedding and its logits");
  model.layout = std::move(attention->layout);
  return std::move(model);
}

Result<LanguageModel> language::recognise(const Graph &graph) { return Walk(graph).run(); }

std::vector<FoundLayerAttention> Walk::findAttention(HeadLayout &layout) {
  std::vector<FoundLayerAttention> out;
  if (!begin())
    return out;
  while (stream != embedding.output) {
    auto down = stepBack(stream);
    auto output = down ? stepBack(down->before) : down;
    if (!output)
      break;
    const std::string &value = output->projection->input;
    auto found = attention->find(*output->projection, output->before);
    if (!found)
      break;
    if (!graph.producer(value, "onnx.attention"))
      out.push_back({value, *std::move(found)});
    stream = output->before;
  }
  layout = attention->layout;
  return out;
}

std::vector<FoundLayerAttention> language::findAttention(const Graph &graph, HeadLayout &layout) {
  return Walk(graph).findAttention(layout);
}

// Masks by themselves: a mask for one token costs no more than its keys, so it is asked for tokens farther on than
// whole attention can be, behind every sliding window.
#include "Parts.h"

#include <algorithm>

using namespace quern;
using namespace quern::import;
using namespace quern::import::language;

/// Of the token whose mask is asked for, at least and at most; as many as the graph's tables have lie between. Heads,
/// whose cosines and sines also come from beside, are no wider than the least.
static constexpr int64_t kNearest = 256, kFarthest = 1 << 18;
/// At most, of the last token of a prompt, where a graph takes no cache: its mask is a square.
static constexpr int64_t kFarthestOfPrompt = 1049;

/// What attention takes beside projections and caches, of that which nodes compute.
static std::set<std::string> valuesBeside(const Graph &graph, const std::set<std::string> &data,
                                          const std::string &value) {
  std::set<std::string> made = data, out;
  std::vector<const GraphNode *> nodes = graph.nodesBetween(data, value);
  for (const GraphNode *node : nodes)
    made.insert(node->outputs.begin(), node->outputs.end());
  for (const GraphNode *node : nodes)
    for (const std::string &input : node->inputs)
      if (graph.producer(input) && !made.contains(input))
        out.insert(input);
  return out;
}

/// Whether there are keys for each token and those before it. Slices are cut short where a table ends.
static bool hasKeys(const Array &mask, int64_t past, int64_t rows) {
  int64_t width = mask.shape.empty() ? 0 : mask.shape.back();
  return width >= past + rows && mask.size() > 0 && mask.size() / width % rows == 0;
}

/// Whether the value is a mask, of two values along the keys, in which a token does not see all keys before it as it
/// sees itself. Other values along the keys are their positions.
static bool hidesKeys(const Array &mask, int64_t past, int64_t rows) {
  int64_t width = mask.shape.back();
  std::set<double> values;
  bool hides = false;
  for (int64_t row = 0; row < mask.size() / width; ++row) {
    const double *keys = mask.data.data() + row * width;
    int64_t token = past + row % rows;
    for (int64_t key = 0; key <= token && values.size() <= 2; ++key) {
      values.insert(keys[key]);
      hides |= keys[key] != keys[token];
    }
  }
  return hides && values.size() == 2;
}

/// Asks for the mask of the farthest token that the graph can compute it for. Values that have no keys for any such
/// token, and those that need more of the cache than its shape, pass: whole attention was asked for nearer ones.
Status AttentionFinder::checkMask(const std::string &value) const {
  int64_t farthest = caches.empty() ? kFarthestOfPrompt : kFarthest;
  int64_t low = kNearest, high = farthest + 1; // the last position with keys is below `high`
  bool hides = false;
  for (int64_t at = farthest; low < high; at = low + (high - low) / 2) {
    int64_t past = caches.empty() ? 0 : at, rows = at + 1 - past;
    Step step{past, rows, {}, {}, {}, {}, {}, {}, {}};
    step.pastKey.shape = step.pastValue.shape = {1, layout.kvHeads, past, layout.size};
    QUERN_ASSIGN(auto given, inputs(step));
    Evaluator evaluator(graph, projections.surroundings(), std::move(given));
    auto mask = evaluator.get(value);
    if (mask && ((*mask)->shape.empty() || ((*mask)->shape.back() > 0 && (*mask)->shape.back() <= kNearest)))
      return {};
    if (!mask || !hasKeys(**mask, past, rows)) {
      high = at;
      continue;
    }
    hides = hidesKeys(**mask, past, rows);
    low = at + 1;
  }
  if (!hides)
    return {};
  return graph.wrong("node " + graph.producer(value)->describe(),
                          "hides keys from a token at position " + std::to_string(low - 1) +
                              " that it shows to nearer ones; sliding windows are not supported");
}

Status AttentionFinder::checkMasks(const Projection &output) const {
  std::set<std::string> data = projections.sources(graph, output.input).projections;
  data.insert(caches.begin(), caches.end());
  for (const std::string &value : valuesBeside(graph, data, output.input))
    QUERN_TRY(checkMask(value));
  return {};
}

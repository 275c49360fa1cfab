// Masks by themselves: a mask for one token costs no more than its keys, so it is asked for tokens farther on than whole
// attention can be, behind every sliding window.
#include "Parts.h"

#include <algorithm>

using namespace quern;
using namespace quern::import;
using namespace quern::import::language;

/// Positions; less where a graph's tables end before.
static constexpr int64_t kFar[] = {1 << 18, 1 << 17, 1 << 16, 1 << 15, 1 << 14, 1 << 13};
/// Of a prompt, where a graph takes no cache: its mask is a square.
static constexpr int64_t kMostRows = 1050;

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

/// Whether the value is a mask, of two values along the keys, in which a token does not see all keys before it as it
/// sees itself. Other values along the keys are their positions.
static bool hidesKeys(const Array &mask, int64_t past, int64_t rows) {
  int64_t width = mask.shape.empty() ? 0 : mask.shape.back();
  if (width < past + rows || mask.size() / width % rows != 0)
    return false;
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

Status AttentionFinder::checkMasks(const Projection &output) const {
  std::set<std::string> data = projections.sources(graph, output.input).projections;
  data.insert(caches.begin(), caches.end());
  for (const std::string &value : valuesBeside(graph, data, output.input))
    for (int64_t far : kFar) {
      int64_t past = caches.empty() ? 0 : far, rows = caches.empty() ? std::min(far, kMostRows) : 1;
      Step step{past, rows, {}, {}, {}, {}, {}, {}, {}};
      step.pastKey.shape = step.pastValue.shape = {1, layout.kvHeads, past, layout.size};
      QUERN_ASSIGN(auto given, inputs(step));
      Evaluator evaluator(graph, projections.surroundings(), std::move(given));
      auto mask = evaluator.get(value);
      if (!mask) // a table that ends, or no mask
        continue;
      if (hidesKeys(**mask, past, rows))
        return graph.file.wrong("node " + graph.producer(value)->describe(),
                                "hides keys from a token at position " + std::to_string(past + rows - 1) +
                                    " that it shows to nearer ones; sliding windows are not supported");
      break;
    }
  return {};
}

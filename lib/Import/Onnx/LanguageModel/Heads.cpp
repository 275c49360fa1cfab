#include "Heads.h"

#include <algorithm>

using namespace quern;
using namespace quern::import;
using namespace quern::import::language;

Result<std::vector<Embedding>> language::findLookUps(const Graph &graph) {
  std::vector<Embedding> out;
  for (const GraphNode &node : graph.nodes()) {
    bool isRaised = node.op == "onnx.embedding";
    bool packed = node.op == "com.microsoft.GatherBlockQuantized" || (isRaised && !node.input(2).empty());
    if ((node.op != "Gather" && !packed && !isRaised) || (!packed && node.integer("axis", 0) != 0))
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

std::string language::skipRows(const Graph &graph, std::string value) {
  for (value = graph.strip(value);; value = graph.strip(value)) {
    const GraphNode *node = graph.producer(value);
    if (!node || (node->op != "Slice" && node->op != "Gather" && node->op != "GatherND" && node->op != "Unsqueeze"))
      return value;
    if (graph.constant(node->input(0)))
      return value;
    value = node->input(0);
  }
}

const Embedding *language::tableOf(const Projection &head, const std::vector<Embedding> &lookUps) {
  const Embedding *most = nullptr;
  for (const Embedding &one : lookUps)
    if (one.table.k == head.weight.k && (!most || one.table.n > most->table.n))
      most = &one;
  return most && most->table.n == head.weight.n ? most : nullptr;
}

std::vector<Head> language::findHeads(const Graph &graph, const Projections &projections,
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

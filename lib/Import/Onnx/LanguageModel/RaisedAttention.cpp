#include "Parts.h"

#include "dialects/Onnx/Onnx.h"

using namespace quern;
using namespace quern::import;
using namespace quern::import::language;

/// What `onnx.attention` says.
Result<FoundAttention> AttentionFinder::raised(const Projection &output, const GraphNode &part) {
  auto source = mlir::cast<onnxir::AttentionOp>(part.source);
  HeadLayout said{int64_t(source.getHeads()), int64_t(source.getKvHeads()), int64_t(source.getHeadSize()),
                  source.getInterleaved(),    source.getFrequencies(),      source.getCoarse(),
                  !source.getNorms().empty()};
  bool isFirst = layout.frequencies.empty();
  if (!isFirst && (said.heads != layout.heads || said.kvHeads != layout.kvHeads || said.size != layout.size ||
                   said.interleaved != layout.interleaved || said.frequencies != layout.frequencies ||
                   said.normed != layout.normed))
    return graph.wrong("node " + output.node->describe(), "its attention has other heads than that of other layers");
  said.coarse |= layout.coarse;
  layout = std::move(said);
  FoundAttention out;
  out.nodes = part.names;
  out.rotary = part.texts("rotary");
  int64_t query = layout.heads * layout.size, key = layout.kvHeads * layout.size;
  for (auto [i, linear, count] :
       {std::tuple(0, &out.query, query), std::tuple(1, &out.key, key), std::tuple(2, &out.value, key)}) {
    const Projection *from = projections.make(part.input(size_t(i)));
    int64_t first = source.getColumns()[size_t(i)];
    if (!from || count > from->weight.n || first > from->weight.n - count)
      return graph.wrong("node " + part.describe(), "its inputs are no products with constant matrices of its heads");
    *linear = rowsOf(graph, *from, first, count);
    if (i == 0)
      out.input = from->input;
  }
  if (!layout.normed)
    return out;
  out.queryNormName = part.input(3);
  out.keyNormName = part.input(4);
  out.queryNorm = weightOf(out.queryNormName);
  out.keyNorm = weightOf(out.keyNormName);
  if (out.queryNorm.empty() || out.keyNorm.empty())
    return graph.wrong("node " + part.describe(), "its norms are no constant vectors of a head's size");
  return out;
}

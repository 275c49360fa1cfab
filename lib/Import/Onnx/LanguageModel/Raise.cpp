#include "Raise.h"
#include "Heads.h"

#include "dialects/Onnx/Onnx.h"

#include "mlir/IR/Builders.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include <algorithm>

using namespace quern;
using namespace quern::import;
using namespace quern::import::language;

namespace {
/// Puts parts in place of values. The graph is the view of the function before any of them.
class Raiser {
public:
  explicit Raiser(mlir::func::FuncOp function) : graph(function), builder(function.getContext()), function(function) {}

  const Graph graph;

  /// `Op` with those operands and attributes makes the value from now on; `names`: of the nodes that made it.
  template <typename Op, typename... Rest> void replace(const std::string &value, const Names &names, Rest &&...rest) {
    mlir::Value old = graph.value(value);
    builder.setInsertionPointAfterValue(old);
    auto op = Op::create(builder, locationOf(value, names), old.getType(), std::forward<Rest>(rest)...);
    old.replaceAllUsesWith(op.getResult());
    made[old] = op.getResult();
  }
  /// The value of that name, or what makes it now.
  mlir::Value value(const std::string &name) const {
    mlir::Value old = graph.value(name), now = made.lookup(old);
    return now ? now : old;
  }
  std::vector<mlir::Value> valuesOf(const std::vector<std::string> &names) const {
    std::vector<mlir::Value> out;
    for (const std::string &name : names)
      if (!name.empty())
        out.push_back(value(name));
    return out;
  }
  /// Removes what nothing uses any more. Returns the number of parts.
  size_t finish();

  mlir::OpBuilder builder;

private:
  mlir::Location locationOf(const std::string &value, const Names &names);

  mlir::func::FuncOp function;
  llvm::DenseMap<mlir::Value, mlir::Value> made;
};
} // namespace

mlir::Location Raiser::locationOf(const std::string &value, const Names &names) {
  std::vector<mlir::Location> below;
  for (const std::string &name : names)
    below.push_back(mlir::NameLoc::get(builder.getStringAttr(name)));
  return mlir::NameLoc::get(builder.getStringAttr(value), builder.getFusedLoc(below));
}

size_t Raiser::finish() {
  for (mlir::Operation &op : llvm::make_early_inc_range(llvm::reverse(function.getBody().front())))
    if (!op.hasTrait<mlir::OpTrait::IsTerminator>() && mlir::isOpTriviallyDead(&op))
      op.erase();
  return made.size();
}

size_t language::raiseEmbedding(mlir::func::FuncOp function) {
  Raiser raiser(function);
  const Graph &graph = raiser.graph;
  auto lookUps = findLookUps(graph);
  auto projections = Projections::find(graph);
  if (!lookUps || !projections)
    return 0;
  std::vector<Head> heads = findHeads(graph, *projections, *lookUps);
  if (heads.empty())
    return 0;
  const Head &head = *std::ranges::max_element(heads, {}, &Head::isPlain);
  const GraphNode &node = *tableOf(*head.projection, *lookUps)->node;
  if (node.op == "onnx.embedding")
    return 0;
  std::vector<std::string> scales(node.inputs.begin() + 2, node.inputs.end());
  bool isPacked = !scales.empty();
  raiser.replace<onnxir::EmbeddingOp>(node.outputs[0], node.names, raiser.value(node.input(0)),
                                      raiser.value(node.input(1)), raiser.valuesOf(scales),
                                      isPacked ? node.attributes : mlir::DictionaryAttr());
  return raiser.finish();
}

size_t language::raiseNorms(mlir::func::FuncOp function) {
  Raiser raiser(function);
  const Graph &graph = raiser.graph;
  auto projections = Projections::find(graph);
  auto lookUps = findLookUps(graph);
  if (!projections || !lookUps)
    return 0;
  std::optional<int64_t> hidden;
  for (const Embedding &one : *lookUps)
    if (one.node->op == "onnx.embedding")
      hidden = one.table.k;
  for (const GraphNode &node : graph.nodes()) {
    const std::string &value = node.outputs[0];
    if (node.op.starts_with("onnx.") || value.empty() || graph.strip(value) != value)
      continue;
    if (std::optional<FoundNorm> found = normOf(graph, *projections, value, hidden))
      raiser.replace<onnxir::RmsNormOp>(value, found->norm.names, raiser.value(found->input),
                                        raiser.value(found->weight),
                                        raiser.builder.getF32FloatAttr(found->norm.epsilon));
  }
  return raiser.finish();
}

size_t language::raiseFeedForward(mlir::func::FuncOp function) {
  Raiser raiser(function);
  const Graph &graph = raiser.graph;
  auto projections = Projections::find(graph);
  if (!projections)
    return 0;
  std::set<std::string> done;
  for (const GraphNode &node : graph.nodes())
    for (const std::string &output : node.outputs) {
      const Projection *down = output.empty() ? nullptr : projections->make(output);
      if (!down || graph.producer(down->input, "onnx.swiglu") || !done.insert(down->input).second)
        continue;
      auto found = findFeedForward(graph, *projections, *down);
      if (!found)
        continue;
      auto number = [&](int64_t value) { return raiser.builder.getI64IntegerAttr(value); };
      raiser.replace<onnxir::SwigluOp>(down->input, found->nodes, raiser.value(found->products[0]),
                                       raiser.value(found->products[1]), number(found->columns[0]),
                                       number(found->columns[1]), number(found->gate.weight.n));
    }
  return raiser.finish();
}

size_t language::raiseAttention(mlir::func::FuncOp function) {
  Raiser raiser(function);
  HeadLayout layout;
  auto number = [&](int64_t value) { return raiser.builder.getI64IntegerAttr(value); };
  auto flag = [&](bool value) { return value ? raiser.builder.getUnitAttr() : mlir::UnitAttr(); };
  for (const auto &[value, found] : findAttention(raiser.graph, layout)) {
    std::vector<llvm::StringRef> rotary(found.rotary.begin(), found.rotary.end());
    raiser.replace<onnxir::AttentionOp>(
        value, found.nodes, raiser.value(found.products[0]), raiser.value(found.products[1]),
        raiser.value(found.products[2]), raiser.valuesOf({found.queryNormName, found.keyNormName}),
        raiser.valuesOf(found.caches), raiser.builder.getDenseI64ArrayAttr(found.columns), number(layout.heads),
        number(layout.kvHeads), number(layout.size), raiser.builder.getDenseF64ArrayAttr(layout.frequencies),
        flag(layout.interleaved), flag(layout.coarse), raiser.builder.getStrArrayAttr(rotary));
  }
  return raiser.finish();
}

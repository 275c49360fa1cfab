#include "Projections.h"

#include <algorithm>

using namespace quern;
using namespace quern::import;
using namespace quern::import::language;

Result<std::optional<std::vector<float>>> language::vectorOf(const Graph &graph, const std::string &value,
                                                             int64_t size) {
  const Constant *tensor = graph.constantBehind(value);
  if (!tensor || tensor->shape.empty() || tensor->shape.back() != size)
    return std::nullopt;
  QUERN_ASSIGN(Array array, arrayOf(graph, *tensor));
  if (array.integer || array.size() != size)
    return std::nullopt;
  return std::vector<float>(array.data.begin(), array.data.end());
}

/// DynamicQuantizeLinear(x) -> MatMulInteger -> Cast -> Mul(product of both scales).
static Result<std::optional<Projection>> matchDynamic(const Graph &graph, const GraphNode &node) {
  for (size_t i = 0; i < 2; ++i) {
    const GraphNode *product = graph.producer(graph.strip(node.input(i)), "MatMulInteger");
    const GraphNode *scales = graph.producer(node.input(1 - i), "Mul");
    const GraphNode *dynamic = product ? graph.producer(product->input(0), "DynamicQuantizeLinear") : nullptr;
    if (!dynamic || !scales || dynamic->outputs.size() < 3)
      continue;
    for (size_t j = 0; j < 2; ++j)
      if (scales->input(j) == dynamic->outputs[1] && product->input(2) == dynamic->outputs[2]) {
        QUERN_ASSIGN(Matrix weight, integerMatrix(graph, *product, scales->input(1 - j)));
        return Projection{product, dynamic->input(0), node.outputs[0], std::move(weight), {}, {}, true};
      }
  }
  return std::nullopt;
}

static Result<std::optional<Projection>> matchGemm(const Graph &graph, const GraphNode &node) {
  bool transposed = node.integer("transB", 0) == 0;
  if (node.integer("transA", 0) != 0 || node.real("alpha", 1) != 1 || node.real("beta", 1) != 1)
    return std::nullopt;
  QUERN_ASSIGN(std::optional<Matrix> weight, matrixOf(graph, node.input(1), transposed));
  if (!weight)
    return std::nullopt;
  Projection made{&node, node.input(0), node.outputs[0], *std::move(weight), {}};
  if (!node.input(2).empty()) {
    QUERN_ASSIGN(std::optional<std::vector<float>> bias, vectorOf(graph, node.input(2), made.weight.n));
    if (!bias)
      return std::nullopt;
    made.bias = *std::move(bias);
    made.biasName = node.input(2);
  }
  return made;
}

static Result<std::optional<Projection>> matchNBits(const Graph &graph, const GraphNode &node) {
  QUERN_ASSIGN(Matrix weight, nBitsMatrix(graph, node));
  Projection made{&node, node.input(0), node.outputs[0], std::move(weight), {}};
  if (node.input(5).empty())
    return made;
  QUERN_ASSIGN(std::optional<std::vector<float>> bias, vectorOf(graph, node.input(5), made.weight.n));
  if (!bias)
    return graph.wrong("node " + node.describe(), "its bias is no constant vector of its outputs");
  made.bias = *std::move(bias);
  made.biasName = node.input(5);
  return made;
}

static Result<std::optional<Projection>> match(const Graph &graph, const GraphNode &node) {
  if (node.outputs[0].empty())
    return std::nullopt;
  if (node.op == "Mul")
    return matchDynamic(graph, node);
  if (node.op == "Gemm")
    return matchGemm(graph, node);
  if (node.op == "com.microsoft.MatMulNBits")
    return matchNBits(graph, node);
  if (node.op != "MatMul" || graph.constantBehind(node.input(0)))
    return std::nullopt;
  QUERN_ASSIGN(std::optional<Matrix> weight, matrixOf(graph, node.input(1), true));
  if (!weight || weight->k < 2) // a product with one input is the outer one of positions and frequencies
    return std::nullopt;
  return Projection{&node, node.input(0), node.outputs[0], *std::move(weight), {}};
}

/// If all that follows is the sum with a constant vector, the projection has that as its bias.
static Status takeBias(const Graph &graph, Projection &made) {
  std::string value = made.output;
  const std::vector<const GraphNode *> *users = &graph.consumers(value);
  while (users->size() == 1 && (users->front()->op == "Cast" || users->front()->op == "Identity") &&
         !graph.isOutput(value)) {
    value = users->front()->outputs[0];
    users = &graph.consumers(value);
  }
  if (users->size() != 1 || users->front()->op != "Add" || !made.bias.empty() || graph.isOutput(value))
    return {};
  const GraphNode &sum = *users->front();
  const std::string &other = sum.input(sum.input(0) == value ? 1 : 0);
  QUERN_ASSIGN(std::optional<std::vector<float>> bias, vectorOf(graph, other, made.weight.n));
  if (bias) {
    made.bias = *std::move(bias);
    made.biasName = other;
    made.output = sum.outputs[0];
  }
  return {};
}

Result<Projections> Projections::find(const Graph &graph) {
  Projections out;
  for (const GraphNode &node : graph.nodes()) {
    QUERN_ASSIGN(std::optional<Projection> made, match(graph, node));
    if (!made)
      continue;
    QUERN_TRY(takeBias(graph, *made));
    out.around.widths[made->output] = {made->input, made->weight.n};
    std::string output = made->output;
    out.byOutput.emplace(std::move(output), *std::move(made));
  }
  return out;
}

const Projection *Projections::make(const std::string &value) const {
  auto found = byOutput.find(value);
  return found == byOutput.end() ? nullptr : &found->second;
}

Projections::Sources Projections::sources(const Graph &graph, const std::string &value, const std::string &stop) const {
  Sources out;
  std::set<std::string> seen;
  std::vector<std::string> open{value};
  while (!open.empty()) {
    std::string at = std::move(open.back());
    open.pop_back();
    if (at.empty() || !seen.insert(at).second)
      continue;
    const GraphNode *node = graph.producer(at);
    if (at == stop)
      out.reachedStop = true;
    else if (byOutput.contains(at))
      out.projections.insert(at);
    else if (graph.constant(at))
      out.constants.insert(at);
    else if (!node)
      out.inputs.insert(at);
    else if (node->op != "Shape" && node->op != "Size") {
      out.nodes.push_back(node);
      open.insert(open.end(), node->inputs.begin(), node->inputs.end());
    }
  }
  return out;
}

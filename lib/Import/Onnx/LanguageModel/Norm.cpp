// RMS norms, fused or in pieces: the pieces say where the weight is, a sample says that the whole is a norm, and its
// epsilon.
#include "Parts.h"

#include "quern/Support/Quoted.h"

#include <algorithm>
#include <cmath>

using namespace quern;
using namespace quern::import;
using namespace quern::import::language;

Array Samples::draw(std::vector<int64_t> shape) {
  Array out{std::move(shape), {}, false};
  int64_t count = 1;
  for (int64_t size : out.shape)
    count *= size;
  for (int64_t i = 0; i < count; ++i)
    out.data.push_back(2 * (double(generator() - generator.min()) / double(generator.max() - generator.min())) - 1);
  return out;
}

bool language::isClose(const Array &made, std::span<const double> wanted, double tolerance) {
  if (made.data.size() != wanted.size())
    return false;
  double most = 0;
  for (double value : wanted)
    most = std::max(most, std::fabs(value));
  for (size_t i = 0; i < wanted.size(); ++i)
    if (!(std::fabs(made.data[i] - wanted[i]) <= tolerance * most)) // also false for NaN
      return false;
  return true;
}

namespace {
struct Candidate {
  std::string input, weight;
};
} // namespace

/// What may be normed, and what may be the weight, by the operators that make `value`.
static std::vector<Candidate> candidates(const Graph &graph, const std::string &value) {
  const GraphNode *node = graph.producer(graph.strip(value));
  if (!node || node->inputs.size() < 2)
    return {};
  if (node->op == "SimplifiedLayerNormalization" || node->op == "RMSNormalization")
    return {{node->input(0), node->input(1)}};
  std::vector<Candidate> out;
  if (node->op != "Mul")
    return out;
  for (size_t i = 0; i < 2; ++i) {
    const GraphNode *scaled = graph.producer(graph.strip(node->input(1 - i)));
    if (graph.constantBehind(node->input(i)) && scaled && (scaled->op == "Mul" || scaled->op == "Div"))
      for (const std::string &input : scaled->inputs)
        out.push_back({input, node->input(i)});
  }
  return out;
}

/// The epsilon that makes `row` of the norm's result what it is: 1 / factor^2 - mean(x^2).
static double epsilonOf(std::span<const double> x, std::span<const double> y, std::span<const float> weight) {
  double squares = 0;
  size_t best = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    squares += x[i] * x[i];
    if (std::fabs(x[i] * double(weight[i])) > std::fabs(x[best] * double(weight[best])))
      best = i;
  }
  double factor = y[best] / (x[best] * double(weight[best]));
  return 1 / (factor * factor) - squares / double(x.size());
}

/// The norm, if the candidate is one. The first row of the sample is so small that epsilon decides.
static std::optional<Norm> check(const Graph &graph, const Projections &projections, const std::string &value,
                                 const Candidate &candidate, std::vector<float> weight, size_t rank) {
  auto width = static_cast<int64_t>(weight.size());
  std::vector<int64_t> shape(rank, 1);
  shape[rank - 1] = width;
  shape[rank - 2] = 2;
  Array x = Samples().draw(std::move(shape));
  for (int64_t i = 0; i < width; ++i)
    x.data[size_t(i)] *= 1e-5;
  Evaluator evaluator(graph, projections.surroundings(), {{candidate.input, x}});
  auto y = evaluator.get(value);
  if (!y || (*y)->size() != 2 * width)
    return std::nullopt;
  std::span<const double> from(x.data), to((*y)->data);
  auto epsilon = static_cast<float>(epsilonOf(from.first(weight.size()), to.first(weight.size()), weight));
  if (!(epsilon > 0) || !(epsilon < 1))
    return std::nullopt;
  std::vector<double> wanted;
  for (size_t row = 0; row < 2; ++row) {
    double squares = 0;
    for (double one : from.subspan(row * weight.size(), weight.size()))
      squares += one * one;
    for (size_t i = 0; i < weight.size(); ++i)
      wanted.push_back(from[row * weight.size() + i] * double(weight[i]) /
                       std::sqrt(squares / double(width) + double(epsilon)));
  }
  if (!isClose(**y, wanted, 1e-6))
    return std::nullopt;
  return Norm{std::move(weight), epsilon, {}};
}

/// The number of dimensions of what a norm with a weight of that width reads: hidden states have three. 0 if it cannot
/// be told.
static size_t rankOf(const Graph &graph, const std::string &input, int64_t width, std::optional<int64_t> hidden) {
  if (hidden)
    return width == *hidden ? 3 : 0;
  auto type = mlir::dyn_cast<mlir::RankedTensorType>(graph.value(input).getType());
  return type && type.getRank() >= 2 ? size_t(type.getRank()) : 0;
}

std::optional<FoundNorm> language::normOf(const Graph &graph, const Projections &projections, const std::string &value,
                                          std::optional<int64_t> hidden) {
  for (const Candidate &candidate : candidates(graph, value)) {
    const Constant *constant = graph.constantBehind(candidate.weight);
    int64_t width = constant && !constant->shape.empty() ? constant->shape.back() : 0;
    size_t rank = rankOf(graph, candidate.input, width, hidden);
    auto weight = rank > 0 ? vectorOf(graph, candidate.weight, width).value_or(std::nullopt) : std::nullopt;
    if (!weight)
      continue;
    if (std::optional<Norm> norm = check(graph, projections, value, candidate, *std::move(weight), rank)) {
      norm->names = graph.namesBetween({candidate.input}, value);
      return FoundNorm{*std::move(norm), candidate.input, candidate.weight};
    }
  }
  return std::nullopt;
}

/// What `onnx.rms_norm` says, if that makes the value.
static Result<std::optional<FoundNorm>> raisedNorm(const Graph &graph, const std::string &value, int64_t hidden) {
  const GraphNode *part = graph.producer(graph.strip(value), "onnx.rms_norm");
  if (!part)
    return std::nullopt;
  QUERN_ASSIGN(std::optional<std::vector<float>> weight, vectorOf(graph, part->input(1), hidden));
  if (!weight)
    return std::nullopt;
  Norm norm{*std::move(weight), static_cast<float>(part->real("epsilon", 0)), {part->input(1)}};
  std::ranges::copy(graph.namesBetween({part->input(0)}, value), std::back_inserter(norm.names));
  return FoundNorm{std::move(norm), graph.strip(part->input(0)), part->input(1)};
}

Result<FoundNorm> language::findNorm(const Graph &graph, const Projections &projections, const std::string &value,
                                     int64_t hidden) {
  QUERN_ASSIGN(std::optional<FoundNorm> raised, raisedNorm(graph, value, hidden));
  if (raised)
    return *std::move(raised);
  for (const Candidate &candidate : candidates(graph, value)) {
    QUERN_ASSIGN(std::optional<std::vector<float>> weight, vectorOf(graph, candidate.weight, hidden));
    if (!weight)
      continue;
    if (std::optional<Norm> norm = check(graph, projections, value, candidate, *std::move(weight), 3)) {
      norm->names = graph.namesBetween({candidate.input}, value);
      norm->names.insert(norm->names.begin(), candidate.weight);
      return FoundNorm{*std::move(norm), graph.strip(candidate.input), candidate.weight};
    }
  }
  const GraphNode *node = graph.producer(graph.strip(value));
  return graph.wrong(node ? "node " + node->describe() : "value " + inQuotes(value),
                     "stands where a language model has the RMS norm of its hidden state, with a weight of " +
                         std::to_string(hidden) + " elements, but computes something else");
}

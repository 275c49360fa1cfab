// The gated feed-forward part: silu(gate) * up, from two projections or the halves of one.
#include "Parts.h"

#include <cmath>

using namespace quern;
using namespace quern::import;
using namespace quern::import::language;

Linear language::rowsOf(const Graph &graph, const Projection &from, int64_t first, int64_t count) {
  Linear out{from.weight.slice(first, count), {}, graph.namesBetween({from.input}, from.output), from.biasName,
             from.dynamic};
  if (!from.bias.empty())
    out.bias.assign(from.bias.begin() + first, from.bias.begin() + first + count);
  return out;
}

/// Whether `value` is silu of the first of the halves times the second.
static bool isGated(const Array &value, const Array &gate, const Array &up) {
  std::vector<double> wanted;
  for (size_t i = 0; i < gate.data.size(); ++i)
    wanted.push_back(gate.data[i] / (1 + std::exp(-gate.data[i])) * up.data[i]);
  return isClose(value, wanted, 1e-6);
}

/// What `onnx.swiglu` says.
static Result<FoundFeedForward> raisedFeedForward(const Graph &graph, const Projections &projections,
                                                  const GraphNode &part) {
  const Projection *gate = projections.make(part.input(0)), *up = projections.make(part.input(1));
  int64_t width = part.integer("width", 0), first = part.integer("gate_column", 0),
          other = part.integer("up_column", 0);
  if (!gate || !up || width > gate->weight.n - first || width > up->weight.n - other)
    return graph.wrong("node " + part.describe(), "its inputs are no products with constant matrices of its width");
  const Projection *earlier = gate->output < up->output ? gate : up; // as names are found in an unraised graph
  return FoundFeedForward{rowsOf(graph, *gate, first, width),
                          rowsOf(graph, *up, other, width),
                          earlier->input,
                          part.names,
                          {gate->output, up->output},
                          {first, other}};
}

Result<FoundFeedForward> language::findFeedForward(const Graph &graph, const Projections &projections,
                                                   const Projection &down) {
  if (const GraphNode *part = graph.producer(down.input, "onnx.swiglu"))
    return raisedFeedForward(graph, projections, *part);
  auto wrong = [&](const std::string &what) {
    return graph.wrong("node " + down.node->describe(), "should be the last product of a feed-forward part, of "
                                                        "silu(gate) * up, but " +
                                                            what);
  };
  Projections::Sources sources = projections.sources(graph, down.input);
  std::vector<const Projection *> made;
  for (const std::string &name : sources.projections)
    made.push_back(projections.make(name));
  int64_t width = down.weight.k;
  bool packed = made.size() == 1 && made[0]->weight.n == 2 * width;
  bool pair = made.size() == 2 && made[0]->weight.n == width && made[1]->weight.n == width;
  if ((!packed && !pair) || !sources.inputs.empty())
    return wrong("its input is not made of two products as wide as itself");
  Samples samples;
  Array first = samples.draw({1, 2, width}), second = samples.draw({1, 2, width});
  std::map<std::string, Array> values{{made[0]->output, first}};
  if (pair)
    values.emplace(made[1]->output, second);
  if (packed) {
    Array &both = values.begin()->second;
    both = {{1, 2, 2 * width}, {}, false};
    for (int64_t row = 0; row < 2; ++row)
      for (const Array *half : {&first, &second})
        both.data.insert(both.data.end(), half->data.begin() + row * width, half->data.begin() + (row + 1) * width);
  }
  Evaluator evaluator(graph, projections.surroundings(), std::move(values));
  QUERN_ASSIGN(const Array *value, evaluator.get(down.input));
  bool straight = isGated(*value, first, second);
  if (!straight && !isGated(*value, second, first))
    return wrong("computes something else of them");
  Linear one = rowsOf(graph, *made[0], 0, width);
  Linear other = packed ? rowsOf(graph, *made[0], width, width) : rowsOf(graph, *made[1], 0, width);
  if (pair && graph.strip(made[0]->input) != graph.strip(made[1]->input))
    return wrong("the two products have different inputs");
  std::string firstName = made[0]->output, otherName = packed ? firstName : made[1]->output;
  int64_t otherColumn = packed ? width : 0;
  FoundFeedForward out{std::move(one),
                       std::move(other),
                       made[0]->input,
                       graph.namesBetween(sources.projections, down.input),
                       {std::move(firstName), std::move(otherName)},
                       {0, otherColumn}};
  if (!straight) {
    std::swap(out.gate, out.up);
    std::swap(out.products[0], out.products[1]);
    std::swap(out.columns[0], out.columns[1]);
  }
  return out;
}

// The products of a graph with constant matrices: the places at which a language model is cut into parts.
#ifndef QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_PROJECTIONS_H
#define QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_PROJECTIONS_H

#include "Evaluator.h"
#include "Matrix.h"

#include <set>

namespace quern::import::language {

/// y = x W^T + bias.
struct Projection {
  const GraphNode *node;
  std::string input, output;
  Matrix weight;
  std::vector<float> bias; ///< empty: none
  std::string biasName = {};
  bool dynamic = false; ///< x is rounded by DynamicQuantizeLinear
};

class Projections {
public:
  /// Finds MatMul, Gemm and MatMulNBits with constant weights (also behind DequantizeLinear), MatMulInteger of what
  /// DynamicQuantizeLinear made, and the sums with constant vectors behind them.
  static Result<Projections> find(const Graph &graph);

  const Projection *make(const std::string &value) const;
  /// For evaluations: the projections' outputs as zeros of their shape.
  const Surroundings &surroundings() const { return around; }

  /// What a part of the graph is made of: projections' outputs, inputs of the graph, constants and nodes on the way
  /// back from a value. Shapes of tensors are not followed. `stop`: further values at which to end.
  struct Sources {
    std::set<std::string> projections, inputs, constants;
    std::vector<const GraphNode *> nodes;
    bool reachedStop = false;
  };
  Sources sources(const Graph &graph, const std::string &value, const std::string &stop = {}) const;

private:
  std::unordered_map<std::string, Projection> byOutput;
  Surroundings around;
};

/// A constant vector of `size` floats; none if the value is something else.
Result<std::optional<std::vector<float>>> vectorOf(const Graph &graph, const std::string &value, int64_t size);

} // namespace quern::import::language

#endif // QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_PROJECTIONS_H

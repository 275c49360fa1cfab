// Computes values of a graph on small samples, in double precision: what the recogniser asks to see whether a part of
// the graph means what it should, whichever operators an exporter made it of. It never runs a whole model.
#ifndef QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_EVALUATOR_H
#define QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_EVALUATOR_H

#include "Graph.h"

#include <map>
#include <span>

namespace quern::import::language {

/// A row-major tensor of a sample. Integers and booleans (0 and 1) are whole numbers.
struct Array {
  std::vector<int64_t> shape;
  std::vector<double> data; ///< may be left out of what a sample gives: then only shapes, also of a Concat, are known
  bool integer = false;

  int64_t rank() const { return static_cast<int64_t>(shape.size()); }
  int64_t size() const { return static_cast<int64_t>(data.size()); }
  bool isShapeOnly() const;
  /// Zeros of that shape. Fails on more elements than a sample may have.
  static Result<Array> zeros(std::vector<int64_t> shape, bool integer = false);
  static Array vector(std::vector<double> values, bool integer);
  std::vector<int64_t> integers() const;
};

// Parts of errors that tell that a table has no row for a position.
inline constexpr const char *kNoCosines = "has no cosines for position ";
inline constexpr const char *kBeyondAxis = " of an axis of ";
inline constexpr const char *kUnfitSizes = "its inputs have sizes that do not fit together"; ///< of a slice cut short

/// The elements of a tensor of the file, of floats, integers or booleans.
Result<Array> arrayOf(const Graph &graph, const Constant &tensor);

/// A node on its way: inputs that are left out are null; operators append their outputs.
struct Call {
  const GraphNode &node;
  const Graph &graph;
  std::vector<const Array *> inputs;
  std::vector<Array> outputs;

  bool has(size_t i) const { return i < inputs.size() && inputs[i]; }
  const Array &operator[](size_t i) const { return *inputs[i]; }
  /// An axis counted from the front; fails if the tensor has none.
  Result<size_t> axis(int64_t axis, int64_t rank) const;
  /// `axes` as attribute or as input `i`; all axes if there are none.
  Result<std::vector<bool>> axes(size_t i, int64_t rank) const;
  tl::unexpected<Error> wrong(const std::string &what) const { return graph.wrong("node " + node.describe(), what); }
  /// Appends an output; how an operator of one output ends.
  Status give(Array array) {
    outputs.push_back(std::move(array));
    return {};
  }
};

struct Operator {
  size_t needed; ///< inputs that must be there
  Status (*run)(Call &);
};
using OperatorTable = std::map<std::string_view, Operator>;

// One for each family, in the file of that name.
void addElementwiseOperators(OperatorTable &table);
void addShapeOperators(OperatorTable &table);
void addIndexOperators(OperatorTable &table);
void addSumOperators(OperatorTable &table);
void addAttentionOperators(OperatorTable &table);
void addPartOperators(OperatorTable &table);

/// The shape that both broadcast to.
Result<std::vector<int64_t>> broadcastShapes(std::span<const int64_t> a, std::span<const int64_t> b);
/// For each element of `shape` in row-major order, the offset of the element of `from` that is broadcast to it.
std::vector<int64_t> broadcastOffsets(const std::vector<int64_t> &from, const std::vector<int64_t> &shape);

/// What evaluations of one graph share.
struct Surroundings {
  /// Values that stand for zeros, `width` wide, with the other sizes of the value `like`: projections whose result only
  /// gives its shape.
  struct Width {
    std::string like;
    int64_t width;
  };
  std::unordered_map<std::string, Width> widths;
  mutable std::map<std::string, Array> constants; ///< as they were read
};

class Evaluator {
public:
  /// `values` are what the sample gives: they are taken, not computed.
  Evaluator(const Graph &graph, const Surroundings &around, std::map<std::string, Array> values)
      : graph(graph), around(around), values(std::move(values)) {}

  /// The value of that name. Errors name the node that cannot be computed.
  Result<const Array *> get(const std::string &name);

  /// The inputs of the graph without which `get` cannot compute the value.
  std::vector<std::string> missing(const std::string &name) const;

private:
  /// What a value is made of, as far as nothing that is known.
  struct Plan {
    std::vector<const GraphNode *> nodes; ///< in the order of computation
    std::vector<std::string> wide;        ///< values of that kind, see Surroundings
    std::vector<std::string> missing;     ///< values that nothing makes
    std::unordered_map<std::string, int> uses;
  };
  Plan plan(const std::string &name) const;
  Status run(const GraphNode &node, Plan &plan);
  Status makeReady(Plan &plan);
  void release(const std::string &name, Plan &plan);
  Result<const Array *> known(const std::string &name);
  Status makeWide(const std::string &name);

  const Graph &graph;
  const Surroundings &around;
  std::map<std::string, Array> values; ///< those that are computed go after their last use
};

} // namespace quern::import::language

#endif // QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_EVALUATOR_H

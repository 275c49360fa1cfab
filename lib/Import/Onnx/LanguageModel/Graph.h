// An ONNX graph as the recogniser of language models walks it: who makes a value, who uses it, what is constant. Fused
// operators that are sums of others are split, so that one form of them is left. Free of MLIR.
#ifndef QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_GRAPH_H
#define QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_GRAPH_H

#include "quern/Import/Onnx/OnnxFile.h"

#include <list>
#include <optional>
#include <set>
#include <unordered_map>

namespace quern::import::language {

struct GraphNode {
  std::string op;                           ///< "MatMul"; of other domains "com.microsoft.MatMulNBits"
  std::vector<std::string> inputs, outputs; ///< an empty name: left out
  const onnx::NodeProto *proto;             ///< its attributes and name
  size_t index;                             ///< in the order of computation

  /// The input's name, empty if it is left out.
  const std::string &input(size_t i) const;
  const onnx::AttributeProto *attribute(const char *name) const;
  int64_t integer(const char *name, int64_t otherwise) const;
  double real(const char *name, double otherwise) const;
  std::string describe() const { return describeNode(*proto); }
};

class Graph {
public:
  /// `file` must outlive the graph.
  explicit Graph(OnnxFile &file);

  OnnxFile &file;
  const std::list<GraphNode> &nodes() const { return list; }

  /// Null for inputs and constants.
  const GraphNode *producer(const std::string &value) const;
  /// The same if it is of that operator, else null.
  const GraphNode *producer(const std::string &value, std::string_view op) const;
  const std::vector<const GraphNode *> &consumers(const std::string &value) const;
  bool isOutput(const std::string &value) const;
  /// Null unless it is an input without a default.
  const onnx::ValueInfoProto *input(const std::string &value) const;

  /// The tensor, if the value is one of the file or of a Constant node.
  const onnx::TensorProto *constant(const std::string &value) const;
  /// The same through Identity, Cast, Reshape, Squeeze and Unsqueeze, which leave the order of the elements.
  const onnx::TensorProto *constantBehind(std::string value) const;

  /// The value before Identity, Cast, CastLike and Reshape.
  std::string strip(std::string value) const;

  /// The nodes that lie on a way of data, not of shapes, from one of `from` to `value`, in the order of computation.
  std::vector<const GraphNode *> nodesBetween(const std::set<std::string> &from, const std::string &value) const;
  /// Their names.
  std::vector<std::string> namesBetween(const std::set<std::string> &from, const std::string &value) const;

private:
  std::vector<const GraphNode *> behind(const std::set<std::string> &from, const std::string &value) const;
  void add(const onnx::NodeProto &proto);
  void addSkipNorm(const onnx::NodeProto &proto);
  void addNode(std::string op, std::vector<std::string> inputs, std::vector<std::string> outputs,
               const onnx::NodeProto &proto);
  void addConstant(const onnx::NodeProto &proto);

  std::list<GraphNode> list;
  std::unordered_map<std::string, const GraphNode *> producers;
  std::unordered_map<std::string, std::vector<const GraphNode *>> users;
  std::unordered_map<std::string, const onnx::TensorProto *> constants;
  std::unordered_map<std::string, const onnx::ValueInfoProto *> inputs;
};

/// The sizes of a tensor of the file.
std::vector<int64_t> shapeOf(const onnx::TensorProto &tensor);

} // namespace quern::import::language

#endif // QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_GRAPH_H

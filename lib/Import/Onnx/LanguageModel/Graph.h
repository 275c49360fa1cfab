// An ONNX graph as the recogniser of language models walks it: a view of a function of `onnx` ops by the names of its
// values. Who makes a value, who uses it, what is constant.
#ifndef QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_GRAPH_H
#define QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_GRAPH_H

#include "quern/Import/Onnx/OnnxFile.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <list>
#include <optional>
#include <set>
#include <unordered_map>

namespace quern::import::language {

struct GraphNode {
  std::string op;                           ///< "MatMul"; "com.microsoft.MatMulNBits"; of parts "onnx.rms_norm"
  std::vector<std::string> inputs, outputs; ///< an empty name: left out
  std::string name;                         ///< of the node
  std::vector<std::string> names;           ///< of the file's nodes that it stands for: of itself, if it is one
  std::string type;                         ///< the file's operator, without its domain
  mlir::DictionaryAttr attributes;
  mlir::Operation *source;
  size_t index; ///< in the order of computation

  /// The input's name, empty if it is left out.
  const std::string &input(size_t i) const;
  bool has(const char *attribute) const { return attributes.contains(attribute); }
  int64_t integer(const char *attribute, int64_t otherwise) const;
  double real(const char *attribute, double otherwise) const;
  std::string text(const char *attribute) const; ///< empty if it is not there
  std::optional<std::vector<int64_t>> integers(const char *attribute) const;
  /// In an attribute of strings.
  std::vector<std::string> texts(const char *attribute) const;
  /// "'/layers.0/Add' (Add)".
  std::string describe() const;
};

/// A tensor whose elements are known.
struct Constant {
  std::string name;
  int32_t type; ///< ONNX's number
  std::vector<int64_t> shape;
  std::optional<std::span<const std::byte>> bytes; ///< as in `raw_data`; none where they were left out of the IR
};

/// An input of the graph.
struct Input {
  std::string name;
  int32_t type;               ///< ONNX's number; 0: none that is known
  std::vector<int64_t> shape; ///< negative: known when it runs
};

class Graph {
public:
  /// `function` must outlive the graph, and stay as it is.
  explicit Graph(mlir::func::FuncOp function);
  Graph(const Graph &) = delete;

  const std::list<GraphNode> &nodes() const { return list; }
  const std::list<Input> &inputs() const { return inputList; }
  /// Values that are outputs of the graph.
  const std::vector<std::string> &outputs() const { return outputList; }
  bool isOutput(const std::string &value) const;

  /// Null for inputs and constants.
  const GraphNode *producer(const std::string &value) const;
  /// The same if it is of that operator, else null.
  const GraphNode *producer(const std::string &value, std::string_view op) const;
  const std::vector<const GraphNode *> &consumers(const std::string &value) const;
  /// Null unless it is an input.
  const Input *input(const std::string &value) const;
  /// The value of that name in the IR.
  mlir::Value value(const std::string &name) const { return values.at(name); }

  /// The tensor, if the value is constant.
  const Constant *constant(const std::string &value) const;
  /// The same through Identity, Cast, Reshape, Squeeze and Unsqueeze, which leave the order of the elements.
  const Constant *constantBehind(std::string value) const;
  /// The tensor in an attribute of the node, if there is one.
  std::optional<Constant> tensor(const GraphNode &node, const char *attribute) const;
  Result<std::span<const std::byte>> data(const Constant &constant) const;

  /// The value before Identity, Cast, CastLike and Reshape.
  std::string strip(std::string value) const;

  /// The nodes that lie on a way of data, not of shapes, from one of `from` to `value`, in the order of computation.
  std::vector<const GraphNode *> nodesBetween(const std::set<std::string> &from, const std::string &value) const;
  /// Their names.
  std::vector<std::string> namesBetween(const std::set<std::string> &from, const std::string &value) const;

  /// Of the file that the graph was imported from, or of its text.
  std::string path() const;
  /// "'model.onnx': node 'name': what".
  tl::unexpected<Error> wrong(const std::string &what, const std::string &thing) const;

private:
  std::vector<const GraphNode *> behind(const std::set<std::string> &from, const std::string &value) const;
  void addName(mlir::Value value, std::string name);
  void addInputs();
  void addNode(mlir::Operation &op);
  void addPart(mlir::Operation &op);
  Constant read(std::string name, mlir::ElementsAttr value) const;

  mlir::func::FuncOp function;
  std::list<GraphNode> list;
  std::list<Input> inputList;
  std::vector<std::string> outputList;
  std::unordered_map<std::string, mlir::Value> values;
  llvm::DenseMap<mlir::Value, std::string> names;
  std::unordered_map<std::string, const GraphNode *> producers;
  std::unordered_map<std::string, std::vector<const GraphNode *>> users;
  std::unordered_map<std::string, Constant> constants;
  std::unordered_map<std::string, const Input *> inputsByName;
  mutable std::list<llvm::SmallVector<char>> rooms; ///< bytes of constants that the IR holds in another form
};

/// Splits fused operators that are sums of others, so that one form of them is left:
/// SkipSimplifiedLayerNormalization(x, skip, weight, bias) becomes sums and the norm of the sum, which is output 3.
void decompose(mlir::func::FuncOp function);

} // namespace quern::import::language

#endif // QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_GRAPH_H

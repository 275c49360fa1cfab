// What must hold for any graph: names are made once, and before they are used.
#include "quern/Import/Onnx/OnnxFile.h"
#include "quern/Support/Quoted.h"

#include <set>

using namespace quern;
using namespace quern::import;

namespace {
/// Walks the graph in order and knows which values exist so far.
class GraphCheck {
public:
  explicit GraphCheck(const OnnxFile &file) : file(file) {}
  Status run();

private:
  Status make(const std::string &name, const std::string &what);
  Status checkNode(const onnx::NodeProto &node);
  Status checkInput(const onnx::ValueInfoProto &input);
  Status missing(const onnx::NodeProto &node, const std::string &name) const;

  const OnnxFile &file;
  std::set<std::string> made;
};
} // namespace

Status GraphCheck::make(const std::string &name, const std::string &what) {
  if (name.empty())
    return file.wrong(what, "has no name");
  if (!made.insert(name).second)
    return file.wrong(what, inQuotes(name) + " is made twice; every value needs a name of its own");
  return {};
}

/// A value that does not exist yet: made later (or by the node itself), or by nobody.
Status GraphCheck::missing(const onnx::NodeProto &user, const std::string &name) const {
  for (const onnx::NodeProto &node : file.graph().node())
    for (const std::string &output : node.output())
      if (output == name)
        return file.wrong("node " + describeNode(user), "uses " + inQuotes(name) + ", which only node " +
                                                            describeNode(node) +
                                                            " makes, at or after it; the graph is cyclic or its nodes "
                                                            "are not in the order of computation");
  return file.wrong("node " + describeNode(user), "uses " + inQuotes(name) + ", which nothing in the graph makes");
}

Status GraphCheck::checkNode(const onnx::NodeProto &node) {
  if (node.op_type().empty())
    return file.wrong("node " + inQuotes(node.name()), "names no operator");
  if (node.output_size() == 0)
    return file.wrong("node " + describeNode(node), "makes nothing; a node has at least one output");
  for (const std::string &input : node.input()) // an empty name: an optional input that is left out
    if (!input.empty() && !made.contains(input))
      return missing(node, input);
  for (const std::string &output : node.output())
    if (!output.empty())
      QUERN_TRY(make(output, "node " + describeNode(node)));
  return {};
}

Status GraphCheck::checkInput(const onnx::ValueInfoProto &input) {
  for (const auto &dimension : input.type().tensor_type().shape().dim())
    if (dimension.has_dim_value() && dimension.dim_value() < 0)
      return file.wrong("input " + inQuotes(input.name()),
                        "has the dimension " + std::to_string(dimension.dim_value()) + "; dimensions are not negative");
  return {};
}

Status GraphCheck::run() {
  const onnx::GraphProto &graph = file.graph();
  for (const onnx::TensorProto &tensor : graph.initializer())
    QUERN_TRY(make(tensor.name(), "initializer"));
  std::set<std::string> inputs;
  for (const onnx::ValueInfoProto &input : graph.input()) {
    QUERN_TRY(checkInput(input));
    if (!inputs.insert(input.name()).second)
      return file.wrong("input", inQuotes(input.name()) + " is there twice");
    if (!made.contains(input.name())) // an initializer of that name is the input's default
      QUERN_TRY(make(input.name(), "input"));
  }
  for (const onnx::NodeProto &node : graph.node())
    QUERN_TRY(checkNode(node));
  if (graph.output_size() == 0)
    return fail("'" + file.path() + "': the graph has no outputs, so there is nothing to compute");
  std::set<std::string> outputs;
  for (const onnx::ValueInfoProto &output : graph.output()) {
    if (!made.contains(output.name()))
      return file.wrong("output " + inQuotes(output.name()), "nothing in the graph makes it");
    if (!outputs.insert(output.name()).second)
      return file.wrong("output", inQuotes(output.name()) + " is there twice");
  }
  return {};
}

Status import::checkGraph(const OnnxFile &file) { return GraphCheck(file).run(); }

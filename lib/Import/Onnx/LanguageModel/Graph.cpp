#include "Graph.h"

#include <algorithm>

using namespace quern;
using namespace quern::import;
using namespace quern::import::language;

std::vector<int64_t> language::shapeOf(const onnx::TensorProto &tensor) {
  return {tensor.dims().begin(), tensor.dims().end()};
}

const std::string &GraphNode::input(size_t i) const {
  static const std::string none;
  return i < inputs.size() ? inputs[i] : none;
}

const onnx::AttributeProto *GraphNode::attribute(const char *name) const {
  for (const onnx::AttributeProto &one : proto->attribute())
    if (one.name() == name)
      return &one;
  return nullptr;
}

int64_t GraphNode::integer(const char *name, int64_t otherwise) const {
  const onnx::AttributeProto *found = attribute(name);
  return found ? found->i() : otherwise;
}

double GraphNode::real(const char *name, double otherwise) const {
  const onnx::AttributeProto *found = attribute(name);
  return found ? double(found->f()) : otherwise;
}

Graph::Graph(OnnxFile &file) : file(file) {
  for (const onnx::TensorProto &tensor : file.graph().initializer())
    constants[tensor.name()] = &tensor;
  for (const onnx::ValueInfoProto &input : file.graph().input())
    if (!constants.contains(input.name()))
      inputs[input.name()] = &input;
  for (const onnx::NodeProto &node : file.graph().node())
    add(node);
  for (const GraphNode &node : list) {
    for (const std::string &output : node.outputs)
      if (!output.empty())
        producers[output] = &node;
    for (const std::string &input : node.inputs)
      if (!input.empty())
        users[input].push_back(&node);
  }
}

void Graph::addNode(std::string op, std::vector<std::string> from, std::vector<std::string> to,
                    const onnx::NodeProto &proto) {
  list.push_back({std::move(op), std::move(from), std::move(to), &proto, list.size()});
}

/// SkipSimplifiedLayerNormalization(x, skip, weight, bias) as sums and the norm of the sum, which is output 3.
void Graph::addSkipNorm(const onnx::NodeProto &proto) {
  auto input = [&](int i) { return i < proto.input_size() ? proto.input(i) : std::string(); };
  const std::string normed = proto.output(0);
  std::string sum = proto.output_size() > 3 ? proto.output(3) : std::string();
  if (sum.empty())
    sum = normed + " (sum)";
  std::string skip = input(1);
  if (!input(3).empty()) {
    addNode("Add", {skip, input(3)}, {normed + " (biased)"}, proto);
    skip = normed + " (biased)";
  }
  addNode("Add", {input(0), skip}, {sum}, proto);
  addNode("SimplifiedLayerNormalization", {sum, input(2)}, {normed}, proto);
}

/// A tensor in the attribute, or numbers, of which a tensor is made.
void Graph::addConstant(const onnx::NodeProto &proto) {
  for (const onnx::AttributeProto &attribute : proto.attribute()) {
    onnx::TensorProto made;
    if (attribute.name() == "value") {
      constants[proto.output(0)] = &attribute.t();
      return;
    }
    if (attribute.name() == "value_float" || attribute.name() == "value_floats") {
      made.set_data_type(onnx::TensorProto::FLOAT);
      *made.mutable_float_data() = attribute.floats();
      if (attribute.name() == "value_float")
        made.add_float_data(attribute.f());
      else
        made.add_dims(attribute.floats_size());
    } else if (attribute.name() == "value_int" || attribute.name() == "value_ints") {
      made.set_data_type(onnx::TensorProto::INT64);
      *made.mutable_int64_data() = attribute.ints();
      if (attribute.name() == "value_int")
        made.add_int64_data(attribute.i());
      else
        made.add_dims(attribute.ints_size());
    } else {
      continue;
    }
    constants[proto.output(0)] = &file.keep(std::move(made));
    return;
  }
}

void Graph::add(const onnx::NodeProto &proto) {
  bool standard = proto.domain().empty() || proto.domain() == "ai.onnx";
  std::string op = standard ? proto.op_type() : proto.domain() + "." + proto.op_type();
  if (proto.output_size() == 0)
    return;
  if (op == "Constant")
    return addConstant(proto);
  if (op == "com.microsoft.SkipSimplifiedLayerNormalization" || op == "SkipSimplifiedLayerNormalization")
    return addSkipNorm(proto);
  if (op == "com.microsoft.SimplifiedLayerNormalization")
    op = "SimplifiedLayerNormalization";
  addNode(op, {proto.input().begin(), proto.input().end()}, {proto.output().begin(), proto.output().end()}, proto);
}

const GraphNode *Graph::producer(const std::string &value) const {
  auto found = producers.find(value);
  return found == producers.end() ? nullptr : found->second;
}

const GraphNode *Graph::producer(const std::string &value, std::string_view op) const {
  const GraphNode *node = producer(value);
  return node && node->op == op ? node : nullptr;
}

const std::vector<const GraphNode *> &Graph::consumers(const std::string &value) const {
  static const std::vector<const GraphNode *> none;
  auto found = users.find(value);
  return found == users.end() ? none : found->second;
}

bool Graph::isOutput(const std::string &value) const {
  return std::ranges::any_of(file.graph().output(), [&](const auto &output) { return output.name() == value; });
}

const onnx::ValueInfoProto *Graph::input(const std::string &value) const {
  auto found = inputs.find(value);
  return found == inputs.end() ? nullptr : found->second;
}

const onnx::TensorProto *Graph::constant(const std::string &value) const {
  auto found = constants.find(value);
  return found == constants.end() ? nullptr : found->second;
}

static bool isOneOf(const GraphNode *node, std::initializer_list<std::string_view> ops) {
  return node && std::ranges::find(ops, std::string_view(node->op)) != ops.end();
}

const onnx::TensorProto *Graph::constantBehind(std::string value) const {
  while (const GraphNode *node = producer(value)) {
    if (!isOneOf(node, {"Identity", "Cast", "CastLike", "Reshape", "Squeeze", "Unsqueeze"}))
      return nullptr;
    value = node->input(0);
  }
  return constant(value);
}

/// The nodes that `value` is made of, as far as `from`, in the order of computation.
std::vector<const GraphNode *> Graph::behind(const std::set<std::string> &from, const std::string &value) const {
  std::vector<const GraphNode *> out;
  std::set<std::string_view> seen;
  std::vector<std::string_view> open{value};
  while (!open.empty()) {
    std::string at(open.back());
    open.pop_back();
    const GraphNode *node = from.contains(at) ? nullptr : producer(at);
    if (!node || !seen.insert(node->outputs[0]).second)
      continue;
    out.push_back(node);
    open.insert(open.end(), node->inputs.begin(), node->inputs.end());
  }
  std::ranges::sort(out, {}, &GraphNode::index);
  return out;
}

std::vector<const GraphNode *> Graph::nodesBetween(const std::set<std::string> &from, const std::string &value) const {
  std::set<std::string> reached = from;
  std::vector<const GraphNode *> out;
  for (const GraphNode *node : behind(from, value)) {
    bool isShape = node->op == "Shape" || node->op == "Size";
    if (isShape || std::ranges::none_of(node->inputs, [&](const std::string &name) { return reached.contains(name); }))
      continue;
    reached.insert(node->outputs.begin(), node->outputs.end());
    out.push_back(node);
  }
  return out;
}

std::vector<std::string> Graph::namesBetween(const std::set<std::string> &from, const std::string &value) const {
  std::vector<std::string> out;
  for (const GraphNode *node : nodesBetween(from, value))
    if (std::string name = nodeName(*node->proto); out.empty() || out.back() != name) // fused ones were split
      out.push_back(std::move(name));
  return out;
}

std::string Graph::strip(std::string value) const {
  while (isOneOf(producer(value), {"Identity", "Cast", "CastLike", "Reshape"}))
    value = producer(value)->input(0);
  return value;
}

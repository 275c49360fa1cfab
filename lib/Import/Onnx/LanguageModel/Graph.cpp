#include "Graph.h"

#include "dialects/Onnx/Onnx.h"
#include "quern/Support/Quoted.h"

#include <algorithm>

using namespace quern;
using namespace quern::import;
using namespace quern::import::language;

const std::string &GraphNode::input(size_t i) const {
  static const std::string none;
  return i < inputs.size() ? inputs[i] : none;
}

int64_t GraphNode::integer(const char *attribute, int64_t otherwise) const {
  if (!has(attribute))
    return otherwise;
  auto number = attributes.getAs<mlir::IntegerAttr>(attribute);
  return number ? number.getInt() : 0;
}

double GraphNode::real(const char *attribute, double otherwise) const {
  if (!has(attribute))
    return otherwise;
  auto number = attributes.getAs<mlir::FloatAttr>(attribute);
  return number ? number.getValueAsDouble() : 0;
}

std::string GraphNode::text(const char *attribute) const {
  auto text = attributes.getAs<mlir::StringAttr>(attribute);
  return text ? text.str() : "";
}

std::optional<std::vector<int64_t>> GraphNode::integers(const char *attribute) const {
  if (!has(attribute))
    return std::nullopt;
  auto list = attributes.getAs<mlir::DenseI64ArrayAttr>(attribute);
  return list ? std::vector<int64_t>(list.asArrayRef()) : std::vector<int64_t>();
}

std::string GraphNode::describe() const { return inQuotes(name) + " (" + printable(type) + ")"; }

std::vector<std::string> GraphNode::texts(const char *attribute) const {
  std::vector<std::string> out;
  if (auto list = attributes.getAs<mlir::ArrayAttr>(attribute))
    for (auto text : list.getAsRange<mlir::StringAttr>())
      out.push_back(text.str());
  return out;
}

/// The name that a location is made of; empty if there is none.
static std::string locationName(mlir::Location location) {
  auto named = mlir::dyn_cast<mlir::NameLoc>(location);
  return named ? named.getName().str() : "";
}

/// Every value has a name of its own, also where IR was written by hand.
void Graph::addName(mlir::Value value, std::string name) {
  std::string given = name;
  for (size_t number = values.size(); name.empty() || values.contains(name); ++number)
    name = given + "%" + std::to_string(number);
  names[value] = name;
  values.emplace(std::move(name), value);
}

void Graph::addInputs() {
  for (mlir::BlockArgument argument : function.getArguments()) {
    auto name = function.getArgAttrOfType<mlir::StringAttr>(argument.getArgNumber(), onnxir::kNameAttr);
    addName(argument, name ? name.str() : "");
    Input input{names[argument], 0, {}};
    if (auto type = mlir::dyn_cast<mlir::TensorType>(argument.getType()))
      input.type = onnxir::elementNumber(type.getElementType());
    if (auto type = mlir::dyn_cast<mlir::RankedTensorType>(argument.getType()))
      for (int64_t size : type.getShape())
        input.shape.push_back(mlir::ShapedType::isDynamic(size) ? -1 : size);
    inputList.push_back(std::move(input));
    inputsByName[inputList.back().name] = &inputList.back();
  }
}

Constant Graph::read(std::string name, mlir::ElementsAttr value) const {
  auto type = mlir::cast<mlir::ShapedType>(value.getType());
  Constant out{std::move(name), onnxir::elementNumber(type.getElementType()), type.getShape(), std::nullopt};
  llvm::SmallVector<char> &room = rooms.emplace_back();
  if (auto bytes = onnxir::rawBytes(value, room))
    out.bytes = std::as_bytes(std::span(bytes->data(), bytes->size()));
  return out;
}

void Graph::addNode(mlir::Operation &op) {
  auto made = mlir::cast<onnxir::NodeOp>(op);
  GraphNode node{made.getOperator(),           {},  {},         locationName(op.getLoc()), {}, "",
                 made.getNodeAttributesAttr(), &op, list.size()};
  node.type = made.getPart().value_or(made.getOpType()).str();
  if (!node.attributes)
    node.attributes = mlir::DictionaryAttr::get(op.getContext());
  if (node.op == "com.microsoft.SimplifiedLayerNormalization")
    node.op = "SimplifiedLayerNormalization";
  for (mlir::Value input : op.getOperands())
    node.inputs.push_back(mlir::isa<mlir::NoneType>(input.getType()) ? "" : names.at(input));
  for (mlir::OpResult result : op.getResults()) {
    auto outputs = made.getOutputsAttr();
    auto name = outputs ? mlir::cast<mlir::StringAttr>(outputs[result.getResultNumber()]).str() : "";
    bool isLeftOut = outputs && name.empty() && result.use_empty();
    if (!isLeftOut)
      addName(result, name);
    node.outputs.push_back(isLeftOut ? "" : names[result]);
  }
  if (node.name.empty())
    node.name = node.outputs.front();
  node.names = {node.name};
  list.push_back(std::move(node));
}

/// An op that stands for several nodes: its location names its value, and those nodes below it.
void Graph::addPart(mlir::Operation &op) {
  GraphNode node{op.getName().getStringRef().str(),
                 {},
                 {},
                 locationName(op.getLoc()),
                 {},
                 "",
                 op.getAttrDictionary(),
                 &op,
                 list.size()};
  node.type = op.getName().stripDialect().str();
  if (auto embedding = mlir::dyn_cast<onnxir::EmbeddingOp>(op); embedding && embedding.getNodeAttributes())
    node.attributes = *embedding.getNodeAttributes();
  if (auto named = mlir::dyn_cast<mlir::NameLoc>(op.getLoc())) {
    llvm::SmallVector<mlir::Location> below{named.getChildLoc()};
    if (auto several = mlir::dyn_cast<mlir::FusedLoc>(named.getChildLoc()))
      below.assign(several.getLocations().begin(), several.getLocations().end());
    for (mlir::Location one : below)
      if (std::string name = locationName(one); !name.empty())
        node.names.push_back(std::move(name));
  }
  for (mlir::Value input : op.getOperands())
    node.inputs.push_back(names.at(input));
  addName(op.getResult(0), node.name);
  node.outputs.push_back(names[op.getResult(0)]);
  if (node.name.empty())
    node.name = node.outputs.front();
  list.push_back(std::move(node));
}

Graph::Graph(mlir::func::FuncOp function) : function(function) {
  addInputs();
  for (mlir::Operation &op : function.getBody().front()) {
    if (auto constant = mlir::dyn_cast<onnxir::ConstantOp>(op)) {
      addName(constant, locationName(op.getLoc()));
      const std::string &name = names[constant];
      constants.emplace(name, read(name, constant.getValue()));
    } else if (mlir::isa<onnxir::NodeOp>(op)) {
      addNode(op);
    } else if (mlir::isa<onnxir::EmbeddingOp, onnxir::RmsNormOp, onnxir::SwigluOp, onnxir::AttentionOp>(op)) {
      addPart(op);
    } else {
      for (mlir::Value result : op.getResults()) // of `onnx.none`, or of ops that no recogniser looks into
        addName(result, "");
    }
  }
  for (mlir::Value output : function.getBody().front().getTerminator()->getOperands())
    outputList.push_back(names.at(output));
  for (const GraphNode &node : list) {
    for (const std::string &output : node.outputs)
      if (!output.empty())
        producers[output] = &node;
    for (const std::string &input : node.inputs)
      if (!input.empty())
        users[input].push_back(&node);
  }
}

std::string Graph::path() const {
  mlir::Operation *op = mlir::func::FuncOp(function);
  mlir::Location location = op->getParentOp() ? op->getParentOp()->getLoc() : op->getLoc();
  auto text = mlir::dyn_cast<mlir::FileLineColLoc>(location);
  return text ? text.getFilename().str() : locationName(location);
}

tl::unexpected<Error> Graph::wrong(const std::string &what, const std::string &thing) const {
  return fail("'" + path() + "': " + what + ": " + thing);
}

Result<std::span<const std::byte>> Graph::data(const Constant &constant) const {
  if (!constant.bytes)
    return wrong("tensor " + inQuotes(constant.name), "its elements are strings, or were left out of the IR");
  return *constant.bytes;
}

std::optional<Constant> Graph::tensor(const GraphNode &node, const char *attribute) const {
  auto value = mlir::dyn_cast_or_null<mlir::ElementsAttr>(node.attributes.get(attribute));
  if (!value)
    return std::nullopt;
  return read(node.name, value);
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
  return std::ranges::find(outputList, value) != outputList.end();
}

const Input *Graph::input(const std::string &value) const {
  auto found = inputsByName.find(value);
  return found == inputsByName.end() ? nullptr : found->second;
}

const Constant *Graph::constant(const std::string &value) const {
  auto found = constants.find(value);
  return found == constants.end() ? nullptr : &found->second;
}

static bool isOneOf(const GraphNode *node, std::initializer_list<std::string_view> ops) {
  return node && std::ranges::find(ops, std::string_view(node->op)) != ops.end();
}

const Constant *Graph::constantBehind(std::string value) const {
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
    for (const std::string &name : node->names)
      if (out.empty() || out.back() != name) // fused ones were split
        out.push_back(name);
  return out;
}

std::string Graph::strip(std::string value) const {
  while (isOneOf(producer(value), {"Identity", "Cast", "CastLike", "Reshape"}))
    value = producer(value)->input(0);
  return value;
}

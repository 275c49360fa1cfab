#include "Evaluator.h"

#include "quern/Support/Half.h"
#include "quern/Support/Quoted.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <unordered_set>

using namespace quern;
using namespace quern::import;
using namespace quern::import::language;

/// Elements of one tensor of a sample: enough for a table of cosines, not for a weight.
static constexpr int64_t kMostElements = int64_t(1) << 26;

Result<Array> Array::zeros(std::vector<int64_t> shape, bool integer) {
  QUERN_ASSIGN(int64_t count, countElements(shape));
  // An axis of 0 must not let the others grow: operators also go through the places of one axis.
  std::vector<int64_t> sizes(shape);
  std::ranges::replace(sizes, 0, 1);
  if (auto most = countElements(sizes); !most || *most > kMostElements)
    return fail("a tensor of " + std::to_string(count) + " elements is too large for a sample");
  return Array{std::move(shape), std::vector<double>(static_cast<size_t>(count)), integer};
}

Array Array::vector(std::vector<double> values, bool integer) {
  return {{static_cast<int64_t>(values.size())}, std::move(values), integer};
}

/// Kept inside int64, whose ends graphs use as "to the end".
static int64_t toInteger(double value) {
  if (!(std::fabs(value) < 0x1p63))
    return value > 0 ? INT64_MAX : INT64_MIN;
  return static_cast<int64_t>(value);
}

std::vector<int64_t> Array::integers() const {
  std::vector<int64_t> out;
  for (double value : data)
    out.push_back(toInteger(value));
  return out;
}

template <typename T, typename Convert>
static void read(std::span<const std::byte> bytes, Array &out, Convert convert) {
  for (size_t i = 0; i < out.data.size(); ++i) {
    T value;
    std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
    out.data[i] = static_cast<double>(convert(value));
  }
}

Result<Array> language::arrayOf(const Graph &graph, const Constant &tensor) {
  QUERN_ASSIGN(std::span<const std::byte> bytes, graph.data(tensor));
  auto made = Array::zeros(tensor.shape);
  if (!made)
    return graph.wrong("tensor " + inQuotes(tensor.name), made.error().message);
  Array &out = *made;
  auto same = [](auto value) { return value; };
  out.integer = true;
  switch (tensor.type) {
  case onnx::TensorProto::BOOL:
  case onnx::TensorProto::UINT8:
    read<uint8_t>(bytes, out, same);
    return out;
  case onnx::TensorProto::INT8:
    read<int8_t>(bytes, out, same);
    return out;
  case onnx::TensorProto::INT32:
    read<int32_t>(bytes, out, same);
    return out;
  case onnx::TensorProto::INT64:
    read<int64_t>(bytes, out, same);
    return out;
  }
  out.integer = false;
  switch (tensor.type) {
  case onnx::TensorProto::FLOAT:
    read<float>(bytes, out, same);
    return out;
  case onnx::TensorProto::DOUBLE:
    read<double>(bytes, out, same);
    return out;
  case onnx::TensorProto::FLOAT16:
    read<uint16_t>(bytes, out, halfToFloat);
    return out;
  case onnx::TensorProto::BFLOAT16:
    read<uint16_t>(bytes, out, bfloatToFloat);
    return out;
  }
  return graph.wrong("tensor " + inQuotes(tensor.name), "its elements cannot be used in a sample of the graph");
}

bool Array::isShapeOnly() const { return data.empty() && std::ranges::find(shape, 0) == shape.end(); }

Result<size_t> Call::axis(int64_t axis, int64_t rank) const {
  if (axis < -rank || axis >= rank)
    return wrong("axis " + std::to_string(axis) + " does not exist in a tensor of rank " + std::to_string(rank));
  return static_cast<size_t>(axis < 0 ? axis + rank : axis);
}

Result<std::vector<bool>> Call::axes(size_t i, int64_t rank) const {
  std::vector<int64_t> list;
  if (auto given = node.integers("axes"))
    list = *std::move(given);
  else if (has(i))
    list = inputs[i]->integers();
  std::vector<bool> set(static_cast<size_t>(rank), list.empty());
  for (int64_t one : list) {
    QUERN_ASSIGN(size_t at, axis(one, rank));
    set[at] = true;
  }
  return set;
}

Result<std::vector<int64_t>> language::broadcastShapes(std::span<const int64_t> a, std::span<const int64_t> b) {
  std::vector<int64_t> out(std::max(a.size(), b.size()), 1);
  for (std::span<const int64_t> from : {a, b})
    for (size_t i = 0; i < from.size(); ++i) {
      int64_t &size = out[out.size() - from.size() + i];
      if (size != from[i] && size != 1 && from[i] != 1)
        return fail(kUnfitSizes);
      size = size == 1 ? from[i] : size;
    }
  return out;
}

std::vector<int64_t> language::broadcastOffsets(const std::vector<int64_t> &from, const std::vector<int64_t> &shape) {
  std::vector<int64_t> strides(shape.size(), 0), at(shape.size(), 0);
  int64_t stride = 1, count = 1;
  for (size_t i = from.size(); i-- > 0; stride *= from[i])
    strides[shape.size() - from.size() + i] = from[i] == 1 ? 0 : stride;
  for (int64_t size : shape)
    count *= size;
  std::vector<int64_t> offsets(static_cast<size_t>(count));
  int64_t offset = 0;
  for (int64_t &one : offsets) {
    one = offset;
    for (size_t axis = shape.size(); axis-- > 0;) {
      offset += strides[axis];
      if (++at[axis] < shape[axis])
        break;
      offset -= strides[axis] * shape[axis];
      at[axis] = 0;
    }
  }
  return offsets;
}

static const OperatorTable &operatorTable() {
  static const OperatorTable table = [] {
    OperatorTable made;
    addElementwiseOperators(made);
    addShapeOperators(made);
    addIndexOperators(made);
    addSumOperators(made);
    addAttentionOperators(made);
    addPartOperators(made);
    return made;
  }();
  return table;
}

Evaluator::Plan Evaluator::plan(const std::string &name) const {
  Plan out;
  std::unordered_set<std::string> seen;
  std::unordered_set<const GraphNode *> made;
  std::vector<std::string> open{name};
  auto use = [&](const std::string &value) {
    if (value.empty())
      return;
    ++out.uses[value];
    open.push_back(value);
  };
  ++out.uses[name];
  while (!open.empty()) {
    std::string value = std::move(open.back());
    open.pop_back();
    if (values.contains(value) || graph.constant(value) || !seen.insert(value).second)
      continue;
    if (auto found = around.widths.find(value); found != around.widths.end()) {
      out.wide.push_back(value);
      use(found->second.like);
      continue;
    }
    const GraphNode *node = graph.producer(value);
    if (!node) {
      out.missing.push_back(value);
      continue;
    }
    if (!made.insert(node).second)
      continue; // another of its outputs is needed too
    out.nodes.push_back(node);
    std::ranges::for_each(node->inputs, use);
  }
  std::ranges::sort(out.nodes, {}, &GraphNode::index);
  return out;
}

std::vector<std::string> Evaluator::missing(const std::string &name) const { return plan(name).missing; }

Result<const Array *> Evaluator::known(const std::string &name) {
  if (auto found = values.find(name); found != values.end())
    return &found->second;
  if (auto found = around.constants.find(name); found != around.constants.end())
    return &found->second;
  const Constant *constant = graph.constant(name);
  if (!constant)
    return graph.wrong("value " + inQuotes(name), "is not computed in the sample");
  QUERN_ASSIGN(Array array, arrayOf(graph, *constant));
  return &around.constants.emplace(name, std::move(array)).first->second;
}

Status Evaluator::makeWide(const std::string &name) {
  const Surroundings::Width &width = around.widths.at(name);
  QUERN_ASSIGN(const Array *like, known(width.like));
  std::vector<int64_t> shape = like->shape;
  if (shape.empty())
    return graph.wrong("value " + inQuotes(name), "is a product of a single number");
  shape.back() = width.width;
  QUERN_ASSIGN(values[name], Array::zeros(shape));
  return {};
}

/// A use less; what nothing needs any more is forgotten, for some values are large.
void Evaluator::release(const std::string &name, Plan &plan) {
  if (auto found = plan.uses.find(name); found != plan.uses.end() && --found->second == 0)
    values.erase(name);
}

Status Evaluator::run(const GraphNode &node, Plan &plan) {
  auto found = operatorTable().find(node.op);
  Call call{node, graph, {}, {}};
  if (found == operatorTable().end())
    return call.wrong("has no place in a language model as it is supported here");
  for (const std::string &input : node.inputs) {
    if (input.empty()) {
      call.inputs.push_back(nullptr);
      continue;
    }
    QUERN_ASSIGN(const Array *array, known(input));
    if (array->isShapeOnly() && node.op != "Shape" && node.op != "Concat")
      return call.wrong("reads " + inQuotes(input) + ", of which the sample gives the shape alone");
    call.inputs.push_back(array);
  }
  for (size_t i = 0; i < found->second.needed; ++i)
    if (!call.has(i))
      return call.wrong("lacks input " + std::to_string(i));
  if (Status status = found->second.run(call); !status) {
    bool named = status.error().message.starts_with("'");
    return named ? status : call.wrong(status.error().message);
  }
  for (const std::string &input : node.inputs)
    release(input, plan);
  for (size_t i = 0; i < std::min(node.outputs.size(), call.outputs.size()); ++i)
    if (plan.uses.contains(node.outputs[i]))
      values.insert_or_assign(node.outputs[i], std::move(call.outputs[i]));
  return {};
}

/// Wide values are made as soon as what they are like is there.
Status Evaluator::makeReady(Plan &plan) {
  for (std::string &value : plan.wide) {
    const std::string *like = value.empty() ? nullptr : &around.widths.at(value).like;
    if (!like || (!values.contains(*like) && !graph.constant(*like)))
      continue;
    QUERN_TRY(makeWide(value));
    release(*like, plan);
    value.clear();
  }
  return {};
}

Result<const Array *> Evaluator::get(const std::string &name) {
  Plan all = plan(name);
  if (!all.missing.empty())
    return graph.wrong("value " + inQuotes(all.missing.front()), "nothing in the sample gives it");
  QUERN_TRY(makeReady(all));
  for (const GraphNode *node : all.nodes) {
    QUERN_TRY(run(*node, all));
    if (!all.wide.empty())
      QUERN_TRY(makeReady(all));
  }
  return known(name);
}

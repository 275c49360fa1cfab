// Whether two layers compute the same: their graphs as texts, in which projections, caches and hidden states go by what
// they are and not by their names. Layers of one model are copies of each other, so only one needs samples.
#include "Parts.h"

#include <algorithm>

using namespace quern;
using namespace quern::import;
using namespace quern::import::language;

/// Constants up to that many bytes are compared by value, others by name.
static constexpr size_t kSmall = 4096;

namespace {
class Writer {
public:
  Writer(const Graph &graph, const Projections &projections, const std::set<std::string> &parts,
         const std::vector<std::string> &caches, const std::set<std::string> &rows)
      : graph(graph), projections(projections), parts(parts), caches(caches), rows(rows) {}
  /// Appends `value` and all that it is made of.
  void write(const std::string &value);

  Fingerprint out;

private:
  std::vector<std::string> inputsOf(const std::string &value) const;
  std::string leaf(const std::string &value);
  std::string describe(const std::string &value);
  std::string constant(const std::string &value);

  const Graph &graph;
  const Projections &projections;
  const std::set<std::string> &parts;
  const std::vector<std::string> &caches;
  const std::set<std::string> &rows;
  std::unordered_map<std::string, size_t> numbers; ///< of values that were written
};
} // namespace

/// The number of `name` in `list`, which it is appended to if it is not there.
static std::string numberIn(std::vector<std::string> &list, const std::string &name) {
  auto at = std::ranges::find(list, name);
  std::string number = std::to_string(at - list.begin());
  if (at == list.end())
    list.push_back(name);
  return number;
}

/// One of floats: weights of norms differ from layer to layer.
static bool isVector(const Constant &tensor) {
  int32_t type = tensor.type;
  bool isFloat = type == onnx::TensorProto::FLOAT || type == onnx::TensorProto::FLOAT16 ||
                 type == onnx::TensorProto::BFLOAT16 || type == onnx::TensorProto::DOUBLE;
  return isFloat && tensor.shape.size() == 1 && tensor.shape[0] > 1;
}

std::string Writer::constant(const std::string &value) {
  const Constant &tensor = *graph.constant(value);
  std::string text = "constant " + std::to_string(tensor.type);
  for (int64_t size : tensor.shape)
    text += "," + std::to_string(size);
  auto bytes = graph.data(tensor);
  if (!bytes || bytes->size() > kSmall)
    return text + " named " + value;
  return text + " " + std::string(reinterpret_cast<const char *>(bytes->data()), bytes->size());
}

/// What a value is at which the walk ends; empty if it goes on.
std::string Writer::leaf(const std::string &value) {
  if (value.empty())
    return "none";
  if (rows.contains(value))
    return "rows";
  if (parts.contains(value))
    return "projection " + numberIn(out.projections, value) + " " + std::to_string(projections.make(value)->weight.n);
  if (std::ranges::find(caches, value) != caches.end())
    return "cache " + numberIn(out.caches, value);
  if (const Constant *tensor = graph.constant(value))
    return isVector(*tensor) ? "vector " + numberIn(out.vectors, value) : constant(value);
  return graph.producer(value) ? "" : "input " + value;
}

std::vector<std::string> Writer::inputsOf(const std::string &value) const {
  if (const Projection *other = projections.make(value)) // of another layer, for its shape
    return {other->input};
  return graph.producer(value)->inputs;
}

/// A node by its operator, attributes and the numbers of its inputs.
std::string Writer::describe(const std::string &value) {
  std::string text;
  if (const Projection *other = projections.make(value)) {
    text = "wide " + std::to_string(other->weight.n);
  } else {
    const GraphNode &node = *graph.producer(value);
    text = node.op + " " + std::to_string(std::ranges::find(node.outputs, value) - node.outputs.begin());
    // Attributes of one context are equal if they are the same object.
    text += " " + std::to_string(uintptr_t(node.attributes.getAsOpaquePointer()));
  }
  for (const std::string &input : inputsOf(value))
    text += " " + std::to_string(numbers.at(input));
  return text;
}

void Writer::write(const std::string &value) {
  std::vector<std::string> open{value};
  while (!open.empty()) {
    std::string at = open.back();
    std::string text = numbers.contains(at) ? "" : leaf(at);
    if (!numbers.contains(at) && text.empty()) {
      size_t before = open.size();
      for (const std::string &input : inputsOf(at))
        if (!numbers.contains(input))
          open.push_back(input);
      if (open.size() > before)
        continue; // its inputs first
      text = describe(at);
    }
    open.pop_back();
    if (numbers.try_emplace(at, numbers.size()).second)
      out.text += std::to_string(text.size()) + ":" + text; // the length keeps texts apart, whatever they hold
  }
}

Fingerprint language::fingerprintOf(const Graph &graph, const Projections &projections, const std::string &value,
                                    const std::set<std::string> &parts, const std::vector<std::string> &caches,
                                    const std::set<std::string> &rows) {
  Writer writer(graph, projections, parts, caches, rows);
  writer.write(value);
  return std::move(writer.out);
}

// Operators that change shapes, and those that make tensors of shapes.
#include "Evaluator.h"

#include <algorithm>
#include <cmath>

using namespace quern;
using namespace quern::import;
using namespace quern::import::language;

static Status shape(Call &call) {
  int64_t rank = call[0].rank();
  int64_t first = call.node.integer("start", 0), last = call.node.integer("end", rank);
  first = std::clamp(first < 0 ? first + rank : first, int64_t(0), rank);
  last = std::clamp(last < 0 ? last + rank : last, first, rank);
  return call.give(Array::vector({call[0].shape.begin() + first, call[0].shape.begin() + last}, true));
}

static Status size(Call &call) { return call.give({{}, {static_cast<double>(call[0].size())}, true}); }

static Status reshaped(Call &call, std::vector<int64_t> shape) {
  QUERN_ASSIGN(int64_t count, countElements(shape));
  if (count != call[0].size())
    return call.wrong("changes " + std::to_string(call[0].size()) + " elements into " + std::to_string(count));
  Array out = call[0];
  out.shape = std::move(shape);
  return call.give(std::move(out));
}

static Status reshape(Call &call) {
  std::vector<int64_t> shape = call[1].integers();
  int64_t known = 1, open = -1;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 0 && call.node.integer("allowzero", 0) == 0) {
      if (i >= call[0].shape.size())
        return call.wrong("keeps a size that its input does not have");
      shape[i] = call[0].shape[i];
    }
    if (shape[i] == -1)
      open = static_cast<int64_t>(i);
    else if (__builtin_mul_overflow(known, shape[i], &known))
      return call.wrong("asks for more elements than any machine holds");
  }
  if (open >= 0)
    shape[static_cast<size_t>(open)] = known > 0 ? call[0].size() / known : 0;
  return reshaped(call, std::move(shape));
}

static Status flatten(Call &call) {
  const std::vector<int64_t> &from = call[0].shape;
  int64_t at = call.node.integer("axis", 1), rank = call[0].rank();
  at = std::clamp(at < 0 ? at + rank : at, int64_t(0), rank);
  int64_t rows = 1;
  for (int64_t i = 0; i < at; ++i)
    rows *= from[static_cast<size_t>(i)];
  return reshaped(call, {rows, rows ? call[0].size() / rows : 0});
}

static Status unsqueeze(Call &call) {
  int64_t added = 0;
  if (auto given = call.node.integers("axes"))
    added = int64_t(given->size());
  else if (call.has(1))
    added = call[1].size();
  int64_t rank = call[0].rank() + added;
  QUERN_ASSIGN(std::vector<bool> isNew, call.axes(1, rank));
  if (std::ranges::count(isNew, true) != added)
    return call.wrong("names an axis twice");
  std::vector<int64_t> shape;
  size_t next = 0;
  for (bool one : isNew)
    shape.push_back(one ? 1 : call[0].shape[next++]);
  return reshaped(call, std::move(shape));
}

static Status squeeze(Call &call) {
  bool all = !call.node.has("axes") && !call.has(1);
  QUERN_ASSIGN(std::vector<bool> gone, call.axes(1, call[0].rank()));
  std::vector<int64_t> shape;
  for (size_t i = 0; i < gone.size(); ++i)
    if (!gone[i] || (all && call[0].shape[i] != 1))
      shape.push_back(call[0].shape[i]);
  return reshaped(call, std::move(shape));
}

/// `out` already has its shape; element i of it is the input's at `offset(coordinates)`.
template <typename Offset> static void fill(const Array &from, Array &out, Offset offset) {
  std::vector<int64_t> at(out.shape.size(), 0);
  for (double &value : out.data) {
    value = from.data[static_cast<size_t>(offset(at))];
    for (size_t axis = at.size(); axis-- > 0 && ++at[axis] == out.shape[axis];)
      at[axis] = 0;
  }
}

static std::vector<int64_t> strides(const std::vector<int64_t> &shape) {
  std::vector<int64_t> out(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;)
    out[i - 1] = out[i] * shape[i];
  return out;
}

static Status transpose(Call &call) {
  size_t rank = call[0].shape.size();
  std::vector<int64_t> order;
  for (size_t i = 0; i < rank; ++i)
    order.push_back(static_cast<int64_t>(rank - 1 - i));
  if (auto given = call.node.integers("perm"))
    order = *std::move(given);
  if (order.size() != rank)
    return call.wrong("permutes another number of axes than its input has");
  std::vector<int64_t> from = strides(call[0].shape), shape, step;
  std::vector<bool> seen(rank);
  for (int64_t one : order) {
    QUERN_ASSIGN(size_t axis, call.axis(one, static_cast<int64_t>(rank)));
    if (seen[axis])
      return call.wrong("permutes an axis twice");
    seen[axis] = true;
    shape.push_back(call[0].shape[axis]);
    step.push_back(from[axis]);
  }
  QUERN_ASSIGN(Array out, Array::zeros(shape, call[0].integer));
  fill(call[0], out, [&](const std::vector<int64_t> &at) {
    int64_t offset = 0;
    for (size_t i = 0; i < rank; ++i)
      offset += at[i] * step[i];
    return offset;
  });
  return call.give(std::move(out));
}

static Status expand(Call &call) {
  QUERN_ASSIGN(std::vector<int64_t> shape, broadcastShapes(call[0].shape, call[1].integers()));
  QUERN_ASSIGN(Array out, Array::zeros(shape, call[0].integer));
  std::vector<int64_t> offsets = broadcastOffsets(call[0].shape, shape);
  for (size_t i = 0; i < out.data.size(); ++i)
    out.data[i] = call[0].data[static_cast<size_t>(offsets[i])];
  return call.give(std::move(out));
}

static Status tile(Call &call) {
  std::vector<int64_t> repeats = call[1].integers(), shape = call[0].shape, from = strides(shape);
  if (repeats.size() != shape.size())
    return call.wrong("repeats another number of axes than its input has");
  for (size_t i = 0; i < shape.size(); ++i)
    if (__builtin_mul_overflow(shape[i], repeats[i], &shape[i]))
      return call.wrong("repeats too often");
  QUERN_ASSIGN(Array out, Array::zeros(shape, call[0].integer));
  fill(call[0], out, [&](const std::vector<int64_t> &at) {
    int64_t offset = 0;
    for (size_t i = 0; i < at.size(); ++i)
      offset += at[i] % call[0].shape[i] * from[i];
    return offset;
  });
  return call.give(std::move(out));
}

static Status constantOfShape(Call &call) {
  Array value{{1}, {0}, false};
  if (std::optional<Constant> given = call.graph.tensor(call.node, "value")) {
    QUERN_ASSIGN(value, arrayOf(call.graph, *given));
    if (value.size() != 1)
      return call.wrong("fills a tensor with more than one value");
  }
  QUERN_ASSIGN(Array out, Array::zeros(call[0].integers(), value.integer));
  std::ranges::fill(out.data, value.data[0]);
  return call.give(std::move(out));
}

static Status range(Call &call) {
  for (size_t i = 0; i < 3; ++i)
    if (call[i].size() != 1)
      return call.wrong("needs three numbers");
  double first = call[0].data[0], limit = call[1].data[0], step = call[2].data[0];
  double count = step != 0 ? std::ceil((limit - first) / step) : 0;
  if (!(count < 1e8))
    return call.wrong("makes too many numbers for a sample");
  QUERN_ASSIGN(Array out, Array::zeros({std::max<int64_t>(static_cast<int64_t>(count), 0)}, call[0].integer));
  for (size_t i = 0; i < out.data.size(); ++i)
    out.data[i] = first + step * static_cast<double>(i);
  return call.give(std::move(out));
}

/// Keeps the elements above (or below) a diagonal of the last two axes.
static Status triangle(Call &call) {
  Array out = call[0];
  if (out.rank() < 2)
    return call.wrong("needs matrices");
  bool upper = call.node.integer("upper", 1) != 0;
  int64_t k = call.has(1) && call[1].size() == 1 ? call[1].integers()[0] : 0;
  int64_t rows = out.shape[out.shape.size() - 2], columns = out.shape.back();
  for (int64_t i = 0; i < out.size(); ++i) {
    int64_t row = i / columns % rows, column = i % columns;
    if (upper ? column - row < k : column - row > k)
      out.data[static_cast<size_t>(i)] = 0;
  }
  return call.give(std::move(out));
}

void language::addShapeOperators(OperatorTable &table) {
  table["Shape"] = {1, shape};
  table["Size"] = {1, size};
  table["Reshape"] = {2, reshape};
  table["Flatten"] = {1, flatten};
  table["Unsqueeze"] = {1, unsqueeze};
  table["Squeeze"] = {1, squeeze};
  table["Transpose"] = {1, transpose};
  table["Expand"] = {2, expand};
  table["Tile"] = {2, tile};
  table["ConstantOfShape"] = {1, constantOfShape};
  table["Range"] = {3, range};
  table["Trilu"] = {1, triangle};
}

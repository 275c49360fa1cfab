// Reductions, products of matrices, softmax and norms.
#include "Evaluator.h"

#include <algorithm>
#include <cmath>
#include <limits>

using namespace quern;
using namespace quern::import;
using namespace quern::import::language;

template <double (*f)(double, double), bool mean> static Status reduce(Call &call, double first) {
  const Array &from = call[0];
  bool none = call.node.integer("noop_with_empty_axes", 0) && !call.node.has("axes") && !call.has(1);
  if (none)
    return call.give(from);
  QUERN_ASSIGN(std::vector<bool> gone, call.axes(1, from.rank()));
  std::vector<int64_t> shape = from.shape, kept;
  for (size_t i = 0; i < gone.size(); ++i) {
    shape[i] = gone[i] ? 1 : shape[i];
    if (!gone[i] || call.node.integer("keepdims", 1))
      kept.push_back(shape[i]);
  }
  QUERN_ASSIGN(Array out, Array::zeros(shape, from.integer));
  std::ranges::fill(out.data, first);
  std::vector<int64_t> to = broadcastOffsets(shape, from.shape);
  for (size_t i = 0; i < from.data.size(); ++i)
    out.data[size_t(to[i])] = f(out.data[size_t(to[i])], from.data[i]);
  if (mean)
    for (double &value : out.data)
      value /= static_cast<double>(from.size()) / static_cast<double>(out.size());
  out.shape = std::move(kept);
  return call.give(std::move(out));
}

static double plus(double a, double b) { return a + b; }
static double greater(double a, double b) { return std::max(a, b); }
static double lesser(double a, double b) { return std::min(a, b); }

static Status multiply(Call &call) {
  Array a = call[0], b = call[1];
  if (a.rank() < 1 || b.rank() < 1)
    return call.wrong("multiplies a single number");
  bool row = a.rank() == 1, column = b.rank() == 1;
  if (row)
    a.shape.insert(a.shape.begin(), 1);
  if (column)
    b.shape.push_back(1);
  int64_t m = a.shape[a.shape.size() - 2], k = a.shape.back(), n = b.shape.back();
  if (b.shape[b.shape.size() - 2] != k)
    return call.wrong("multiplies matrices that do not fit together");
  std::vector<int64_t> left(a.shape.begin(), a.shape.end() - 2), right(b.shape.begin(), b.shape.end() - 2);
  QUERN_ASSIGN(std::vector<int64_t> shape, broadcastShapes(left, right));
  std::vector<int64_t> as = broadcastOffsets(left, shape), bs = broadcastOffsets(right, shape);
  shape.insert(shape.end(), {m, n});
  QUERN_ASSIGN(Array out, Array::zeros(shape));
  double *to = out.data.data();
  for (size_t batch = 0; batch < as.size(); ++batch)
    for (int64_t i = 0; i < m; ++i, to += n)
      for (int64_t j = 0; j < k; ++j) {
        double one = a.data[size_t((as[batch] * m + i) * k + j)];
        const double *from = b.data.data() + (bs[batch] * k + j) * n;
        for (int64_t c = 0; c < n; ++c)
          to[c] += one * from[c];
      }
  if (row)
    out.shape.erase(out.shape.end() - 2);
  if (column)
    out.shape.pop_back();
  return call.give(std::move(out));
}

static Status softmax(Call &call) {
  Array out = call[0];
  QUERN_ASSIGN(size_t axis, call.axis(call.node.integer("axis", -1), out.rank()));
  if (axis + 1 != out.shape.size())
    return call.wrong("is along another axis than the last");
  int64_t width = out.shape.back();
  for (int64_t row = 0; width && row < out.size() / width; ++row) {
    std::span<double> values(out.data.data() + row * width, static_cast<size_t>(width));
    double most = *std::ranges::max_element(values), sum = 0;
    for (double &value : values)
      sum += value = std::exp(value - most);
    for (double &value : values)
      value /= sum;
  }
  return call.give(std::move(out));
}

static Status rmsNorm(Call &call) {
  Array out = call[0];
  QUERN_ASSIGN(size_t axis, call.axis(call.node.integer("axis", -1), out.rank()));
  if (axis + 1 != out.shape.size() || call[1].size() != out.shape.back())
    return call.wrong("is along other axes than the last");
  int64_t width = out.shape.back();
  double epsilon = call.node.real("epsilon", 1e-5f);
  for (int64_t row = 0; row < out.size() / std::max<int64_t>(width, 1); ++row) {
    std::span<double> values(out.data.data() + row * width, static_cast<size_t>(width));
    double squares = 0;
    for (double value : values)
      squares += value * value;
    double factor = 1 / std::sqrt(squares / static_cast<double>(width) + epsilon);
    for (size_t i = 0; i < values.size(); ++i)
      values[i] *= factor * call[1].data[i];
  }
  return call.give(std::move(out));
}

static Status cumulate(Call &call) {
  Array out = call[0];
  if (call[1].size() != 1)
    return call.wrong("needs one axis");
  QUERN_ASSIGN(size_t axis, call.axis(call[1].integers()[0], out.rank()));
  if (call.node.integer("reverse", 0) || call.node.integer("exclusive", 0))
    return call.wrong("sums in reverse, or without the element itself");
  int64_t inner = 1;
  for (size_t i = axis + 1; i < out.shape.size(); ++i)
    inner *= out.shape[i];
  for (int64_t i = 0; i < out.size(); ++i)
    if (i / inner % out.shape[axis] > 0)
      out.data[size_t(i)] += out.data[size_t(i - inner)];
  return call.give(std::move(out));
}

void language::addSumOperators(OperatorTable &table) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  table["ReduceSum"] = {1, [](Call &call) { return reduce<plus, false>(call, 0); }};
  table["ReduceMean"] = {1, [](Call &call) { return reduce<plus, true>(call, 0); }};
  table["ReduceMax"] = {1, [](Call &call) { return reduce<greater, false>(call, -infinity); }};
  table["ReduceMin"] = {1, [](Call &call) { return reduce<lesser, false>(call, infinity); }};
  table["MatMul"] = {2, multiply};
  table["Softmax"] = {1, softmax};
  table["RMSNormalization"] = {2, rmsNorm};
  table["onnx.rms_norm"] = table["SimplifiedLayerNormalization"] = {2, rmsNorm};
  table["CumSum"] = {2, cumulate};
}

// Operators element by element.
#include "Evaluator.h"

#include <algorithm>
#include <cmath>
#include <limits>

using namespace quern;
using namespace quern::import;
using namespace quern::import::language;

template <double (*f)(double)> static Status unary(Call &call) {
  Array out = call[0];
  for (double &value : out.data)
    value = f(value);
  call.outputs.push_back(std::move(out));
  return {};
}

/// A question about a number: 0 or 1.
template <double (*f)(double)> static Status question(Call &call) {
  QUERN_TRY(unary<f>(call));
  call.outputs.back().integer = true;
  return {};
}

template <double (*f)(double, double)> static Result<Array> combine(const Array &a, const Array &b) {
  QUERN_ASSIGN(std::vector<int64_t> shape, broadcastShapes(a.shape, b.shape));
  QUERN_ASSIGN(Array out, Array::zeros(shape, a.integer && b.integer));
  std::vector<int64_t> left = broadcastOffsets(a.shape, shape), right = broadcastOffsets(b.shape, shape);
  for (size_t i = 0; i < out.data.size(); ++i)
    out.data[i] = f(a.data[size_t(left[i])], b.data[size_t(right[i])]);
  return out;
}

/// Of two or more inputs, from the left.
template <double (*f)(double, double)> static Status binary(Call &call) {
  Array all = call[0];
  for (size_t i = 1; i < call.inputs.size(); ++i) {
    if (!call.has(i))
      return call.wrong("lacks input " + std::to_string(i));
    QUERN_ASSIGN(all, combine<f>(all, call[i]));
  }
  call.outputs.push_back(std::move(all));
  return {};
}

template <double (*f)(double, double)> static Status compare(Call &call) {
  QUERN_TRY(binary<f>(call));
  call.outputs.back().integer = true;
  return {};
}

static Status divide(Call &call) {
  QUERN_TRY(binary<+[](double a, double b) { return a / b; }>(call));
  if (Array &out = call.outputs.back(); out.integer)
    for (double &value : out.data)
      value = std::trunc(value);
  return {};
}

static bool isFloat(int64_t type) {
  return type == onnx::TensorProto::FLOAT || type == onnx::TensorProto::FLOAT16 ||
         type == onnx::TensorProto::BFLOAT16 || type == onnx::TensorProto::DOUBLE;
}

/// Rounding to narrower floats is left out: the sample asks what a graph means, not how precisely.
static Status cast(Call &call) {
  Array out = call[0];
  int64_t to = call.node.integer("to", onnx::TensorProto::FLOAT);
  bool floats = call.node.op == "CastLike" ? !call[1].integer : isFloat(to);
  bool wasFloat = !out.integer;
  out.integer = !floats;
  for (double &value : out.data) {
    if (to == onnx::TensorProto::BOOL && call.node.op == "Cast")
      value = value != 0;
    else if (wasFloat && !floats)
      value = std::trunc(value);
  }
  call.outputs.push_back(std::move(out));
  return {};
}

static Status where(Call &call) {
  const Array &a = call[1], &b = call[2];
  QUERN_ASSIGN(std::vector<int64_t> both, broadcastShapes(a.shape, b.shape));
  QUERN_ASSIGN(std::vector<int64_t> shape, broadcastShapes(call[0].shape, both));
  QUERN_ASSIGN(Array out, Array::zeros(shape, a.integer));
  std::vector<int64_t> condition = broadcastOffsets(call[0].shape, shape), left = broadcastOffsets(a.shape, shape),
                       right = broadcastOffsets(b.shape, shape);
  for (size_t i = 0; i < out.data.size(); ++i)
    out.data[i] = call[0].data[size_t(condition[i])] != 0 ? a.data[size_t(left[i])] : b.data[size_t(right[i])];
  call.outputs.push_back(std::move(out));
  return {};
}

static Status clip(Call &call) {
  Array out = call[0];
  double low = call.has(1) && call[1].size() == 1 ? call[1].data[0] : -std::numeric_limits<double>::infinity();
  double high = call.has(2) && call[2].size() == 1 ? call[2].data[0] : std::numeric_limits<double>::infinity();
  for (double &value : out.data)
    value = std::min(std::max(value, low), high);
  call.outputs.push_back(std::move(out));
  return {};
}

static Status swish(Call &call) {
  double alpha = call.node.real("alpha", 1);
  Array out = call[0];
  for (double &value : out.data)
    value /= 1 + std::exp(-alpha * value);
  call.outputs.push_back(std::move(out));
  return {};
}

void language::addElementwiseOperators(OperatorTable &table) {
  table["Identity"] = {1, unary<+[](double v) { return v; }>};
  table["Neg"] = {1, unary<+[](double v) { return -v; }>};
  table["Abs"] = {1, unary<+[](double v) { return std::fabs(v); }>};
  table["Sqrt"] = {1, unary<+[](double v) { return std::sqrt(v); }>};
  table["Reciprocal"] = {1, unary<+[](double v) { return 1 / v; }>};
  table["Exp"] = {1, unary<+[](double v) { return std::exp(v); }>};
  table["Log"] = {1, unary<+[](double v) { return std::log(v); }>};
  table["Cos"] = {1, unary<+[](double v) { return std::cos(v); }>};
  table["Sin"] = {1, unary<+[](double v) { return std::sin(v); }>};
  table["Tanh"] = {1, unary<+[](double v) { return std::tanh(v); }>};
  table["Floor"] = {1, unary<+[](double v) { return std::floor(v); }>};
  table["Sigmoid"] = {1, unary<+[](double v) { return 1 / (1 + std::exp(-v)); }>};
  table["Relu"] = {1, unary<+[](double v) { return std::max(v, 0.0); }>};
  table["Not"] = {1, question<+[](double v) -> double { return v == 0; }>};
  table["IsNaN"] = {1, question<+[](double v) -> double { return std::isnan(v); }>};
  table["IsInf"] = {1, question<+[](double v) -> double { return std::isinf(v); }>};
  table["Add"] = {2, binary<+[](double a, double b) { return a + b; }>};
  table["Sub"] = {2, binary<+[](double a, double b) { return a - b; }>};
  table["Mul"] = {2, binary<+[](double a, double b) { return a * b; }>};
  table["Pow"] = {2, binary<+[](double a, double b) { return std::pow(a, b); }>};
  table["Min"] = {1, binary<+[](double a, double b) { return std::min(a, b); }>};
  table["Max"] = {1, binary<+[](double a, double b) { return std::max(a, b); }>};
  table["Div"] = {2, divide};
  table["Equal"] = {2, compare<+[](double a, double b) -> double { return a == b; }>};
  table["Less"] = {2, compare<+[](double a, double b) -> double { return a < b; }>};
  table["LessOrEqual"] = {2, compare<+[](double a, double b) -> double { return a <= b; }>};
  table["Greater"] = {2, compare<+[](double a, double b) -> double { return a > b; }>};
  table["GreaterOrEqual"] = {2, compare<+[](double a, double b) -> double { return a >= b; }>};
  table["And"] = {2, compare<+[](double a, double b) -> double { return a != 0 && b != 0; }>};
  table["Or"] = {2, compare<+[](double a, double b) -> double { return a != 0 || b != 0; }>};
  table["Cast"] = {1, cast};
  table["CastLike"] = {2, cast};
  table["Where"] = {3, where};
  table["Clip"] = {1, clip};
  table["Swish"] = {1, swish};
}

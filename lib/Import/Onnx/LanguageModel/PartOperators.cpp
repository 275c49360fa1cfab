// Parts that were raised already, where a sample of another part reads them.
#include "Evaluator.h"

#include <cmath>

using namespace quern;
using namespace quern::import;
using namespace quern::import::language;

/// The shape of `like`, with another last size.
static Result<Array> widened(const Array &like, int64_t width) {
  std::vector<int64_t> shape = like.shape;
  if (shape.empty())
    return fail("its input is a single number");
  shape.back() = width;
  return Array::zeros(std::move(shape));
}

static Status swiglu(Call &call) {
  int64_t width = call.node.integer("width", 0);
  int64_t first = call.node.integer("gate_column", 0), other = call.node.integer("up_column", 0);
  QUERN_ASSIGN(Array out, widened(call[0], width));
  int64_t gates = call[0].shape.back(), ups = call[1].shape.empty() ? 0 : call[1].shape.back();
  if (width > gates - first || width > ups - other || call[0].size() / gates != call[1].size() / ups)
    return call.wrong("its inputs do not have its columns");
  for (int64_t i = 0; i < out.size(); ++i) {
    int64_t row = i / width, column = i % width;
    double gate = call[0].data[size_t(row * gates + first + column)];
    out.data[size_t(i)] = gate / (1 + std::exp(-gate)) * call[1].data[size_t(row * ups + other + column)];
  }
  return call.give(std::move(out));
}

/// That of another layer: like the products of that layer, it gives only its shape.
static Status attention(Call &call) {
  QUERN_ASSIGN(Array out, widened(call[0], call.node.integer("heads", 0) * call.node.integer("head_size", 0)));
  return call.give(std::move(out));
}

void language::addPartOperators(OperatorTable &table) {
  table["onnx.swiglu"] = {2, swiglu};
  table["onnx.attention"] = {3, attention};
}

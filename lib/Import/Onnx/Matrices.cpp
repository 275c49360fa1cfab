// MatMul and Gemm.
#include "Node.h"

using namespace mlir;
using namespace quern;
using namespace quern::import;

/// The tensor with the leading sizes `batch` in front of its last two, copied where it is broadcast.
static Result<Tensor> withBatch(Emitter &e, Tensor x, const Dims &batch) {
  Dims wanted(batch);
  wanted.append(x.dims.end() - 2, x.dims.end());
  if (x.dims == wanted)
    return x;
  return e.broadcastTo(x, wanted);
}

Result<Tensor> Emitter::multiply(Tensor x, Tensor y) {
  if (x.rank() == 0 || y.rank() == 0)
    return fail("cannot multiply scalars");
  bool row = x.rank() == 1, column = y.rank() == 1;
  if (row)
    x = reshape(x, {index(1), x.dims[0]});
  if (column)
    y = reshape(y, {y.dims[0], index(1)});
  if (y.rank() == 2 && x.rank() > 2) { // one product of all rows: the right matrix need not be repeated
    Dims dims(x.dims.begin(), x.dims.end() - 1);
    Tensor rows = reshape(x, {product(dims), x.dims.back()});
    if (!column)
      dims.push_back(y.dims.back());
    return reshape(matmul(rows, y), dims);
  }
  Dims leftBatch(x.dims.begin(), x.dims.end() - 2), rightBatch(y.dims.begin(), y.dims.end() - 2);
  QUERN_ASSIGN(Dims batch, broadcast({leftBatch, rightBatch}));
  QUERN_ASSIGN(x, withBatch(*this, x, batch));
  QUERN_ASSIGN(y, withBatch(*this, y, batch));
  Tensor out = matmul(x, y);
  Dims dims(batch);
  if (!row)
    dims.push_back(x.dims[x.dims.size() - 2]);
  if (!column)
    dims.push_back(y.dims.back());
  return reshape(out, dims);
}

static Status importMatMul(Node &node) {
  QUERN_ASSIGN(Tensor x, node.input(0));
  QUERN_ASSIGN(Tensor y, node.input(1));
  if (!isNumeric(x.type) || x.type != y.type)
    return node.wrongType(x.type);
  return node.finish(node.e.multiply(x, y));
}

/// alpha * A' * B' + beta * C.
static Status importGemm(Node &node) {
  Emitter &e = node.e;
  QUERN_ASSIGN(Tensor x, node.input(0));
  QUERN_ASSIGN(Tensor y, node.input(1));
  if (!isNumeric(x.type) || x.type != y.type)
    return node.wrongType(x.type);
  if (x.rank() != 2 || y.rank() != 2)
    return node.wrong("needs two matrices");
  if (node.integer("transA", 0))
    x = e.transpose(x, {1, 0});
  if (node.integer("transB", 0))
    y = e.transpose(y, {1, 0});
  double alpha = node.real("alpha", 1), beta = node.real("beta", 1);
  std::vector<Tensor> inputs = {e.matmul(x, y)};
  if (node.has(2)) {
    QUERN_ASSIGN(Tensor c, node.input(2));
    if (c.type != x.type)
      return node.wrong("its inputs have different types");
    inputs.push_back(c);
  }
  return node.finish(e.elementwise(inputs, x.type, [&](const Scalars &s, ValueRange v) {
    auto scale = [&](Value value, double by) {
      return by == 1 ? value : s.mul(value, s.constant(value.getType(), by));
    };
    Value product = scale(v[0], alpha);
    return v.size() == 1 ? product : s.add(product, scale(v[1], beta));
  }));
}

void import::addMatrices(Operators &operators) {
  operators["MatMul"] = importMatMul;
  operators["Gemm"] = importGemm;
}

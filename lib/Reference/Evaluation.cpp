// What each op means.
#include "Evaluation.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace quern;
using namespace quern::reference;

/// Dynamic sizes that types say nothing about: operands of one op have a row for each other's.
static Status expectSameCount(int64_t count, int64_t other) {
  if (count == other)
    return {};
  return fail("operands have " + std::to_string(count) + " and " + std::to_string(other) + " rows");
}

static int64_t width(Value tensor) { return cast<RankedTensorType>(tensor.getType()).getShape().back(); }
static int64_t height(Value tensor) { return cast<RankedTensorType>(tensor.getType()).getDimSize(0); }

Status Evaluation::setRows(Value value, Rows rows) {
  Type element = cast<RankedTensorType>(value.getType()).getElementType();
  auto quantized = dyn_cast<dq::Act8Type>(element);
  if (!quantized && !element.isBF16())
    return set(value, std::move(rows));
  if (quantized && !quantized.isRow() && quantized.getGroup() != kAct8Group)
    return fail("activations are quantized in groups of 32, or by row, only");
  if (taken)
    return set(value, taken->at(value));
  Tensor codes = !quantized          ? Tensor(roundToBfloat(rows))
                 : quantized.isRow() ? Tensor(quantizeByRow(rows))
                                     : Tensor(reference::quantize(rows));
  if (noted)
    (*noted)[value] = codes;
  return set(value, std::move(codes));
}

Status Evaluation::evaluate(dq::WeightOp op) {
  auto source = SymbolTable::lookupNearestSymbolFrom<dq::SourceOp>(op, op.getSourceAttr());
  if (!source)
    return fail("there is no dq.source of that name");
  return set(op.getOut(), source);
}

Status Evaluation::evaluate(dq::RelayoutOp op) {
  QUERN_ASSIGN(const dq::SourceOp *source, get<dq::SourceOp>(op.getWeight()));
  return set(op.getOut(), *source);
}

Status Evaluation::evaluate(dq::DequantizeOp op) {
  if (auto *quantized = std::get_if<Act8Rows>(&values[op.getIn()]))
    return set(op.getOut(), dequantize(*quantized));
  QUERN_ASSIGN(const dq::SourceOp *source, get<dq::SourceOp>(op.getIn()));
  return set(op.getOut(), *source);
}

Status Evaluation::evaluate(dq::QuantizeOp op) {
  QUERN_ASSIGN(const Rows *x, rows(op.getX()));
  return setRows(op.getOut(), *x);
}

Result<Rows> Evaluation::segment(dq::MatmulOp op, unsigned index) {
  Value weight = op.getWeights()[index];
  int64_t n = height(weight);
  if (auto *quantized = std::get_if<Act8Rows>(&values[op.getX()])) {
    QUERN_ASSIGN(const dq::SourceOp *source, get<dq::SourceOp>(weight));
    QUERN_ASSIGN(const SplitWeight *split, weights.split(*source));
    Rows product = arithmetic.multiply(*quantized, *split, n);
    if (!quantized->zeros.empty()) {
      QUERN_ASSIGN(std::span<const double> sums, weights.sums(*source));
      arithmetic.subtractZeros(product, *quantized, sums);
    }
    return product;
  }
  QUERN_ASSIGN(std::span<const float> decoded, floats(weight));
  QUERN_ASSIGN(const Rows *x, rows(op.getX()));
  bool pairs = cast<RankedTensorType>(weight.getType()).getElementType().isBF16();
  return pairs ? arithmetic.multiplyPairs(*x, decoded, n) : arithmetic.multiply(*x, decoded, n);
}

Status Evaluation::evaluate(dq::MatmulOp op) {
  std::vector<Rows> products;
  for (unsigned i = 0; i < op.getWeights().size(); ++i) {
    QUERN_ASSIGN(Rows product, segment(op, i));
    if (!op.getBiases().empty()) {
      QUERN_ASSIGN(std::span<const float> bias, floats(op.getBiases()[i]));
      arithmetic.addBias(product, bias);
    }
    products.push_back(std::move(product));
  }
  if (op.getResidual()) {
    QUERN_ASSIGN(const Rows *residual, rows(op.getResidual()));
    QUERN_TRY(expectSameCount(products[0].count, residual->count));
    arithmetic.addRows(products[0], *residual);
  }
  if (op.getActivation() == dq::Activation::Swiglu)
    return set(op.getOuts()[0], arithmetic.swiglu(products[0], products[1]));
  for (auto [value, product] : llvm::zip(op.getOuts(), products))
    QUERN_TRY(set(value, std::move(product)));
  return {};
}

Status Evaluation::evaluate(lm::EmbeddingOp op) {
  QUERN_ASSIGN(const dq::SourceOp *source, get<dq::SourceOp>(op.getTable()));
  QUERN_ASSIGN(const Weight *table, weights.stored(*source));
  QUERN_ASSIGN(const Ids *held, get<Ids>(op.getIds()));
  const Ids &tokens = *held;
  Rows out(tokens.size(), table->width);
  std::vector<float> row(table->width);
  for (int64_t t = 0; t < out.count; ++t) {
    if (tokens[t] < 0 || tokens[t] >= table->rows)
      return fail("token id " + std::to_string(tokens[t]) + " is outside the table of " + std::to_string(table->rows) +
                  " rows");
    table->decodeRow(tokens[t], row.data());
    llvm::copy(row, out.row(t).begin());
  }
  return set(op.getOut(), std::move(out));
}

Status Evaluation::evaluate(lm::LinearOp op) {
  QUERN_ASSIGN(std::span<const float> weight, floats(op.getWeight()));
  QUERN_ASSIGN(const Rows *x, rows(op.getX()));
  Rows out = arithmetic.multiply(*x, weight, height(op.getWeight()));
  if (op.getBias()) {
    QUERN_ASSIGN(std::span<const float> bias, floats(op.getBias()));
    arithmetic.addBias(out, bias);
  }
  return set(op.getOut(), std::move(out));
}

Status Evaluation::evaluate(lm::RmsNormOp op) {
  QUERN_ASSIGN(std::span<const float> gain, floats(op.getGain()));
  QUERN_ASSIGN(const Rows *x, rows(op.getX()));
  return setRows(op.getOut(), arithmetic.rmsNorm(*x, gain, op.getEps().convertToFloat()));
}

Status Evaluation::evaluate(lm::RotaryAnglesOp op) {
  std::span<const float> factors;
  if (op.getFactors()) {
    QUERN_ASSIGN(factors, floats(op.getFactors()));
  }
  QUERN_ASSIGN(const Ids *positions, get<Ids>(op.getPositions()));
  return set(op.getOut(),
             arithmetic.rotaryAngles(*positions, width(op.getOut()), op.getTheta().convertToDouble(), factors));
}

Status Evaluation::evaluate(lm::RotaryOp op) {
  QUERN_ASSIGN(const Rows *x, rows(op.getX()));
  QUERN_ASSIGN(const Rows *angles, rows(op.getAngles()));
  QUERN_TRY(expectSameCount(x->count, angles->count));
  return set(op.getOut(), arithmetic.rotary(*x, *angles, op.getStyle() == lm::RotaryStyle::Interleaved));
}

Status Evaluation::evaluate(lm::SwigluOp op) {
  QUERN_ASSIGN(const Rows *gate, rows(op.getGate()));
  QUERN_ASSIGN(const Rows *up, rows(op.getUp()));
  QUERN_TRY(expectSameCount(gate->count, up->count));
  return setRows(op.getOut(), arithmetic.swiglu(*gate, *up));
}

Act8Rows Evaluation::cacheCodes(Value value, const Rows &rows, int64_t headDim) {
  if (taken)
    return std::get<Act8Rows>(taken->at(value));
  Act8Rows codes = quantizeForCache(rows, headDim);
  if (noted)
    (*noted)[value] = codes;
  return codes;
}

Status Evaluation::evaluate(lm::AttentionOp op) {
  lm::CacheType type = op.getCache().getType();
  AttentionShape shape{type.getKvHeads(), type.getHeadDim(), op.getScale().convertToFloat(), cachePrecision};
  QUERN_ASSIGN(const Rows *query, rows(op.getQuery()));
  QUERN_ASSIGN(const Rows *key, rows(op.getKey()));
  QUERN_ASSIGN(const Rows *value, rows(op.getValue()));
  QUERN_ASSIGN(const Ids *positions, get<Ids>(op.getPositions()));
  QUERN_TRY(expectSameCount(query->count, key->count));
  QUERN_TRY(expectSameCount(query->count, value->count));
  QUERN_TRY(expectSameCount(query->count, positions->size()));
  Appended appended{*key, *value};
  if (cachePrecision == CachePrecision::Q8_0) {
    appended.keyCodes = cacheCodes(op.getKey(), *key, shape.headDim);
    appended.valueCodes = cacheCodes(op.getValue(), *value, shape.headDim);
  }
  QUERN_ASSIGN(Rows out, attention(arithmetic, *query, appended, *positions, shape, cache.layer(op.getLayer())));
  return set(op.getOut(), std::move(out));
}

Status Evaluation::evaluate(lm::GatherColumnsOp op) {
  QUERN_ASSIGN(const Rows *x, rows(op.getX()));
  QUERN_ASSIGN(const dq::SourceOp *source, get<dq::SourceOp>(op.getColumns()));
  QUERN_ASSIGN(std::vector<int32_t> columns, weights.integers(*source));
  Rows out(x->count, int64_t(columns.size()));
  for (int64_t t = 0; t < out.count; ++t)
    for (size_t k = 0; k < columns.size(); ++k) {
      if (columns[k] < 0 || columns[k] >= x->width)
        return fail("column " + std::to_string(columns[k]) + " is outside the " + std::to_string(x->width) +
                    " columns");
      out.row(t)[k] = x->row(t)[size_t(columns[k])];
    }
  return set(op.getOut(), std::move(out));
}

Status Evaluation::evaluate(lm::GatherRowsOp op) {
  QUERN_ASSIGN(const Rows *x, rows(op.getX()));
  QUERN_ASSIGN(const Ids *held, get<Ids>(op.getRows()));
  const Ids &wanted = *held;
  Rows out(wanted.size(), x->width);
  for (int64_t o = 0; o < out.count; ++o) {
    if (wanted[o] < 0 || wanted[o] >= x->count)
      return fail("row " + std::to_string(wanted[o]) + " is outside the " + std::to_string(x->count) + " rows");
    llvm::copy(x->row(wanted[o]), out.row(o).begin());
  }
  return set(op.getOut(), std::move(out));
}

Status Evaluation::evaluate(arith::AddFOp op) {
  QUERN_ASSIGN(const Rows *left, rows(op.getLhs()));
  QUERN_ASSIGN(const Rows *right, rows(op.getRhs()));
  QUERN_TRY(expectSameCount(left->count, right->count));
  Rows sum = *left;
  arithmetic.addRows(sum, *right);
  return set(op.getResult(), std::move(sum));
}

Status Evaluation::evaluate(Operation *op) {
  return llvm::TypeSwitch<Operation *, Status>(op)
      .Case<dq::WeightOp, dq::RelayoutOp, dq::DequantizeOp, dq::QuantizeOp, dq::MatmulOp, lm::EmbeddingOp, lm::LinearOp,
            lm::RmsNormOp, lm::RotaryAnglesOp, lm::RotaryOp, lm::AttentionOp, lm::SwigluOp, lm::GatherColumnsOp,
            lm::GatherRowsOp,
            arith::AddFOp>([&](auto known) { return evaluate(known); })
      .Default([](Operation *) -> Status { return fail("this op has no reference"); });
}

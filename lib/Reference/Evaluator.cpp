// Walks a function op by op. Every value is kept until the function returns.
#include "quern/Reference/Evaluator.h"

#include "Arithmetic.h"
#include "dialects/LM/LM.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace quern;
using namespace quern::reference;

namespace {

/// A value of the function: an argument, rows, or a weight, which is read in the way its user asks for.
using Tensor = std::variant<std::monostate, Ids, Rows, Act8Rows, dq::SourceOp>;

/// Quantized rows by the value they belong to, of `!dq.act8` or bf16; of keys and values, as the cache keeps them.
using Codes = llvm::DenseMap<Value, Tensor>;

/// One evaluation of one function.
class Evaluation {
public:
  Evaluation(WeightCache &weights, const Arithmetic &arithmetic, KeyValueCache &cache,
             CachePrecision cachePrecision)
      : weights(weights), arithmetic(arithmetic), cache(cache), cachePrecision(cachePrecision) {}

  /// Rows that are quantized are noted, or else taken from what was noted.
  void noteCodes(Codes &codes) { noted = &codes; }
  void takeCodes(const Codes &codes) { taken = &codes; }

  Result<std::vector<Rows>> run(func::FuncOp function, std::vector<Evaluator::Argument> arguments);

private:
  Status bind(BlockArgument parameter, Evaluator::Argument argument);
  Status evaluate(Operation *op);
  Status set(Value value, Tensor tensor) {
    values[value] = std::move(tensor);
    return {};
  }
  /// Sets the value to rows, quantized if its type says so.
  Status setRows(Value value, Rows rows);
  /// The codes of rows of keys or values as they enter a Q8_0 cache, noted or taken likewise.
  Act8Rows cacheCodes(Value value, const Rows &rows, int64_t headDim);

  /// The value as a T. Types allow a weight where rows are meant and the reverse; then it fails. Valid until `set`.
  template <typename T> Result<const T *> get(Value value) {
    if (const T *held = std::get_if<T>(&values[value]))
      return held;
    return fail("an operand is a weight where rows are expected, or rows where a weight of a file is");
  }
  Result<const Rows *> rows(Value value) { return get<Rows>(value); }
  Result<std::span<const float>> floats(Value value) {
    QUERN_ASSIGN(const dq::SourceOp *source, get<dq::SourceOp>(value));
    return weights.floats(*source);
  }

  Status evaluate(dq::WeightOp op);
  Status evaluate(dq::RelayoutOp op);
  Status evaluate(dq::DequantizeOp op);
  Status evaluate(dq::QuantizeOp op);
  Status evaluate(dq::MatmulOp op);
  Result<Rows> segment(dq::MatmulOp op, unsigned index);
  Status evaluate(lm::EmbeddingOp op);
  Status evaluate(lm::LinearOp op);
  Status evaluate(lm::RmsNormOp op);
  Status evaluate(lm::RotaryAnglesOp op);
  Status evaluate(lm::RotaryOp op);
  Status evaluate(lm::SwigluOp op);
  Status evaluate(lm::AttentionOp op);
  Status evaluate(lm::GatherColumnsOp op);
  Status evaluate(lm::GatherRowsOp op);
  Status evaluate(arith::AddFOp op);

  WeightCache &weights;
  const Arithmetic &arithmetic;
  KeyValueCache &cache;
  CachePrecision cachePrecision;
  Codes *noted = nullptr;
  const Codes *taken = nullptr;
  llvm::DenseMap<Value, Tensor> values;
};

} // namespace

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
  if (quantized && quantized.getGroup() != kAct8Group)
    return fail("activations are quantized in groups of 32 only");
  if (taken)
    return set(value, taken->at(value));
  Tensor codes = quantized ? Tensor(reference::quantize(rows)) : Tensor(roundToBfloat(rows));
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
    return arithmetic.multiply(*quantized, *split, n);
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

Status Evaluation::bind(BlockArgument parameter, Evaluator::Argument argument) {
  std::string place = "argument " + std::to_string(parameter.getArgNumber());
  auto type = dyn_cast<RankedTensorType>(parameter.getType());
  if (!type) {
    if (!std::holds_alternative<std::monostate>(argument))
      return fail(place + " is no tensor");
    return set(parameter, std::monostate());
  }
  if (auto *rows = std::get_if<Rows>(&argument); rows && type.getRank() == 2 && rows->width == type.getDimSize(1))
    return set(parameter, std::move(*rows));
  if (auto *ids = std::get_if<Ids>(&argument); ids && type.getRank() == 1)
    return set(parameter, std::move(*ids));
  return fail(place + " does not fit its type");
}

Result<std::vector<Rows>> Evaluation::run(func::FuncOp function, std::vector<Evaluator::Argument> arguments) {
  if (function.isDeclaration() || !function.getBody().hasOneBlock())
    return fail("function '" + function.getName().str() + "' is not one block");
  if (arguments.size() != function.getNumArguments())
    return fail("function '" + function.getName().str() + "' takes " + std::to_string(function.getNumArguments()) +
                " arguments, got " + std::to_string(arguments.size()));
  for (auto [parameter, argument] : llvm::zip(function.getArguments(), arguments))
    QUERN_TRY(bind(parameter, std::move(argument)));
  for (Operation &op : function.front().without_terminator())
    if (Status done = evaluate(&op); !done) {
      std::string message;
      llvm::raw_string_ostream(message) << op.getName() << " at " << op.getLoc() << ": " << done.error().message;
      return fail(message);
    }
  std::vector<Rows> results;
  for (Value value : function.front().getTerminator()->getOperands()) {
    auto *result = std::get_if<Rows>(&values[value]);
    if (!result)
      return fail("function '" + function.getName().str() + "' returns what is no rows of f32");
    results.push_back(*result);
  }
  return results;
}

Evaluator::Evaluator(ModuleOp module, WeightSource source, Options options)
    : module(module), options(options), weights(std::make_unique<WeightCache>(std::move(source), options.threads)),
      inDouble(makeDoubleArithmetic(options.threads)),
      exact(makeExactArithmetic(options.multiplyAdd, options.threads)) {}

Evaluator::~Evaluator() = default;

Result<std::vector<Rows>> Evaluator::call(StringRef name, std::vector<Argument> arguments) {
  auto function = module.lookupSymbol<func::FuncOp>(name);
  if (!function)
    return fail("the module has no function '" + name.str() + "'");
  Codes codes;
  Evaluation evaluation(*weights, *inDouble, cache, options.cache);
  if (options.precision != Precision::Double) {
    bool compiled = options.cache != CachePrecision::Double;
    Evaluation exactly(*weights, *exact, exactCache, compiled ? options.cache : CachePrecision::F16);
    exactly.noteCodes(codes);
    Result<std::vector<Rows>> results = exactly.run(function, arguments);
    if (!results || options.precision == Precision::Exact)
      return results;
    evaluation.takeCodes(codes);
  }
  return evaluation.run(function, std::move(arguments));
}

Result<Rows> Evaluator::step(const Ids &tokens, const Ids &positions, const Ids &outputRows) {
  for (auto function : module.getOps<func::FuncOp>()) {
    std::vector<Argument> arguments;
    for (unsigned i = 0; i < function.getNumArguments(); ++i) {
      auto named = function.getArgAttrOfType<StringAttr>(i, lm::kNameAttr);
      StringRef name = named ? named.getValue() : StringRef();
      if (name == "token_ids")
        arguments.emplace_back(tokens);
      else if (name == "positions")
        arguments.emplace_back(positions);
      else if (name == "output_rows")
        arguments.emplace_back(outputRows);
      else if (isa<lm::CacheType>(function.getArgument(i).getType()))
        arguments.emplace_back();
    }
    if (arguments.empty() || arguments.size() != function.getNumArguments())
      continue;
    QUERN_ASSIGN(std::vector<Rows> results, call(function.getName(), std::move(arguments)));
    if (results.size() != 1)
      return fail("function '" + function.getName().str() + "' returns " + std::to_string(results.size()) +
                  " results; a step has one, the logits");
    return std::move(results[0]);
  }
  return fail("the module has no function of token_ids, positions, output_rows and a cache");
}

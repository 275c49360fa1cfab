// One evaluation of one function, op by op. Every value is kept until the function returns.
#ifndef QUERN_LIB_REFERENCE_EVALUATION_H
#define QUERN_LIB_REFERENCE_EVALUATION_H

#include "Arithmetic.h"

#include "dialects/LM/LM.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

namespace quern::reference {

/// A value of the function: an argument, rows, or a weight, which is read in the way its user asks for.
using Tensor = std::variant<std::monostate, Ids, Rows, Act8Rows, dq::SourceOp>;

/// Quantized rows by the value they belong to, of `!dq.act8` or bf16; of keys and values, as the cache keeps them.
using Codes = llvm::DenseMap<mlir::Value, Tensor>;

class Evaluation {
public:
  Evaluation(WeightCache &weights, const Arithmetic &arithmetic, KeyValueCache &cache, CachePrecision cachePrecision)
      : weights(weights), arithmetic(arithmetic), cache(cache), cachePrecision(cachePrecision) {}

  /// Rows that are quantized are noted, or else taken from what was noted.
  void noteCodes(Codes &codes) { noted = &codes; }
  void takeCodes(const Codes &codes) { taken = &codes; }

  Result<std::vector<Rows>> run(mlir::func::FuncOp function, std::vector<Evaluator::Argument> arguments);

private:
  Status bind(mlir::BlockArgument parameter, Evaluator::Argument argument);
  Status evaluate(mlir::Operation *op);
  Status set(mlir::Value value, Tensor tensor) {
    values[value] = std::move(tensor);
    return {};
  }
  /// Sets the value to rows, quantized if its type says so.
  Status setRows(mlir::Value value, Rows rows);
  /// The codes of rows of keys or values as they enter a Q8_0 cache, noted or taken likewise.
  Act8Rows cacheCodes(mlir::Value value, const Rows &rows, int64_t headDim);

  /// The value as a T. Types allow a weight where rows are meant and the reverse; then it fails. Valid until `set`.
  template <typename T> Result<const T *> get(mlir::Value value) {
    if (const T *held = std::get_if<T>(&values[value]))
      return held;
    return fail("an operand is a weight where rows are expected, or rows where a weight of a file is");
  }
  Result<const Rows *> rows(mlir::Value value) { return get<Rows>(value); }
  Result<std::span<const float>> floats(mlir::Value value) {
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
  Status evaluate(mlir::arith::AddFOp op);

  WeightCache &weights;
  const Arithmetic &arithmetic;
  KeyValueCache &cache;
  CachePrecision cachePrecision;
  Codes *noted = nullptr;
  const Codes *taken = nullptr;
  llvm::DenseMap<mlir::Value, Tensor> values;
};

} // namespace quern::reference

#endif // QUERN_LIB_REFERENCE_EVALUATION_H

// The slow reference: evaluates a graph function (lm, dq and arith.addf ops on tensors) in double precision, as
// imported or after the quantize phase. The oracle for compiled code; its only speed-ups are that weights are decoded
// once and that a matmul's rows are split over threads.
#ifndef QUERN_REFERENCE_EVALUATOR_H
#define QUERN_REFERENCE_EVALUATOR_H

#include "dialects/DQ/DQ.h"
#include "quern/Reference/ExactFold.h"
#include "quern/Reference/Rows.h"
#include "quern/Support/Result.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <variant>

namespace quern::reference {

/// Of the source files, which must outlive the evaluator.
using WeightSource = dq::SourceReader;

/// How a graph is evaluated. Quantization of rows is a step function: of two evaluations that differ in the last bit of
/// an f32, each now and then takes the neighbouring code, and over a few layers that grows to the size of the
/// quantization error itself (on a 0.5B, a divergence of 3e-4 between two double evaluations, one of which rounds rows
/// to f32). So a comparison with compiled code needs either its very codes or its very roundings.
enum class Precision {
  Double,             ///< in double
  Exact,              ///< with every rounding of compiled code (docs/numerics.md): its results, to the bit
  DoubleOnExactCodes, ///< in double, but rows are quantized to the codes that the exact evaluation beside it finds
};

/// How keys and values are kept.
enum class CachePrecision {
  Unrounded, ///< as they are; to the exact evaluation, whose rows are f32 numbers, an f32 cache
  F16,       ///< rounded to f16
  Q8_0,      ///< bytes with a scale for 32 elements of a head (docs/numerics.md)
};

struct Options {
  Precision precision = Precision::Double;
  MultiplyAdd multiplyAdd = MultiplyAdd::Fused; ///< of the exact evaluation
  CachePrecision cache = CachePrecision::F16;
  unsigned threads = 2;
};

class Arithmetic;
class WeightCache;

/// Token ids, positions or row indices.
using Ids = std::vector<int32_t>;

/// Keys and values of the positions seen so far, of one sequence: for each layer [positions, kv_heads * head_dim].
class KeyValueCache {
public:
  /// Row p of the keys, or values, of a layer; grown as rows are appended.
  struct Layer {
    int64_t positions = 0;
    std::vector<double> keys, values;
    Act8Rows keyCodes, valueCodes; ///< of a Q8_0 cache: for each position a row of head_dim for each head
  };
  Layer &layer(int64_t index) { return layers[index]; }
  void clear() { layers.clear(); }

private:
  std::map<int64_t, Layer> layers;
};

/// A module's functions, evaluated with one key-value cache. Not thread-safe. The module must stay unchanged.
class Evaluator {
public:
  Evaluator(mlir::ModuleOp module, WeightSource source, Options options = {});
  ~Evaluator();

  /// An argument of a function, in the place of a tensor; caches are passed as std::monostate.
  using Argument = std::variant<std::monostate, Ids, Rows>;

  /// Runs a function of the module. Errors name the op: one that has no reference, an id outside its table, a position
  /// that does not follow what the cache holds.
  Result<std::vector<Rows>> call(llvm::StringRef function, std::vector<Argument> arguments);

  /// One step of the module's entry function, whose arguments are named (`lm.name`) token_ids, positions and
  /// output_rows; rows belong to one sequence. Returns the logits, [outputs, V]. Rows that follow what the cache holds
  /// are appended to it.
  Result<Rows> step(const Ids &tokens, const Ids &positions, const Ids &outputRows);

  /// Forgets the sequence.
  void clearCache() {
    cache.clear();
    exactCache.clear();
  }

private:
  mlir::ModuleOp module;
  Options options;
  KeyValueCache cache, exactCache;
  std::unique_ptr<WeightCache> weights;
  std::unique_ptr<Arithmetic> inDouble, exact;
};

} // namespace quern::reference

#endif // QUERN_REFERENCE_EVALUATOR_H

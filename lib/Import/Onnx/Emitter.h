// Builds the computation of a graph from a few general forms: an element-by-element function with broadcasting, a
// function of indices, a reduction, and changes of shape. Operators are written in terms of these.
//
// Shapes are kept as fold results: a number where it is known, else the index value that computes it. Two sizes that
// are the same value are known to be equal, which is what makes broadcasting of dynamic shapes cheap.
#ifndef QUERN_LIB_IMPORT_ONNX_EMITTER_H
#define QUERN_LIB_IMPORT_ONNX_EMITTER_H

#include "quern/Support/Result.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"

#include <cstdint>
#include <functional>
#include <optional>

namespace quern::import {

using Dims = llvm::SmallVector<mlir::OpFoldResult>;

/// Numbers of element types in the file.
enum OnnxTypeId : int32_t {
  kF32 = 1, kU8 = 2, kI8 = 3, kU16 = 4, kI16 = 5, kI32 = 6, kI64 = 7, kBool = 9, kF16 = 10, kF64 = 11, kU32 = 12,
  kU64 = 13, kBF16 = 16,
};
bool isFloat(int32_t type);
bool isUnsigned(int32_t type); ///< bool is not
bool isInteger(int32_t type);  ///< bool is not
bool isNumeric(int32_t type);  ///< a float or an integer
bool isBoolean(int32_t type);
int32_t foldType(int32_t type); ///< of sums of such elements: halves are folded in f32
/// Whether compiled code can compute with elements of this type.
bool isComputable(int32_t type);

/// A value of the graph.
struct Tensor {
  mlir::Value value; ///< null where only `elements` are known yet; see Emitter::valueOf
  int32_t type = 0;
  Dims dims;
  /// Of small integer tensors of rank 0 or 1: each element as an index. How shapes are followed through the graph.
  std::optional<Dims> elements;

  int64_t rank() const { return int64_t(dims.size()); }
};

/// Arithmetic on scalars of a body. The values' types say whether it is of floats or of integers.
struct Scalars {
  mlir::OpBuilder &b;
  mlir::Location loc;
  bool isUnsigned = false;

  template <typename Op, typename... Args> mlir::Value make(Args &&...args) const {
    return Op::create(b, loc, std::forward<Args>(args)...);
  }
  mlir::Value constant(mlir::Type type, double value) const;
  mlir::Value integer(mlir::Type type, int64_t value) const;
  mlir::Value add(mlir::Value x, mlir::Value y) const;
  mlir::Value sub(mlir::Value x, mlir::Value y) const;
  mlir::Value mul(mlir::Value x, mlir::Value y) const;
  /// Integers: truncated; dividing by 0 gives 0, the least number by -1 itself.
  mlir::Value div(mlir::Value x, mlir::Value y) const;
  /// Integers: has the dividend's sign; by 0 it is 0.
  mlir::Value rem(mlir::Value x, mlir::Value y) const;
  mlir::Value abs(mlir::Value x) const; ///< the least integer stays what it is
  mlir::Value min(mlir::Value x, mlir::Value y) const; ///< NaN wins
  mlir::Value max(mlir::Value x, mlir::Value y) const;
  mlir::Value less(mlir::Value x, mlir::Value y) const;
  mlir::Value lessOrEqual(mlir::Value x, mlir::Value y) const;
  mlir::Value equal(mlir::Value x, mlir::Value y) const;
  mlir::Value select(mlir::Value condition, mlir::Value yes, mlir::Value no) const;
  mlir::Value exp(mlir::Value x) const { return make<mlir::math::ExpOp>(x); }
};

class Emitter {
public:
  using Body = llvm::function_ref<mlir::Value(const Scalars &, mlir::ValueRange)>;

  explicit Emitter(mlir::OpBuilder builder, mlir::Location loc) : b(builder), loc(loc) {}
  void at(mlir::Location where) { loc = where; }

  /// The type that elements of this type are computed in: halves as f32.
  mlir::Type computeType(int32_t type);
  mlir::Type elementType(int32_t type);
  mlir::RankedTensorType tensorType(const Dims &dims, int32_t type);

  // Sizes.
  mlir::OpFoldResult index(int64_t value) { return b.getIndexAttr(value); }
  mlir::Value toValue(mlir::OpFoldResult size);
  mlir::OpFoldResult add(mlir::OpFoldResult x, mlir::OpFoldResult y);
  mlir::OpFoldResult sub(mlir::OpFoldResult x, mlir::OpFoldResult y);
  mlir::OpFoldResult mul(mlir::OpFoldResult x, mlir::OpFoldResult y);
  mlir::OpFoldResult div(mlir::OpFoldResult x, mlir::OpFoldResult y); ///< y > 0; rounds down
  mlir::OpFoldResult min(mlir::OpFoldResult x, mlir::OpFoldResult y);
  mlir::OpFoldResult max(mlir::OpFoldResult x, mlir::OpFoldResult y);
  /// `condition` compares x with y, signed.
  mlir::OpFoldResult select(mlir::arith::CmpIPredicate condition, mlir::OpFoldResult x, mlir::OpFoldResult y,
                            mlir::OpFoldResult yes, mlir::OpFoldResult no);
  /// Of sizes that are not negative; the greatest number where it is not below 2^63.
  mlir::OpFoldResult product(llvm::ArrayRef<mlir::OpFoldResult> sizes);

  // Tensors.
  mlir::Value valueOf(Tensor &tensor);
  /// The elements of an integer tensor of rank 0 or 1 and static length, as indices; read at run time if not known.
  std::optional<Dims> elementsOf(Tensor &tensor);
  /// A tensor of sizes, such as Shape makes.
  Tensor fromElements(const Dims &elements, int32_t type, bool scalar = false);
  Tensor scalar(double value, int32_t type);

  /// The shape that all shapes broadcast to. Fails with a sentence where known sizes do not fit.
  Result<Dims> broadcast(llvm::ArrayRef<Dims> shapes);
  /// x copied to a shape that its own broadcasts to; fails where known sizes do not fit.
  Result<Tensor> broadcastTo(Tensor x, const Dims &dims);
  /// One call of `body` for each element of the broadcast inputs. Halves reach the body as f32; what it returns is
  /// rounded to `type` if that is a half.
  Result<Tensor> elementwise(llvm::ArrayRef<Tensor> inputs, int32_t type, Body body);
  /// `body` gets the indices of the element that it makes.
  Tensor compute(const Dims &dims, int32_t type, Body body);
  /// One call of `body` for each index of `dims`, in row-major order; it gets the tensor as it is so far (`tensor`, at
  /// first `start`) and returns what becomes of it. For results whose elements depend on one another.
  using Step = llvm::function_ref<mlir::Value(const Scalars &, mlir::ValueRange indices, mlir::Value tensor)>;
  Tensor forEach(llvm::ArrayRef<mlir::OpFoldResult> dims, Tensor start, Step body);
  /// The tensor with one more element written, in the tensor's type.
  mlir::Value store(const Scalars &s, mlir::Value element, mlir::Value tensor, mlir::ValueRange indices);
  Tensor filled(const Dims &dims, int32_t type, double value);
  /// Folds `combine(element, sum)` over the axes in `reduced`, in row-major order, from `start`, in the compute type.
  /// The reduced axes become 1, or vanish without `keep`.
  Tensor reduce(Tensor x, llvm::ArrayRef<bool> reduced, bool keep, mlir::TypedAttr start, Body combine);
  /// The mean over the axes in `reduced`, in the compute type: the sum divided by the number of elements.
  Tensor mean(Tensor x, llvm::ArrayRef<bool> reduced, bool keep);
  /// The same elements, row-major, in another shape. Sizes that are not known are checked at run time.
  Tensor reshape(Tensor x, const Dims &dims);
  Tensor transpose(Tensor x, llvm::ArrayRef<int64_t> permutation);
  Tensor convert(Tensor x, int32_t type);
  /// x[..., m, k] times y[..., k, n] with equal leading sizes, folded in ascending k, halves in f32.
  Tensor matmul(Tensor x, Tensor y);
  /// numpy's matmul: leading sizes are broadcast, a vector is a row on the left and a column on the right.
  Result<Tensor> multiply(Tensor x, Tensor y);
  /// x in the compute type of `from` as one in the compute type of `to`.
  mlir::Value convertScalar(const Scalars &s, mlir::Value x, int32_t from, int32_t to);
  /// Softmax over the axes in `reduced`, or its logarithm; x is f32.
  Tensor softmax(Tensor x, llvm::ArrayRef<bool> reduced, bool logarithm = false);

  /// An element of a tensor in a body, in the compute type.
  mlir::Value load(const Scalars &s, mlir::Value tensor, mlir::ValueRange indices);
  /// Stops the run with `message` where `condition` is false.
  void check(mlir::OpBuilder &builder, mlir::Value condition, const std::string &message);
  /// The same for a comparison; one that is known to be false becomes `failure`.
  void check(mlir::arith::CmpIPredicate predicate, mlir::OpFoldResult x, mlir::OpFoldResult y,
             const std::string &message);

  mlir::OpBuilder b;
  mlir::Location loc;
  std::string node; ///< for messages of `check`
  std::optional<std::string> failure; ///< the first check that can only fail; what was emitted after it may be invalid

private:
  mlir::Value empty(const Dims &dims, int32_t type);
  mlir::Value widen(const Scalars &s, mlir::Value x);
  mlir::Value narrow(const Scalars &s, mlir::Value x, mlir::Type type);
  mlir::Value flatten(Tensor &x);
};

} // namespace quern::import

#endif // QUERN_LIB_IMPORT_ONNX_EMITTER_H

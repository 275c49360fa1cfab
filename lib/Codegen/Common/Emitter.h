// Short hand for emitting kernel bodies: raw pointers, i64 offsets in bytes, and vectors whose lane is a weight row.
#ifndef QUERN_LIB_CODEGEN_COMMON_EMITTER_H
#define QUERN_LIB_CODEGEN_COMMON_EMITTER_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace quern::codegen {

class Emitter : public mlir::ImplicitLocOpBuilder {
public:
  using ImplicitLocOpBuilder::ImplicitLocOpBuilder;
  using Value = mlir::Value;
  using Type = mlir::Type;

  // Types.
  Type ptr() { return mlir::LLVM::LLVMPointerType::get(getContext()); }
  mlir::VectorType vec(int64_t lanes, Type element) { return mlir::VectorType::get({lanes}, element); }
  mlir::VectorType f32s(int64_t lanes = 16) { return vec(lanes, getF32Type()); }
  mlir::VectorType i32s(int64_t lanes = 16) { return vec(lanes, getI32Type()); }
  mlir::VectorType i8s(int64_t lanes = 64) { return vec(lanes, getI8Type()); }

  // Constants: a scalar, or the same number in every lane.
  Value i64(int64_t value) { return mlir::arith::ConstantOp::create(*this, getI64IntegerAttr(value)); }
  Value number(Type type, int64_t value);
  Value real(Type type, double value);

  // Arithmetic on i64.
  Value add(Value a, Value b) { return createOrFold<mlir::arith::AddIOp>(a, b); }
  Value add(Value a, int64_t b) { return b == 0 ? a : add(a, i64(b)); }
  Value sub(Value a, Value b) { return createOrFold<mlir::arith::SubIOp>(a, b); }
  Value mul(Value a, Value b) { return createOrFold<mlir::arith::MulIOp>(a, b); }
  Value mul(Value a, int64_t b) { return mul(a, i64(b)); }
  Value div(Value a, Value b) { return createOrFold<mlir::arith::DivUIOp>(a, b); }
  Value div(Value a, int64_t b) { return div(a, i64(b)); }
  Value rem(Value a, Value b) { return createOrFold<mlir::arith::RemUIOp>(a, b); }
  Value min(Value a, Value b) { return createOrFold<mlir::arith::MinSIOp>(a, b); }
  Value less(Value a, Value b) { return createOrFold<mlir::arith::CmpIOp>(mlir::arith::CmpIPredicate::slt, a, b); }

  // Memory: byte offsets from a pointer, with the alignment that is known.
  Value at(Value pointer, Value bytes);
  Value at(Value pointer, int64_t bytes) { return bytes == 0 ? pointer : at(pointer, i64(bytes)); }
  Value load(Type type, Value pointer, unsigned alignment);
  void store(Value value, Value pointer, unsigned alignment);
  /// Hints that the line at `pointer` is needed soon and once.
  void prefetch(Value pointer);
  /// Hints that the line at `pointer` is needed soon, but not at once: it is brought to the second-level cache.
  void prefetchFar(Value pointer);

  // Vectors.
  Value splat(Value scalar, mlir::VectorType type);
  Value bitcast(Value value, mlir::VectorType type);
  Value toFloat(Value ints);
  Value widen(Value halves); ///< f16 or bf16 to f32
  Value fma(Value a, Value b, Value c) { return createOrFold<mlir::math::FmaOp>(a, b, c); }
  Value mulf(Value a, Value b) { return createOrFold<mlir::arith::MulFOp>(a, b); }
  Value addf(Value a, Value b) { return createOrFold<mlir::arith::AddFOp>(a, b); }
  Value subf(Value a, Value b) { return createOrFold<mlir::arith::SubFOp>(a, b); }
  Value negf(Value a) { return createOrFold<mlir::arith::NegFOp>(a); }
  Value bitAnd(Value a, int64_t mask);
  Value bitXor(Value a, int64_t mask);
  Value shiftRight(Value a, int64_t bits); ///< unsigned
  Value shiftLeft(Value a, int64_t bits);
  Value signedShiftRight(Value a, int64_t bits);
  /// The vector itself, of which LLVM then knows nothing. It must fill one register.
  Value opaque(Value vector);
  Value bitOr(Value a, Value b) { return createOrFold<mlir::arith::OrIOp>(a, b); }

  Value maxf(Value a, Value b); ///< the greater; b where either is no number
  Value minf(Value a, Value b); ///< the lesser; b where either is no number
  /// Folds the 16 lanes by a fixed tree: halves onto each other, down to one.
  Value treeFold(Value vector, llvm::function_ref<Value(Value, Value)> combine);
  Value treeSum(Value vector);
  /// The same fold of each of up to 16 vectors of f32 at once: lane i is that of vector i.
  Value foldLanes(llvm::ArrayRef<Value> vectors, llvm::function_ref<Value(Value, Value)> combine);

  // Control. Bodies get the induction variable and the carried values, and return the next carried values.
  using Values = llvm::SmallVector<Value>;
  using LoopBody = llvm::function_ref<Values(Value, mlir::ValueRange)>;
  Values loop(Value from, Value to, Value step, mlir::ValueRange init, LoopBody body);
  void loop(Value from, Value to, Value step, llvm::function_ref<void(Value)> body);
  void ifThen(Value condition, llvm::function_ref<void()> then);
  void ifThenElse(Value condition, llvm::function_ref<void()> then, llvm::function_ref<void()> otherwise);
  Values ifElse(Value condition, llvm::function_ref<Values()> then, llvm::function_ref<Values()> otherwise);

  /// Field of the QuernCall at `offset` (see quern/Runtime/KernelABI.h).
  Value callField(Value call, int64_t offset, Type type) { return load(type, at(call, offset), 8); }

  /// Waits for all threads of the call; orders memory.
  void barrier(Value call);

  /// First and past-the-end item of this thread, of `items` split evenly in order.
  std::pair<Value, Value> share(Value call, Value items);
  /// The same of any thread.
  std::pair<Value, Value> shareOf(Value thread, Value threads, Value items);
  /// Runs `body` for each of `items` that nobody has taken yet; the i64 at `counter` tells how many have been.
  void takeItems(Value counter, Value items, llvm::function_ref<void(Value)> body);
};

/// Creates the private function `name` with these argument types at the end of `module`, and an emitter in its body;
/// `finish` adds the return.
mlir::func::FuncOp beginKernel(mlir::ModuleOp module, llvm::StringRef name, mlir::TypeRange arguments);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_COMMON_EMITTER_H

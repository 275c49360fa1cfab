// The host's side of a step on a device: a function of addresses and sizes that launches kernels. Its arguments say by
// attributes what they are, so that TranslateToProgram.cpp can make a DeviceProgram of it.
#ifndef QUERN_LIB_CODEGEN_GPU_HOSTFUNCTION_H
#define QUERN_LIB_CODEGEN_GPU_HOSTFUNCTION_H

#include "lib/Codegen/Common/Emitter.h"
#include "quern/Codegen/GPU.h"
#include "quern/Codegen/MemoryPlan.h"

#include "dialects/DQ/DQ.h"
#include "dialects/LM/LM.h"

namespace quern::codegen {

/// On an argument of the host's function: what it is, and for inputs, outputs, sizes and capacities which.
inline constexpr char kHostArgument[] = "host.is";
inline constexpr char kHostIndex[] = "host.index";
/// On the function: the least and the most tokens that it is for, and the arena's bytes: those that no size changes,
/// then those for each dynamic size.
inline constexpr char kHostTokens[] = "host.tokens";
inline constexpr char kHostArena[] = "host.arena";
/// On the module: its kernels wait for the launch before theirs.
inline constexpr char kHostOverlaps[] = "host.overlaps";
/// On the function: how many counters its launches need.
inline constexpr char kHostCounters[] = "host.counters";
/// On a launch: the op that it was made for, and its name in the model's file.
inline constexpr char kHostOp[] = "host.op";
inline constexpr char kHostName[] = "host.name";

/// The range of tokens of a step.
struct TokenRange {
  int64_t least, most;
  bool isOne() const { return least == most; }
};

/// A grid of blocks: each dimension is `numerator` / `divisor`, rounded up.
struct HostGrid {
  struct Dimension {
    mlir::Value numerator; ///< i64; null: 1
    int64_t divisor = 1;
  };
  Dimension x, y = {}, z = {};
};

class HostFunction {
public:
  /// Begins a function for `entry`, before it.
  HostFunction(mlir::func::FuncOp entry, const std::string &name, TokenRange tokens);
  void finish();

  TokenRange tokens() const { return range; }
  /// Address of a weight, an argument, an output or a place in the arena.
  mlir::Value address(mlir::Value value);
  /// Addresses of codes, scales and sums of quantized rows.
  llvm::SmallVector<mlir::Value> quantized(mlir::Value value);
  mlir::Value weight(dq::SourceOp source);
  /// Address of byte `at` behind all places of the arena, where `bytes` bytes are for what one op's kernels hand to
  /// each other.
  mlir::Value scratch(int64_t bytes, int64_t at = 0);
  /// Address of `count` counters of i32 that are zero, which a launch leaves as they were.
  mlir::Value counters(int64_t count);
  /// Address of the i32 that says which token each output's logits choose.
  mlir::Value choices() { return addressOnce(choiceAddress, "choice"); }
  /// Address of each output's RowDraw.
  mlir::Value draws() { return addressOnce(drawAddress, "draw"); }
  mlir::Value caches() { return cacheAddresses; }
  mlir::Value capacities() { return cacheCapacities; }
  /// Rows of a tensor times `factor`, as i64; a constant where the function is for one number of tokens.
  mlir::Value rowsOf(mlir::Value tensor, int64_t factor = 1);
  /// Whether a tensor's rows are tokens, and not outputs.
  bool hasTokens(mlir::Value tensor) { return sizeIndex(entry, tensor) == 0; }
  mlir::Value number(int64_t value) { return e.i64(value); }

  /// Launches a kernel for `op`, with `sharedBytes` of dynamic shared memory. A kernel with a known grid needs no
  /// other.
  mlir::gpu::LaunchFuncOp launch(mlir::Operation *op, mlir::gpu::GPUFuncOp kernel, mlir::ValueRange arguments,
                                 HostGrid grid = {}, int64_t sharedBytes = 0);
  /// Does `then` where the rows of `tensor` compare so with `bound`: eq, or sge.
  void whereRows(mlir::Value tensor, mlir::arith::CmpIPredicate predicate, int64_t bound,
                 llvm::function_ref<void()> then);

private:
  mlir::Value argument(mlir::Type type, llvm::StringRef is, int64_t index, llvm::StringRef name);
  /// An argument that only some functions have.
  mlir::Value addressOnce(mlir::Value &known, llvm::StringRef is);
  mlir::Value blocks(const HostGrid::Dimension &dimension);
  /// The arena's part for a dynamic size, plus `row` bytes for each row that there may be.
  mlir::Value place(int64_t size, int64_t row);

  mlir::func::FuncOp entry, function;
  Emitter e;
  TokenRange range;
  int64_t scratchBytes = 0, mostCounters = 0;
  mlir::Value weights, arena, cacheAddresses, cacheCapacities, choiceAddress, drawAddress, counterAddress;
  llvm::SmallVector<mlir::Value> sizes, most, outputs;
  llvm::DenseMap<mlir::Value, mlir::Value> inputs;
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_HOSTFUNCTION_H

// One entry function on its way to calls of kernels: addresses, barriers, and the lowering of each op.
#ifndef QUERN_LIB_CODEGEN_CPU_ENTRYLOWERING_H
#define QUERN_LIB_CODEGEN_CPU_ENTRYLOWERING_H

#include "Barriers.h"
#include "KernelLibrary.h"
#include "dialects/DQ/DQ.h"
#include "dialects/LM/LM.h"
#include "quern/Codegen/MemoryPlan.h"

namespace quern::codegen {

/// What one call of a kernel has to do, for the op table (see kOpTable): bytes that come from memory, and operations.
/// Activations are counted from the call's accesses.
struct Work {
  int64_t weightBytes = 0;       ///< read once for all rows
  int64_t weightBytesPerRow = 0; ///< read for each row
  int64_t cacheBytesPerKey = 0;  ///< read for each position of the key-value cache that any row looks at
  int64_t operationsPerRow = 0, operationsPerPair = 0; ///< a pair is a row and a key it looks at
  llvm::StringRef unit = "";     ///< what the operations run on: "dot" for bytes, "fma" for f32
};

/// Lowers one entry function into `e`'s new function, over caches of one kind. `profiled`: all threads meet after each
/// kernel, and tell so.
class EntryLowering {
public:
  EntryLowering(mlir::func::FuncOp entry, KernelLibrary &library, Emitter &e, mlir::Value call,
                CacheKind cacheKind, bool profiled)
      : entry(entry), library(library), e(e), call(call), cacheKind(cacheKind), profiled(profiled) {}

  mlir::LogicalResult run();
  int64_t perThreadBytes() const { return counterBytes + perThread; }
  /// One record for each kernel call, in order.
  mlir::ArrayAttr opTable() { return e.getArrayAttr(ops); }

private:
  using Arguments = llvm::SmallVector<mlir::Value>;

  void readCall();
  void clearCounters();
  mlir::Value rowsOf(mlir::Value tensor) { return sizes[sizeIndex(entry, tensor)]; }
  int64_t stride(mlir::Value tensor) { return rowBytes(llvm::cast<mlir::RankedTensorType>(tensor.getType())); }
  int64_t width(mlir::Value tensor) { return llvm::cast<mlir::RankedTensorType>(tensor.getType()).getDimSize(1); }
  /// Address of an argument, an intermediate or a packed weight.
  mlir::Value address(mlir::Value value);
  /// What the packer's plan says of a weight, if it does: a byte of the section.
  static std::optional<int64_t> placeOf(mlir::Value weight, llvm::StringRef attribute);
  int64_t arenaOffset(mlir::Value value);
  Access access(mlir::Value value, const std::string &split) {
    return {sizeIndex(entry, value), arenaOffset(value), stride(value), split};
  }
  void emitCall(mlir::func::FuncOp kernel, const Arguments &arguments, const std::vector<Access> &reads,
                const std::vector<Access> &writes, const Work &work = {});
  void noteCall(mlir::func::FuncOp kernel, const std::vector<Access> &reads, const std::vector<Access> &writes,
                const Work &work);

  mlir::LogicalResult lower(mlir::Operation *op);
  mlir::LogicalResult lowerMatmul(dq::MatmulOp op);
  mlir::LogicalResult lowerSegment(dq::MatmulOp op, unsigned segment);
  mlir::LogicalResult lowerEmbedding(lm::EmbeddingOp op);
  mlir::LogicalResult lowerAttention(lm::AttentionOp op);
  mlir::LogicalResult lowerRotary(lm::RotaryOp op);
  mlir::LogicalResult lowerAngles(lm::RotaryAnglesOp op);
  mlir::LogicalResult lowerNorm(lm::RmsNormOp op);
  void lowerQuantize(dq::QuantizeOp op);
  mlir::LogicalResult lowerDequantize(dq::DequantizeOp op);
  void lowerGather(lm::GatherRowsOp op);
  mlir::LogicalResult lowerGather(lm::GatherColumnsOp op);
  void lowerBinary(mlir::Operation *op, mlir::func::FuncOp kernel);

  mlir::func::FuncOp entry;
  KernelLibrary &library;
  Emitter &e;
  mlir::Value call;
  CacheKind cacheKind;
  bool profiled;
  mlir::Operation *current = nullptr; ///< the op being lowered
  llvm::SmallVector<mlir::Attribute> ops;
  mlir::Value weights, scratch, caches, cacheCapacities;
  mlir::Value counters;     ///< of the first thread: for each matmul an i64, the blocks of its share that are taken
  int64_t counterBytes = 0; ///< of one thread
  int64_t matmuls = 0;      ///< lowered so far
  llvm::SmallVector<mlir::Value> sizes, arenas, capacities;
  llvm::DenseMap<mlir::Value, mlir::Value> inputs;
  llvm::SmallVector<mlir::Value> outputs;
  Barriers barriers;
  int64_t perThread = 0;
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_CPU_ENTRYLOWERING_H

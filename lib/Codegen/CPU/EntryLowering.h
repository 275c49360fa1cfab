// One entry function on its way to calls of kernels: addresses, barriers, and the lowering of each op.
#ifndef QUERN_LIB_CODEGEN_CPU_ENTRYLOWERING_H
#define QUERN_LIB_CODEGEN_CPU_ENTRYLOWERING_H

#include "Barriers.h"
#include "KernelLibrary.h"
#include "dialects/DQ/DQ.h"
#include "dialects/LM/LM.h"
#include "quern/Codegen/MemoryPlan.h"

namespace quern::codegen {

/// Lowers one entry function into `e`'s new function.
class EntryLowering {
public:
  EntryLowering(mlir::func::FuncOp entry, KernelLibrary &library, Emitter &e, mlir::Value call)
      : entry(entry), library(library), e(e), call(call) {}

  mlir::LogicalResult run();
  int64_t perThreadBytes() const { return perThread; }

private:
  using Arguments = llvm::SmallVector<mlir::Value>;

  void readCall();
  mlir::Value rowsOf(mlir::Value tensor) { return sizes[sizeIndex(entry, tensor)]; }
  int64_t stride(mlir::Value tensor) { return rowBytes(llvm::cast<mlir::RankedTensorType>(tensor.getType())); }
  int64_t width(mlir::Value tensor) { return llvm::cast<mlir::RankedTensorType>(tensor.getType()).getDimSize(1); }
  /// Address of an argument, an intermediate or a packed weight.
  mlir::Value address(mlir::Value value);
  int64_t arenaOffset(mlir::Value value);
  Access access(mlir::Value value, const std::string &split) {
    return {sizeIndex(entry, value), arenaOffset(value), stride(value), split};
  }
  void emitCall(mlir::func::FuncOp kernel, const Arguments &arguments, const std::vector<Access> &reads,
                const std::vector<Access> &writes);

  mlir::LogicalResult lower(mlir::Operation *op);
  mlir::LogicalResult lowerMatmul(dq::MatmulOp op);
  mlir::LogicalResult lowerSegment(dq::MatmulOp op, unsigned segment);
  mlir::LogicalResult lowerEmbedding(lm::EmbeddingOp op);
  mlir::LogicalResult lowerAttention(lm::AttentionOp op);
  mlir::LogicalResult lowerRotary(lm::RotaryOp op);
  mlir::LogicalResult lowerAngles(lm::RotaryAnglesOp op);
  mlir::LogicalResult lowerNorm(lm::RmsNormOp op);
  void lowerQuantize(dq::QuantizeOp op);
  void lowerGather(lm::GatherRowsOp op);
  void lowerBinary(mlir::Operation *op, mlir::func::FuncOp kernel);

  mlir::func::FuncOp entry;
  KernelLibrary &library;
  Emitter &e;
  mlir::Value call;
  mlir::Value weights, scratch, caches, cacheCapacities;
  llvm::SmallVector<mlir::Value> sizes, arenas, capacities;
  llvm::DenseMap<mlir::Value, mlir::Value> inputs;
  llvm::SmallVector<mlir::Value> outputs;
  Barriers barriers;
  int64_t perThread = 0;
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_CPU_ENTRYLOWERING_H

// One entry function on its way to launches, for one range of tokens.
#ifndef QUERN_LIB_CODEGEN_GPU_LAUNCHLOWERING_H
#define QUERN_LIB_CODEGEN_GPU_LAUNCHLOWERING_H

#include "Argmax.h"
#include "DecodeAttention.h"
#include "Elementwise.h"
#include "HostFunction.h"
#include "Matvec.h"
#include "PromptMatmul.h"
#include "Sample.h"
#include "dialects/DQ/DQ.h"
#include "dialects/LM/LM.h"

#include "llvm/ADT/SmallPtrSet.h"

namespace quern::codegen {

/// What rows of activations hold.
RowKind rowKindOf(mlir::Value rows);

/// A weight as kernels know it; fails for formats that they do not read.
Result<Matvec::Segment> segmentOf(mlir::RankedTensorType type);

/// Whether an op norms heads, as opposed to whole rows. A row of one head is both; it is a head if nothing but its
/// rotation reads the result.
bool isHeadNorm(mlir::Operation *op);

/// Whether two ops are in one `lm.group`.
bool inOneGroup(mlir::Operation *a, mlir::Operation *b);

/// A matmul of any number of rows as a kernel knows it; fails where there is none.
Result<PromptMatmul> promptOf(dq::MatmulOp op, const GpuTarget &target);

class LaunchLowering {
public:
  /// Rows of a step up to which attention takes each alone: they may be tokens of as many sequences, whose caches the
  /// kernel for prompts would walk one after the other.
  static constexpr int64_t kMostDecodeRows = 16;

  /// Kernels are made in `kernels` when first asked for.
  LaunchLowering(mlir::func::FuncOp entry, mlir::gpu::GPUModuleOp kernels, const GpuTarget &target, TokenRange tokens);

  /// `choices`: how many of the logits are those of tokens, the likeliest of which is chosen; 0: none is.
  mlir::LogicalResult run(int64_t choices);

  /// The first op that keeps steps of any number of tokens from having kernels, or null.
  static mlir::Operation *findWithoutPromptKernel(mlir::func::FuncOp entry, const GpuTarget &target);

private:
  using Emit = llvm::function_ref<mlir::gpu::GPUFuncOp()>;
  mlir::gpu::GPUFuncOp kernel(const std::string &name, Emit emit);

  mlir::LogicalResult lower(mlir::Operation *op);
  mlir::LogicalResult lowerEmbedding(lm::EmbeddingOp op);
  mlir::LogicalResult lowerNorm(lm::RmsNormOp op);
  mlir::LogicalResult lowerHeadNorm(lm::RmsNormOp op);
  mlir::LogicalResult lowerQuantize(dq::QuantizeOp op);
  mlir::LogicalResult lowerBinary(mlir::Operation *op, Elementwise kind);
  /// Makes the rows `out` of the f32 rows at the addresses `from`.
  void launchElementwise(mlir::Operation *op, Elementwise kind, mlir::ValueRange from, mlir::Value out);
  mlir::LogicalResult lowerGather(lm::GatherRowsOp op);
  mlir::LogicalResult lowerGather(lm::GatherColumnsOp op);
  /// Rows are rotated by attention's kernels only.
  mlir::LogicalResult checkRotary(lm::RotaryOp op);
  mlir::LogicalResult lowerAttention(lm::AttentionOp op);
  mlir::LogicalResult lowerMatmul(dq::MatmulOp op);
  /// Chooses among the first `choices` of each row of logits: the likeliest token, and where a row is drawn another.
  mlir::LogicalResult launchChoice(mlir::Value logits, int64_t choices);
  void launchArgmax(mlir::Value logits, const Argmax &argmax);
  void launchSample(mlir::Value logits, const Sample &sample);
  struct Rotation;
  mlir::FailureOr<Rotation> rotationOf(lm::AttentionOp op);
  /// What the kernels take that rotate queries and keys and write the cache.
  llvm::SmallVector<mlir::Value> rotationArguments(lm::AttentionOp op, Rotation &rotation);
  void launchRotary(lm::AttentionOp op, Rotation &rotation);
  /// Whether rows that are in the cache have attention as if they were the only ones of their sequences: SPIR-V has no
  /// other, since Intel's compiler for processors takes more than a minute for one that only reads the cache.
  bool rotatesAgain() const;
  /// Of rows that are rotated, and in the cache.
  void launchPromptAttention(lm::AttentionOp op, mlir::Value query);
  /// With the rotation, where there is one row, or `rotatesAgain`.
  void launchDecodeAttention(lm::AttentionOp op, Rotation &rotation);
  /// Where that does not merge the splits itself; `splits` are values, states and positions.
  void launchMerge(lm::AttentionOp op, const DecodeAttention &attention, mlir::ValueRange splits,
                   mlir::ValueRange results);

  /// The kernel that multiplies `columns` rows by the weights of a matmul: with the norm or the quantization before it
  /// and the quantization behind it, where they are in its group and it can take them over.
  mlir::FailureOr<Matvec> matvecOf(dq::MatmulOp op, int64_t columns, bool more = false);
  void launchMatvec(dq::MatmulOp op, const Matvec &matvec);
  /// The kernels of any number of rows: on tensor cores where there are, else those of a few rows for each few; for
  /// SPIR-V those of one row for each, which its drivers compile fastest.
  mlir::LogicalResult launchAnyRows(dq::MatmulOp op);
  /// The kernel of any number of rows on tensor cores.
  mlir::LogicalResult launchPrompt(dq::MatmulOp op);
  /// Splits a matmul's rows, which are of f32: addresses of their halves and scales.
  llvm::SmallVector<mlir::Value> launchSplit(dq::MatmulOp op);
  /// What makes a matmul's rows, if it belongs to its group and nothing else reads it.
  mlir::Operation *prologueOf(dq::MatmulOp op);
  /// Whether the kernel of a matmul makes what this norm or quantization gives.
  mlir::FailureOr<bool> isTakenByMatmul(mlir::Operation *op);
  /// The quantization of an op's only result, if it belongs to its group and nothing else reads the result.
  dq::QuantizeOp epilogueOf(mlir::Operation *op);
  /// Addresses of rows in the form that they have: one, or those of codes, scales and sums.
  llvm::SmallVector<mlir::Value> rowsAt(mlir::Value value);

  mlir::func::FuncOp entry;
  mlir::gpu::GPUModuleOp kernels;
  const GpuTarget &target;
  HostFunction host;
  llvm::SmallPtrSet<mlir::Operation *, 8> done; ///< by kernels of other ops
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_GPU_LAUNCHLOWERING_H

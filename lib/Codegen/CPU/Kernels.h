// The kernels of the CPU back end: each function emits one private function into the module and names its arguments.
// All pointers are `!llvm.ptr`, all sizes i64; `call` is the QuernCall. Work is split over the call's threads as each
// comment says; nothing but attention meets a barrier.
#ifndef QUERN_LIB_CODEGEN_CPU_KERNELS_H
#define QUERN_LIB_CODEGEN_CPU_KERNELS_H

#include "lib/Codegen/Common/Emitter.h"
#include "lib/Codegen/Common/RowKind.h"
#include "quern/Codegen/CacheLayout.h"
#include "quern/Codegen/PanelLayout.h"
#include "quern/Codegen/Target.h"

namespace quern::codegen {

/// What a matmul does with a finished element before it is stored.
enum class Epilogue { None, Bias, Residual, Swiglu };
llvm::StringRef epilogueName(Epilogue epilogue);

/// (call, x, xStride, w, panelBytes, aux, auxStride, y, yStride, T, N, K, counters, counterStride):
/// y[t, n] = sum_k x[t, k] w[n, k] (+ aux). K is the padded one; strides in bytes. aux: the bias (stride 0), the
/// residual, or silu's argument. Threads take blocks of panels; an i64 for each thread counts those taken of its share,
/// zero before the call. Stores whole vectors of 16 where they lie below N, else masks. With `zeros` the rows of x are
/// `!dq.act8<row>`, and one more argument, sums, has the sum of each row of w as f32, filled up to 16.
mlir::func::FuncOp emitMatmul(mlir::ModuleOp module, llvm::StringRef name, const PanelLayout &layout,
                              Epilogue epilogue, bool zeros, const Target &target);

/// (call, ids, w, panelBytes, y, yStride, T, K): y[t, :] = row ids[t] of w, as f32. K is the padded one: rows of y have
/// room for it. Split by rows.
mlir::func::FuncOp emitEmbedding(mlir::ModuleOp module, llvm::StringRef name, const PanelLayout &layout);

/// (call, x, xStride, gain, y, yStride, T, H): root-mean-square norm into rows of `kind`. Split by rows.
mlir::func::FuncOp emitRmsNorm(mlir::ModuleOp module, llvm::StringRef name, double eps, RowKind kind);
/// The same of each head; its size is a multiple of 16.
mlir::func::FuncOp emitHeadNorm(mlir::ModuleOp module, llvm::StringRef name, double eps);

/// (call, x, xStride, y, yStride, T, K): rows of `kind` of f32 rows. Split by rows.
mlir::func::FuncOp emitQuantize(mlir::ModuleOp module, llvm::StringRef name, RowKind kind);

/// (call, x, xStride, y, yStride, T, K): f32 rows of `!dq.act8<row>` rows. Split by rows.
mlir::func::FuncOp emitDequantizeRows(mlir::ModuleOp module, llvm::StringRef name);

/// (call, gate, gateStride, up, upStride, y, yStride, T, F): silu(gate) * up. Split by rows.
mlir::func::FuncOp emitSwiglu(mlir::ModuleOp module, llvm::StringRef name);

/// (call, x, xStride, r, rStride, y, yStride, T, H): y = x + r. Split by rows.
mlir::func::FuncOp emitAdd(mlir::ModuleOp module, llvm::StringRef name);

/// (call, x, xStride, columns, y, yStride, T, K): y[t, k] = x[t, columns[k]]. Split by rows.
mlir::func::FuncOp emitGatherColumns(mlir::ModuleOp module, llvm::StringRef name);

/// (call, x, xStride, rows, y, yStride, O, H): y[o, :] = x[rows[o], :]. Split by rows of y.
mlir::func::FuncOp emitGatherRows(mlir::ModuleOp module, llvm::StringRef name);

/// (call, positions, factors, y, yStride, T): cosines and sines of `headDim / 2` angles. Split by rows. `factors` is
/// ignored unless `scaled`.
mlir::func::FuncOp emitRotaryAngles(mlir::ModuleOp module, llvm::StringRef name, double theta, int64_t headDim,
                                    bool scaled);

/// (call, x, xStride, angles, aStride, y, yStride, T, heads). Split by rows.
mlir::func::FuncOp emitRotary(mlir::ModuleOp module, llvm::StringRef name, int64_t headDim, bool interleaved);

/// (call, k, kStride, v, vStride, positions, caches, capacities, T, layer): stores keys and values. Split by rows.
mlir::func::FuncOp emitCacheAppend(mlir::ModuleOp module, llvm::StringRef name, const CacheLayout &layout,
                                   const Target &target);

/// Digits of the whole numbers that queries and weights become over a q8_0 cache.
inline constexpr int64_t kByteAttentionDigits = 2;

/// What an attention kernel is made for.
struct AttentionShape {
  int64_t heads, kvHeads, headDim;
  double scale;
  CacheKind cache = CacheKind::F16;

  CacheLayout layout() const { return {cache, kvHeads, headDim}; }
};
/// (call, q, qStride, positions, caches, capacities, y, yStride, T, layer, scratch). Split by rows, heads and, where
/// these are few, keys; then threads meet in a barrier within. `scratch` is the threads' working memory of
/// attentionScratchBytes each.
mlir::func::FuncOp emitAttention(mlir::ModuleOp module, llvm::StringRef name, const AttentionShape &shape,
                                 const Target &target);
/// Bytes of working memory that one thread of emitAttention needs.
int64_t attentionScratchBytes(const AttentionShape &shape, const Target &target);

/// x / (1 + exp(-x)).
mlir::Value emitSilu(Emitter &e, mlir::Value x);
/// Up to 32 numbers with one scale: max |x| / limit, codes x / scale to the nearest, ties to even; zeros if it is zero.
struct QuantizedGroup {
  mlir::Value scale;                      ///< f32
  llvm::SmallVector<mlir::Value, 2> codes; ///< vectors of i32
};
/// `x`: one or two vectors of 16.
QuantizedGroup emitQuantizeGroup(Emitter &e, llvm::ArrayRef<mlir::Value> x, double limit);
/// Writes one unit of 64 activations (four vectors of 16) as act8 at `out` (see ActivationLayout.h).
void emitQuantizeUnit(Emitter &e, llvm::ArrayRef<mlir::Value> x, mlir::Value out);

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_CPU_KERNELS_H

#ifndef QUERN_CODEGEN_PASSES_H
#define QUERN_CODEGEN_PASSES_H

#include "dialects/DQ/DQ.h"
#include "dialects/LM/LM.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace mlir {
class RewritePatternSet;
} // namespace mlir

namespace quern::codegen {
struct Target;

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "lib/Codegen/Passes.h.inc"

/// Attributes by which the passes hand their results on (see lib/Codegen/Passes.td).
inline constexpr char kPackedOffset[] = "dq.packed_offset";
inline constexpr char kPackedBytes[] = "dq.packed_bytes";
/// Where the sums of a weight's rows lie, f32, filled up to 16; only of weights that rows with zero points are
/// multiplied by. They count among its packed bytes.
inline constexpr char kPackedSums[] = "dq.packed_sums";
inline constexpr char kArenaOffsets[] = "lm.arena_offsets";
/// A number: ops that have the same one may run at once.
inline constexpr char kGroup[] = "lm.group";
inline constexpr char kArenaSizes[] = "lm.arena_sizes";
inline constexpr char kArenaPerThread[] = "lm.arena_per_thread";
/// On a profiled entry: for each kernel call in order, its kernel, op and name, which dynamic size its rows are, and
/// the bytes and operations it needs, as linear functions of rows and keys.
inline constexpr char kOpTable[] = "cpu.op_table";
inline constexpr char kProfiledSuffix[] = "_profiled";

/// The patterns of `cpu-lower-target-ops` for one target; dq.dot is lowered apart from them, chain by chain.
void populateLowerTargetOpsPatterns(mlir::RewritePatternSet &patterns, const Target &target);

} // namespace quern::codegen

#endif // QUERN_CODEGEN_PASSES_H

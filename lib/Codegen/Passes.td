// Passes of the CPU back end.
#ifndef QUERN_CODEGEN_PASSES_TD
#define QUERN_CODEGEN_PASSES_TD

include "mlir/Pass/PassBase.td"

def PackWeights : Pass<"dq-pack-weights", "::mlir::ModuleOp"> {
  let summary = "give every used weight its place and layout in the package";
  let description = [{
    References to matrices get the panel layout as their encoding; vectors are kept as f32, filled up with zeros to 16
    elements. A `dq.relayout` to just that folds away; one to any other layout is an error, as is a reference that asks
    for another. Each used `dq.source` is given its place in the weights section: `dq.packed_offset` and `dq.packed_bytes`. A source used twice, as a tied embedding, is
    packed once. Sources that nothing reads are dropped. Afterwards no use reads a stored block layout, and no
    `dq.relayout` is left.

    With `gpu` the places are those in the section of GPU kernels: matrices in the layout of `GpuLayout.h`, vectors as they
    are, each at a multiple of 256 bytes. References keep their types.

    ```mlir
    dq.source @w : tensor<896x896x!q5_0> in 0 at 64 bytes 551936
    %w = dq.weight @w : tensor<896x896x!q5_0>
    // becomes
    dq.source @w : tensor<896x896x!q5_0> in 0 at 64 bytes 551936 {dq.packed_bytes = 551936 : i64, dq.packed_offset = 0 : i64}
    %w = dq.weight @w : tensor<896x896x!q5_0, #dq.panels<rows = 16>>
    ```
  }];
  let options = [Option<"gpu", "gpu", "bool", "false", "lay weights out for GPU kernels">];
  let dependentDialects = ["::quern::dq::DQDialect"];
}

def PlanMemory : Pass<"lm-plan-memory", "::mlir::ModuleOp"> {
  let summary = "assign every intermediate tensor its place in the arena";
  let description = [{
    A tensor whose first size is the dynamic size s takes `offset * capacity(s)` bytes into the arena's part for s;
    tensors that are never alive together share places, and a result takes over its operand's place where the kernel
    works in place (residual of a matmul, rotary embedding, addition). Sets `lm.arena_offsets` on each op (bytes per
    row, one for each result, -1 for what the driver holds) and `lm.arena_sizes` on the function (bytes per row for each dynamic size).

    Ops with the same number as `lm.group`, which stand together, may become one kernel: what any of them reads or writes
    is alive while all of them run, and a place is taken over only where no other op of the group reads it.
  }];
  let options = [Option<"gpu", "gpu", "bool", "false", "rows take what GPU kernels want, whole 256 bytes">];
  let dependentDialects = ["::quern::lm::LMDialect"];
  let statistics = [Statistic<"inPlace", "in-place", "results that took over an operand's place">];
}

def LowerToKernels : Pass<"cpu-lower-to-kernels", "::mlir::ModuleOp"> {
  let summary = "turn the entry function into calls of outlined kernels on planned memory";
  let description = [{
    Each op becomes calls of private kernels, made once for each (format family, epilogue) or shape of attention; a
    barrier stands exactly where a call touches data that another thread may have written or still reads. The entry
    then takes one pointer, the QuernCall. Needs `dq-pack-weights` and `lm-plan-memory`. Afterwards no tensor and no
    graph op is left.

    An entry that uses a key-value cache is lowered once for each kind of cache (`CacheLayout.h`): under its own name for
    f16, under its name and `_q8_0` for bytes or `_f32` for f32; all but attention is shared.

    With `profiled` each entry has a second one that calls the same kernels, in which all threads meet after each kernel and
    then call the QuernCall's `mark` with its number. It carries `cpu.op_table`, an array with a dictionary for each
    kernel call: `kernel`, `op`, `name` (of the source), `size` (index of the dynamic size that its rows are), and what it
    has to do: `weight_bytes` read once, `weight_bytes_per_row`, `activation_bytes_per_row` read and written,
    `cache_bytes_per_key` for each position that any row looks at, `operations_per_row`, `operations_per_pair` of a row
    and a key, and the `unit` that these run on, `dot`, `pairs` (of bf16) or `fma`.

    ```mlir
    %y = dq.matmul %x8, [%w] : ...
    // becomes
    call @matmul_c4z8_half_store(%call, %x, %c1472, %w, ...)
    ```
  }];
  let options = [Option<"targetName", "target", "std::string", "\"x86-64-avx512vnni\"", "name of the CPU target">,
                 Option<"profiled", "profiled", "bool", "false",
                        "also emit the entry with a mark after each kernel, under its name and \"_profiled\"">];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect", "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
                           "::mlir::vector::VectorDialect", "::mlir::math::MathDialect", "::mlir::scf::SCFDialect",
                           "::quern::dq::DQDialect"];
}

def AddProbes : Pass<"cpu-add-probes", "::mlir::ModuleOp"> {
  let summary = "add entries that measure read bandwidth and arithmetic peaks";
  let description = [{
    Adds public functions of one argument, the QuernCall, out of the same vector operations as the kernels, so that each
    target is measured by what it can do: `probe_read_plain`, `probe_read_prefetch` and `probe_read_streams` (four places
    at once, with prefetches) add up this thread's share of the weights; `probe_dot`, `probe_pairs` and `probe_fma` keep as many
    accumulators in registers as the target says. Of the call they read `thread`, `threads`, `weights`, two `sizes` (the
    number of rounds, and the bytes of the weights) and one buffer of 128 bytes for each thread, where they store the
    bytes read or the operations done as i64, and at byte 64 a sum that nobody needs. A round is one pass over the
    weights, or some thousand operations.

    ```mlir
    func.func @probe_dot(%call: !llvm.ptr) // appended to the module
    ```
  }];
  let options = [Option<"targetName", "target", "std::string", "\"x86-64-avx512vnni\"", "name of the CPU target">];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect", "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
                           "::mlir::vector::VectorDialect", "::mlir::math::MathDialect", "::mlir::scf::SCFDialect",
                           "::quern::dq::DQDialect"];
}

def LowerTargetOps : Pass<"cpu-lower-target-ops"> {
  let summary = "turn dot products, lookups, half conversions and fused multiply-adds into what the target has";
  let description = [{
    `dq.dot` becomes `vpdpbusd`, or `pmaddubsw` and `pmaddwd` where pairs of products fit 16 bits (products of small codes
    are added up in 16 bits over several dots of a chain), or `pmaddwd` on widened bytes; `dq.dot_pairs` becomes `vdpbf16ps`, or two `math.fma`;
    `dq.lookup` becomes `pshufb`; `math.exp` a polynomial;
    on targets without them, f16 conversions become integer operations and `math.fma` a multiply and an add. Afterwards
    no `dq` op is left, and nothing that LLVM would turn into a library call.

    ```mlir
    %1 = dq.dot %0, %u, %s : vector<16xi32>, vector<64xi8>
    // with target=x86-64-avx512vnni
    %1 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%0, %u, %s) : ...
    ```
  }];
  let options = [Option<"targetName", "target", "std::string", "\"x86-64-avx512vnni\"", "name of the CPU target">];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect", "::mlir::arith::ArithDialect",
                           "::mlir::vector::VectorDialect", "::mlir::math::MathDialect"];
}

def GraphEntry : Pass<"cpu-graph-entry", "::mlir::ModuleOp"> {
  let summary = "give a function on buffers the interface of the kernel ABI";
  let description = [{
    For graphs that are no language models. Each public function of memrefs becomes an entry of one argument, the
    QuernCall: arguments come from the call's buffers or the package's weights, as their attributes `graph.buffer`,
    `graph.weight` and `graph.sizes` say; results are stored as address and shape in the call's records; buffers are released after their last use; `memref.alloc`,
    `memref.dealloc` and `cf.assert` call the functions `allocate`, `release` and `fail` of the call.

    ```mlir
    func.func @graph(%x: memref<?x4xf32> {graph.buffer = 0 : i64, graph.sizes = array<i64: 0, -1>}) -> memref<?xf32>
    // becomes
    func.func @graph(%call: !llvm.ptr)
    ```
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect", "::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect",
                           "::mlir::scf::SCFDialect"];
}

def FuseElementwise : Pass<"cpu-fuse-elementwise"> {
  let summary = "fuse elementwise linalg ops, but not into products of matrices";
  let description = [{
    Upstream's patterns for fusion of `linalg.generic` ops on tensors, except where one of the two is a product of
    matrices: it reads each element of its factors many times, and would compute it as often.
  }];
  let dependentDialects = ["::mlir::affine::AffineDialect", "::mlir::linalg::LinalgDialect",
                           "::mlir::tensor::TensorDialect"];
}

def TileMatmuls : Pass<"cpu-tile-matmuls"> {
  let summary = "turn products of matrices on buffers into loops over tiles that stay in registers";
  let description = [{
    A `linalg.generic` on buffers that adds products up, `[..., m, k]` times `[..., k, n]` of f32 or f64, becomes loops
    over tiles of 4 rows and 32 columns whose sums are carried as vectors through the loop over k. The rows and columns
    that fill no tile stay `linalg.generic` ops. Each sum is still folded in ascending k, product and sum rounded
    separately.

    ```mlir
    linalg.generic ... ins(%x, %y : memref<?x?xf32>, memref<?x?xf32>) outs(%out : memref<?x?xf32>)
    // becomes
    scf.for %column ... { scf.for %row ... {
      %sums:4 = scf.for %k = ... iter_args(...) -> (vector<32xf32>, ...) { ... }
      vector.store %sums#0, %out[%row, %column] ...
    } }
    linalg.generic ... // columns beyond the last tile
    linalg.generic ... // rows beyond the last tile
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
                           "::mlir::vector::VectorDialect"];
}

def CopiesToLoops : Pass<"cpu-copies-to-loops"> {
  let summary = "turn copies of buffers into linalg ops";
  let description = [{
    `memref.copy` becomes an elementwise `linalg.generic`, since its lowering calls a library where a buffer is strided.
  }];
  let dependentDialects = ["::mlir::linalg::LinalgDialect"];
}

def ExpandMath : Pass<"cpu-expand-math"> {
  let summary = "expand mathematical functions of f32 into arithmetic";
  let description = [{
    `math.exp`, `math.log`, `math.tanh`, `math.erf` and the other functions that are no single instruction become
    upstream's polynomial approximations, or are expressed by such functions, so that the image calls no library.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect", "::mlir::vector::VectorDialect"];
}

#endif // QUERN_CODEGEN_PASSES_TD

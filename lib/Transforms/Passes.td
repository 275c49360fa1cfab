// Graph passes: from the model graph as imported to fused quantized ops.
#ifndef QUERN_TRANSFORMS_PASSES_TD
#define QUERN_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def AssignFormats : Pass<"dq-assign-formats", "::mlir::ModuleOp"> {
  let summary = "give weights other element types, by a standard mix or by a recipe";
  let description = [{
    ```mlir
    dq.source @blk.0.attn_q.weight : tensor<1536x1536xbf16> in 0 at 96 bytes 4718592
    %w = dq.weight @blk.0.attn_q.weight : tensor<1536x1536xbf16>
    %y = lm.linear %x, %w : ...
    // with mix=Q5_K_M becomes
    dq.source @blk.0.attn_q.weight : tensor<1536x1536x!q5_K> from tensor<1536x1536xbf16> in 0 at 96 bytes 4718592
    %w = dq.weight @blk.0.attn_q.weight : tensor<1536x1536x!q5_K>
    %f = dq.dequantize %w : tensor<1536x1536x!q5_K> -> tensor<1536x1536xf32>
    %y = lm.linear %x, %f : ...
    ```
    The module is then that of a file that was quantized first. No weight is read here: the packer quantizes rows as it
    streams them. An error are names or types in a recipe that do not exist, blocks that do not divide a row, importance
    for another number of columns, types without a quantizer, and weights that are quantized already.
  }];
  let options = [Option<"mix", "mix", "std::string", [{""}], "name of a standard mix, such as Q5_K_M">,
                 Option<"recipe", "recipe", "std::string", [{""}], "path of a recipe: a JSON object from names to types">,
                 Option<"importance", "importance", "std::string", [{""}],
                        "path of a file that tells how much each column matters">,
                 Option<"allowRequantize", "allow-requantize", "bool", "false",
                        "also change weights that are quantized already">];
  let statistics = [Statistic<"assigned", "assigned", "weights that got another type">];
  let dependentDialects = ["::quern::dq::DQDialect"];
}

def ConvertQuant : Pass<"dq-convert-quant", "::mlir::ModuleOp"> {
  let summary = "turn constants of upstream's quant types into weights in block formats";
  let description = [{
    ```mlir
    %c = arith.constant dense_resource<w> : tensor<64x64xi8>
    %q = quant.scast %c : tensor<64x64xi8> to tensor<64x64x!quant.uniform<i8:f32, 0.0078125:3>>
    %f = quant.dcast %q : tensor<64x64x!quant.uniform<i8:f32, 0.0078125:3>> to tensor<64x64xf32>
    // becomes
    dq.source @w : tensor<64x64x!i8_f16> data dense_resource<w_1> : tensor<4352xi8>
    %w = dq.weight @w : tensor<64x64x!i8_f16>
    %f = dq.dequantize %w : tensor<64x64x!i8_f16> -> tensor<64x64xf32>
    ```
    Nothing is rounded: each weight is stored as its integer less its zero point, in the fewest bits (4, 5, 6 or 8) that
    hold them all, in blocks of 32 with the scale that upstream's type gives them, as f16 where all scales are f16
    numbers, else as f32. Per-tensor, per-axis and sub-channel types are converted, of matrices whose scales span
    multiples of 32 along the last dimension, that express f32, and whose integers less zero points fit a signed byte.
    Anything else of the `quant` dialect is an error: after this pass none of it is left.
  }];
  let dependentDialects = ["::quern::dq::DQDialect", "::mlir::quant::QuantDialect"];
}

def FuseDequantMatmul : Pass<"dq-fuse-dequant-matmul"> {
  let summary = "read weights in their formats instead of dequantizing them";
  let description = [{
    ```mlir
    %f = dq.dequantize %w : tensor<896x896x!q5_0> -> tensor<896x896xf32>
    %y = lm.linear %x, %f : ...
    // becomes
    %x8 = dq.quantize %x : tensor<?x896xf32> -> tensor<?x896x!dq.act8<32>>
    %y = dq.matmul %x8, [%w] : ...
    ```
    Rows that the graph itself rounds keep its way of doing so:
    ```mlir
    %q = dq.quantize %x : tensor<?x896xf32> -> tensor<?x896x!dq.act8<row>>
    %r = dq.dequantize %q : tensor<?x896x!dq.act8<row>> -> tensor<?x896xf32>
    %y = lm.linear %r, %f : ...
    // becomes
    %q = dq.quantize %x : tensor<?x896xf32> -> tensor<?x896x!dq.act8<row>>
    %y = dq.matmul %q, [%w] : ...
    ```
    A linear layer on f32, f16 or bf16 weights becomes a `dq.matmul` of f32 rows; an embedding reads its table as
    stored. Common subexpression elimination then leaves one `dq.quantize` for all matmuls that share an input.
    Afterwards no `lm.linear` is left, and no `dq.dequantize` of a weight that only such ops read.
  }];
  let dependentDialects = ["::quern::dq::DQDialect"];
}

def MergeMatmuls : Pass<"dq-merge-matmuls"> {
  let summary = "make one matmul of all that multiply the same rows";
  let description = [{
    ```mlir
    %q = dq.matmul %x8, [%wq] bias(%bq) : ...
    %k = dq.matmul %x8, [%wk] bias(%bk) : ...
    // becomes
    %q, %k = dq.matmul %x8, [%wq, %wk] bias(%bq, %bk) : ...
    ```
    Segments keep their own formats. Matmuls with a residual or an activation, and mixtures of with and without bias,
    are left alone.
  }];
  let dependentDialects = ["::quern::dq::DQDialect"];
  let statistics = [Statistic<"merged", "merged", "matmuls that became a segment of another">];
}

def FuseEpilogue : Pass<"dq-fuse-epilogue"> {
  let summary = "add residuals and apply gates where a matmul stores its result";
  let description = [{
    ```mlir
    %y = dq.matmul %x8, [%w] : ...
    %z = arith.addf %r, %y : tensor<?x896xf32>
    // becomes
    %z = dq.matmul %x8, [%w] residual(%r : tensor<?x896xf32>) : ...

    %g, %u = dq.matmul %x8, [%wg, %wu] : ...
    %h = lm.swiglu %g, %u : tensor<?x4864xf32> -> tensor<?x4864xf32>
    // becomes
    %h = dq.matmul swiglu %x8, [%wg, %wu] : ...
    ```
    Only where the matmul's result has no other use.
  }];
  let dependentDialects = ["::quern::dq::DQDialect"];
}

def FuseNormQuantize : Pass<"lm-fuse-norm-quantize"> {
  let summary = "quantize a normalized row as it is made";
  let description = [{
    ```mlir
    %h = lm.rms_norm %x, %g {...} : ... -> tensor<?x896xf32>
    %h8 = dq.quantize %h : tensor<?x896xf32> -> tensor<?x896x!dq.act8<32>>
    // becomes
    %h8 = lm.rms_norm %x, %g {...} : ... -> tensor<?x896x!dq.act8<32>>
    ```
    Where the f32 row has other readers, the norm is computed once more for them.
  }];
  let dependentDialects = ["::quern::lm::LMDialect"];
}

def LintMatmuls : Pass<"dq-lint-matmuls"> {
  let summary = "report quantized weights that are multiplied as floats";
  let description = [{
    Changes nothing. A `dq.matmul` or `lm.linear` whose weight is a `dq.dequantize` of a block format reads four bytes a
    weight instead of one or less and does without byte products; that is a missed fusion, and would pass unseen.

    ```mlir
    %f = dq.dequantize %w : tensor<896x896x!q5_0> -> tensor<896x896xf32>
    %y = lm.linear %x, %f : ... // warning: slow path: a weight in format q5_0 is dequantized to f32 before ...
    ```
  }];
  let options = [Option<"forbid", "forbid", "bool", "false", "fail instead of warning">];
  let statistics = [Statistic<"slow", "slow", "weights that are multiplied as floats">];
}

#endif // QUERN_TRANSFORMS_PASSES_TD

#ifndef QUERN_LM_OPS_TD
#define QUERN_LM_OPS_TD

include "LM/LM.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

// Activations: f32, or quantized at run time (`!dq.act8`, bf16) where a later pass fused the quantization.
def LM_Rows : 2DTensorOf<[AnyType]>;
def LM_FloatRows : 2DTensorOf<[F32]>;
def LM_Vector : 1DTensorOf<[F32]>;
def LM_Ids : 1DTensorOf<[I32]>;
// Weights: [N, K]; f32, f16, bf16 or a block format of the `dq` dialect.
def LM_Weight : 2DTensorOf<[AnyType]>;

def LM_EmbeddingOp : LM_Op<"embedding", [Pure]> {
  let summary = "look up a row of the table for each token id";
  let description = [{
    `out[t, :] = table[ids[t], :]`, widened to f32. Ids outside `[0, V)` are undefined; drivers check them.

    Constraints: (E1) the table's K is the result's width; (E2) ids and result have the same number of rows.

    ```mlir
    %x = lm.embedding %ids, %table : tensor<?xi32>, tensor<151936x896x!q8_0> -> tensor<?x896xf32>
    ```
  }];
  let arguments = (ins LM_Ids:$ids, LM_Weight:$table);
  let results = (outs LM_FloatRows:$out);
  let assemblyFormat = "$ids `,` $table attr-dict `:` type($ids) `,` type($table) `->` type($out)";
  let hasVerifier = 1;
}

def LM_LinearOp : LM_Op<"linear", [Pure]> {
  let summary = "multiply rows by a transposed weight, and add a bias";
  let description = [{
    `out[t, n] = sum_k x[t, k] * weight[n, k] + bias[n]`.

    Constraints: (L1) weight is `[N, K]` with K the width of x; (L2) the result is `[T, N]`; (L3) bias has N elements.

    ```mlir
    %q = lm.linear %h, %w bias(%b : tensor<896xf32>) : tensor<?x896xf32>, tensor<896x896xf32> -> tensor<?x896xf32>
    ```
  }];
  let arguments = (ins LM_FloatRows:$x, LM_Weight:$weight, Optional<LM_Vector>:$bias);
  let results = (outs LM_FloatRows:$out);
  let assemblyFormat = [{
    $x `,` $weight (`bias` `(` $bias^ `:` type($bias) `)`)? attr-dict `:` type($x) `,` type($weight) `->` type($out)
  }];
  let hasVerifier = 1;
}

def LM_RmsNormOp : LM_Op<"rms_norm", [Pure]> {
  let summary = "scale each row, or each head of it, to unit root mean square, times a gain";
  let description = [{
    `out[t, i] = x[t, i] / sqrt(mean_i(x[t, i]^2) + eps) * gain[i]`. With a result of `!dq.act8` or bf16 elements the
    normalized row is also quantized (see `dq.quantize`). A gain that is shorter than a row is that of a head: each D
    consecutive elements are normalized on their own, where D is the gain's length.

    Constraints: (R1) the gain's length divides a row's; (R2) result and x have the same shape; (R3) eps is positive;
    (R4) the result's elements are f32, bf16 or `!dq.act8`, and f32 if heads are normalized.

    ```mlir
    %h = lm.rms_norm %x, %gain {eps = 1.0e-6 : f32} : tensor<?x896xf32>, tensor<896xf32> -> tensor<?x896xf32>
    %q = lm.rms_norm %p, %head {eps = 1.0e-6 : f32} : tensor<?x2048xf32>, tensor<128xf32> -> tensor<?x2048xf32>
    ```
  }];
  let arguments = (ins LM_FloatRows:$x, LM_Vector:$gain, F32Attr:$eps);
  let results = (outs LM_Rows:$out);
  let assemblyFormat = "$x `,` $gain attr-dict `:` type($x) `,` type($gain) `->` type($out)";
  let hasVerifier = 1;
}

def LM_RotaryAnglesOp : LM_Op<"rotary_angles", [Pure]> {
  let summary = "cosines and sines of the rotary embedding for each row's position";
  let description = [{
    With `f[i] = theta^(-2i/D) / factors[i]` (factors 1 if absent) for `i < D/2`:
    `out[t, i] = cos(positions[t] * f[i])` and `out[t, D/2 + i] = sin(positions[t] * f[i])`. The angle is reduced in
    double precision, so that it stays accurate at position 131,071.

    Constraints: (A1) D is even and positive; (A2) theta is positive; (A3) factors has D/2 elements.

    ```mlir
    %a = lm.rotary_angles %positions {theta = 1.0e6 : f64} : tensor<?xi32> -> tensor<?x64xf32>
    ```
  }];
  let arguments = (ins LM_Ids:$positions, Optional<LM_Vector>:$factors, F64Attr:$theta);
  let results = (outs LM_FloatRows:$out);
  let assemblyFormat = [{
    $positions (`factors` `(` $factors^ `:` type($factors) `)`)? attr-dict `:` type($positions) `->` type($out)
  }];
  let hasVerifier = 1;
}

def LM_RotaryOp : LM_Op<"rotary", [Pure, AllTypesMatch<["x", "out"]>]> {
  let summary = "rotate the pairs of each head by the row's angles";
  let description = [{
    For each head of D elements and `i < D/2`, with `c = angles[t, i]`, `s = angles[t, D/2 + i]`, and the pair (a, b)
    being elements (i, i + D/2) in style `half`, (2i, 2i + 1) in style `interleaved`:
    `(a, b) -> (a*c - b*s, b*c + a*s)`.

    Constraints: (O1) the width of x is heads times D, D the width of angles; (O2) result and x have the same type.

    ```mlir
    %r = lm.rotary half %q, %angles : tensor<?x896xf32>, tensor<?x64xf32>
    ```
  }];
  let arguments = (ins LM_RotaryStyleAttr:$style, LM_FloatRows:$x, LM_FloatRows:$angles);
  let results = (outs LM_FloatRows:$out);
  let assemblyFormat = "$style $x `,` $angles attr-dict `:` type($x) `,` type($angles)";
  let hasVerifier = 1;
}

def LM_AttentionOp : LM_Op<"attention", [MemoryEffects<[MemRead, MemWrite]>, AllTypesMatch<["query", "out"]>,
                                             AllTypesMatch<["key", "value"]>]> {
  let summary = "append keys and values to the caches, then attend causally";
  let description = [{
    Row t belongs to the sequence whose cache it names, at position `p = positions[t]`. First every row's key and value
    are stored in its cache at (layer, p). Then, for query head a with key-value head `g = a / (A/G)`:

    ```
    s[j]   = scale * dot(query[t, a, :], K[g, j, :])            for j <= p
    out[t, a, :] = sum_j softmax(s)[j] * V[g, j, :]
    ```

    Rows of one sequence must be given in ascending positions without a gap after what its cache holds.

    Constraints: (T1) widths: query and out A*D, key and value G*D, with D and G the cache's; (T2) G divides A;
    (T3) layer is one of the cache's layers.

    ```mlir
    %o = lm.attention %q, %k, %v at %positions in %cache {layer = 3, scale = 0.125 : f32}
      : tensor<?x896xf32>, tensor<?x128xf32>, tensor<?xi32>, !lm.cache<layers = 24, kv_heads = 2, head_dim = 64>
    ```
  }];
  let arguments = (ins LM_FloatRows:$query, LM_FloatRows:$key, LM_FloatRows:$value, LM_Ids:$positions,
                       LM_CacheType:$cache, I64Attr:$layer, F32Attr:$scale);
  let results = (outs LM_FloatRows:$out);
  let assemblyFormat = [{
    $query `,` $key `,` $value `at` $positions `in` $cache attr-dict `:` type($query) `,` type($key) `,`
    type($positions) `,` type($cache)
  }];
  let extraClassDeclaration = [{
    int64_t getHeads() { return getQuery().getType().getDimSize(1) / getCache().getType().getHeadDim(); }
  }];
  let builders = [OpBuilder<(ins "::mlir::Value":$query, "::mlir::Value":$key, "::mlir::Value":$value,
                                 "::mlir::Value":$positions, "::mlir::Value":$cache, "int64_t":$layer,
                                 "float":$scale)>];
  let hasVerifier = 1;
}

def LM_SwigluOp : LM_Op<"swiglu", [Pure, AllTypesMatch<["gate", "up"]>]> {
  let summary = "SiLU of the gate, times up";
  let description = [{
    `out[t, i] = gate[t, i] / (1 + exp(-gate[t, i])) * up[t, i]`. Constraint (S1): all three have the same
    shape. With a
    result of `!dq.act8` or bf16 elements the product is also quantized (see `dq.quantize`).

    ```mlir
    %h = lm.swiglu %gate, %up : tensor<?x4864xf32> -> tensor<?x4864xf32>
    ```
  }];
  let arguments = (ins LM_FloatRows:$gate, LM_FloatRows:$up);
  let results = (outs LM_Rows:$out);
  let assemblyFormat = "$gate `,` $up attr-dict `:` type($gate) `->` type($out)";
  let hasVerifier = 1;
}

def LM_GatherColumnsOp : LM_Op<"gather_columns", [Pure]> {
  let summary = "put the columns of rows into another order";
  let description = [{
    `out[t, k] = x[t, columns[k]]`, for weights whose columns are stored in an order of their own (GPTQ's act-order).
    Constraints: (C1) the result's width is the number of columns; (C2) result and x have the same number of rows.
    Columns outside x are undefined.

    ```mlir
    %y = lm.gather_columns %x, %columns : tensor<?x896xf32>, tensor<896xi32> -> tensor<?x896xf32>
    ```
  }];
  let arguments = (ins LM_FloatRows:$x, LM_Ids:$columns);
  let results = (outs LM_FloatRows:$out);
  let assemblyFormat = "$x `,` $columns attr-dict `:` type($x) `,` type($columns) `->` type($out)";
  let hasVerifier = 1;
}

def LM_GatherRowsOp : LM_Op<"gather_rows", [Pure]> {
  let summary = "take some rows";
  let description = [{
    `out[o, :] = x[rows[o], :]`. Constraint (G1): result and x have the same width. Rows outside x are undefined.

    ```mlir
    %last = lm.gather_rows %x, %output_rows : tensor<?x896xf32>, tensor<?xi32> -> tensor<?x896xf32>
    ```
  }];
  let arguments = (ins LM_FloatRows:$x, LM_Ids:$rows);
  let results = (outs LM_FloatRows:$out);
  let assemblyFormat = "$x `,` $rows attr-dict `:` type($x) `,` type($rows) `->` type($out)";
  let hasVerifier = 1;
}

#endif // QUERN_LM_OPS_TD

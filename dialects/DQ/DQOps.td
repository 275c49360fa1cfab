// Ops of the quantization dialect: references to stored weights, run-time quantization, and the matmul that reads
// weights in their formats.
#ifndef QUERN_DQ_OPS_TD
#define QUERN_DQ_OPS_TD

include "DQ/DQTypes.td"
include "DQ/DQAttrs.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class DQ_Op<string mnemonic, list<Trait> traits = []> : Op<DQ_Dialect, mnemonic, traits>;

def DQ_FormatOp : DQ_Op<"format"> {
  let summary = "declare a block format";
  let description = [{
    The content of a format file: each op adds one format to the registry of the context that loads the file.

    ```mlir
    dq.format <q8_0, gguf = 8, block = 32, bytes = 34, group = 32,
      codes = signed [8 bits at 2 + i], scale = f16 at 0>
    ```
  }];
  let arguments = (ins DQ_FormatAttr:$format);
  let assemblyFormat = "$format attr-dict";
}

// [N, K] or [N]; elements f32, f16, bf16 or a block format.
def DQ_Weight : RankedTensorOf<[AnyType]>;
def DQ_Rows : 2DTensorOf<[AnyType]>;
def DQ_FloatRows : 2DTensorOf<[F32]>;
def DQ_Bias : 1DTensorOf<[F32]>;

def DQ_Resource : Attr<CPred<"::llvm::isa<::mlir::DenseResourceElementsAttr>($_self)">, "resource of elements"> {
  let storageType = "::mlir::DenseResourceElementsAttr";
  let returnType = "::mlir::DenseResourceElementsAttr";
  let convertFromStorage = "$_self";
}

def DQ_SourceOp : DQ_Op<"source", [Symbol]> {
  let summary = "a weight that lies in a mapped file, or in a resource beside the IR";
  let description = [{
    Names `bytes` bytes at `offset` of part `part` of the source file, which hold a tensor of `type` row by row. The
    bytes never enter the IR. Weights that no file holds as they are (converted from `quant` types) lie in a resource.

    A weight that is quantized on its way into the package has, after `from`, the type in which it is stored: rows are
    widened to f32 and quantized as the packer reads them. `importance`, if given, says how much errors in each column
    count. `dq-assign-formats` makes such sources.

    Constraints: (S1) the type is a ranked tensor with static shape; (S2) `bytes`, or the resource's length, is what the
    stored type needs; (S3) a block format's rows hold whole blocks; (S4) `data` is a vector of i8; (S5) the type after
    `from` is a matrix of the same shape; (S6) `importance` is a vector of f32, one for each column, and needs `from`.

    ```mlir
    dq.source @"blk.0.attn_q.weight" : tensor<896x896x!q5_0> in 0 at 5947648 bytes 551936
    dq.source @"fc.weight" : tensor<64x64x!i8_f16> data dense_resource<"fc.weight"> : tensor<4352xi8>
    dq.source @"blk.0.attn_k.weight" : tensor<128x896x!q5_K> from tensor<128x896xbf16> in 0 at 96 bytes 229376
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<DQ_Weight>:$type,
                       OptionalAttr<TypeAttrOf<DQ_Weight>>:$stored, OptionalAttr<I64Attr>:$part,
                       OptionalAttr<I64Attr>:$offset, OptionalAttr<I64Attr>:$bytes, OptionalAttr<DQ_Resource>:$data,
                       OptionalAttr<DQ_Resource>:$importance);
  let assemblyFormat = [{
    $sym_name `:` $type (`from` $stored^)? (`in` $part^ `at` $offset `bytes` $bytes) : (`data` $data)?
    (`importance` $importance^)? attr-dict
  }];
  let hasVerifier = 1;
  let builders = [OpBuilder<(ins "::llvm::StringRef":$name, "::mlir::RankedTensorType":$type, "int64_t":$part,
                                 "int64_t":$offset, "int64_t":$bytes)>,
                  OpBuilder<(ins "::llvm::StringRef":$name, "::mlir::RankedTensorType":$type,
                                 "::mlir::DenseResourceElementsAttr":$data)>];
  let extraClassDeclaration = [{
    /// The type in which the bytes lie: that after `from`, or the weight's own.
    ::mlir::RankedTensorType getStoredType();
    /// Bytes of the stored tensor.
    int64_t getByteSize();
    /// Bytes of a tensor of the weight's type, row by row.
    int64_t getTypeBytes();
    /// Bytes `first` to `first + count` of the stored ones, which must be whole rows: the resource's, or those that
    /// `file` gives. Errors do not name the weight.
    ::quern::Result<std::span<const uint8_t>> readBytes(const ::quern::dq::SourceReader &file, int64_t first,
                                                        int64_t count, std::vector<std::byte> &room);
  }];
}

def DQ_WeightOp : DQ_Op<"weight", [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "refer to a weight by its symbol";
  let description = [{
    The value of a `dq.source`. Constraint (W1): the symbol names a `dq.source` of the same type, but for the
    result's encoding: with `#dq.panels`, the value is the weight in the layout that kernels read.

    ```mlir
    %w = dq.weight @"blk.0.attn_q.weight" : tensor<896x896x!q5_0>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$source);
  let results = (outs DQ_Weight:$out);
  let assemblyFormat = "$source attr-dict `:` type($out)";
}

def DQ_RelayoutOp : DQ_Op<"relayout", [Pure]> {
  let summary = "bring a weight into another layout";
  let description = [{
    The same numbers in another arrangement of bytes: the result's encoding says which (`#dq.panels`: 16 rows side by
    side, four consecutive k each). Executed by the packer at compile time, never at run time: `dq-pack-weights` folds
    it into the reference to the weight, and refuses a layout that packing does not give. Constraint (Y1): shape and
    element type are the operand's.

    ```mlir
    %p = dq.relayout %w : tensor<896x896x!q5_0> -> tensor<896x896x!q5_0, #dq.panels<rows = 16>>
    ```
  }];
  let arguments = (ins DQ_Weight:$weight);
  let results = (outs DQ_Weight:$out);
  let assemblyFormat = "$weight attr-dict `:` type($weight) `->` type($out)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def DQ_DequantizeOp : DQ_Op<"dequantize", [Pure]> {
  let summary = "widen a weight, or quantized activations, to f32";
  let description = [{
    `out[n, k] = s[n, g] * t(c[n, k]) - m[n, g]` with the format's rule, each operation rounded to f32; for f16 and
    bf16 elements the exact value. Constraint (D1): the result has the operand's shape, and elements f32.

    ```mlir
    %f = dq.dequantize %w : tensor<896x896x!q5_0> -> tensor<896x896xf32>
    ```
  }];
  let arguments = (ins DQ_Weight:$in);
  let results = (outs RankedTensorOf<[F32]>:$out);
  let assemblyFormat = "$in attr-dict `:` type($in) `->` type($out)";
  let hasVerifier = 1;
}

def DQ_QuantizeOp : DQ_Op<"quantize", [Pure]> {
  let summary = "quantize activations at run time, to bytes by group or by row, or to bf16";
  let description = [{
    For each row and each group of 32 elements, in f32: `d = max|x| / 127`, `q = round_half_even(x * (1/d))` as signed
    bytes (all zero where d is zero), stored with d and the sums of q. A last group that is not whole is filled up with
    zeros. With `!dq.act8<row>` each row gets one scale and one zero point, as ONNX's DynamicQuantizeLinear gives a
    tensor (see the type). With bf16 elements each number is rounded to the nearest, ties to even. Constraint (Q1): the
    result has the operand's shape, and elements `!dq.act8` or bf16.

    ```mlir
    %x8 = dq.quantize %x : tensor<?x896xf32> -> tensor<?x896x!dq.act8<32>>
    %xr = dq.quantize %x : tensor<?x896xf32> -> tensor<?x896x!dq.act8<row>>
    %xb = dq.quantize %x : tensor<?x896xf32> -> tensor<?x896xbf16>
    ```
  }];
  let arguments = (ins DQ_FloatRows:$x);
  let results = (outs DQ_Rows:$out);
  let assemblyFormat = "$x attr-dict `:` type($x) `->` type($out)";
  let hasVerifier = 1;
}

def DQ_Activation : I32EnumAttr<"Activation", "what a matmul does with its products before it stores them", [
    I32EnumAttrCase<"None", 0, "none">,
    I32EnumAttrCase<"Swiglu", 1, "swiglu">]> {
  let cppNamespace = "::quern::dq";
  let genSpecializedAttr = 0;
}
def DQ_ActivationAttr : EnumAttr<DQ_Dialect, DQ_Activation, "activation"> {
  let assemblyFormat = "$value";
}

def DQ_MatmulOp : DQ_Op<"matmul", [Pure, AttrSizedOperandSegments]> {
  let summary = "multiply rows by the transposes of weight segments, each in its own format";
  let description = [{
    For each segment i: `y_i[t, n] = sum_k x[t, k] * w_i[n, k]`, then the epilogue: plus bias_i[n]; plus
    residual[t, n]; or, with `swiglu` and two segments, the one result `silu(y_0) * y_1`. Quantized weights take
    `!dq.act8` rows and fold over k in one fixed order (docs/numerics.md); bf16 weights take bf16 rows, f32 and f16
    weights f32 rows. Of `!dq.act8<row>` rows the zero points are multiplied by the sum of a row of weights each.

    Constraints: (M1) every weight is `[N_i, K]` with K the width of x; (M2) none or one bias a segment, of N_i
    elements; (M3) a residual only with one segment, of the result's type; (M4) `swiglu` takes two segments of equal N,
    no residual and no bias; (M5) one result a segment, `[T, N_i]` of f32, one in all with `swiglu`; (M6) rows are
    `!dq.act8` exactly where the weights are of block formats, and bf16 exactly where these are bf16.

    ```mlir
    %q, %k, %v = dq.matmul %x8, [%wq, %wk, %wv] bias(%bq, %bk, %bv)
      : tensor<?x896x!dq.act8<32>>, [tensor<896x896x!q5_0>, tensor<128x896x!q5_0>, tensor<128x896x!q8_0>],
        (tensor<896xf32>, tensor<128xf32>, tensor<128xf32>) -> tensor<?x896xf32>, tensor<?x128xf32>, tensor<?x128xf32>
    %y = dq.matmul %x, [%w] residual(%r : tensor<?x896xf32>) : tensor<?x896xf32>, [tensor<896x896xf16>] -> tensor<?x896xf32>
    %h = dq.matmul swiglu %x8, [%wg, %wu]
      : tensor<?x896x!dq.act8<32>>, [tensor<4864x896x!q5_0>, tensor<4864x896x!q5_0>] -> tensor<?x4864xf32>
    ```
  }];
  let arguments = (ins DefaultValuedAttr<DQ_ActivationAttr, "::quern::dq::Activation::None">:$activation, DQ_Rows:$x,
                       Variadic<DQ_Weight>:$weights, Variadic<DQ_Bias>:$biases, Optional<DQ_FloatRows>:$residual);
  let results = (outs Variadic<DQ_FloatRows>:$outs);
  let assemblyFormat = [{
    custom<Activation>($activation) $x `,` `[` $weights `]` (`bias` `(` $biases^ `)`)? (`residual` `(` $residual^ `:` type($residual) `)`)?
    attr-dict `:` type($x) `,` `[` type($weights) `]` (`,` `(` type($biases)^ `)`)? `->` type($outs)
  }];
  let hasVerifier = 1;
}

def DQ_DotOp : DQ_Op<"dot", [Pure, AllTypesMatch<["acc", "out"]>, AllTypesMatch<["u", "s"]>]> {
  let summary = "add dot products of four codes by four signed bytes to each lane";
  let description = [{
    `out[i] = acc[i] + sum_{j<4} ext(u[4i + j]) * sext(s[4i + j])` in i32, exact while it does not overflow. `ext` is
    zero extension, or sign extension for `signed` codes; then no `s` is -128. No code is beyond `largest` in magnitude
    (255 if not said); small ones let a target add products up in 16 bits. The one op of kernels that each
    CPU target lowers in its own way (`vpdpbusd`, `vpmaddubsw`, or widening multiplies).

    Constraints: (D1) lanes of four bytes match. (D2) `largest` is 1 to 255, or 1 to 128 for `signed` codes.

    ```mlir
    %1 = dq.dot %0, %u, %s : vector<16xi32>, vector<64xi8>
    %2 = dq.dot %1, %nibbles, %s largest 15 : vector<16xi32>, vector<64xi8>
    %3 = dq.dot %2, %bytes, %s signed largest 128 : vector<16xi32>, vector<64xi8>
    ```
  }];
  let arguments = (ins VectorOfLengthAndType<[4, 8, 16], [I32]>:$acc, VectorOfLengthAndType<[16, 32, 64], [I8]>:$u,
                       VectorOfLengthAndType<[16, 32, 64], [I8]>:$s, UnitProp:$codesSigned,
                       DefaultValuedProp<I64Prop, "255">:$largest);
  let results = (outs VectorOfLengthAndType<[4, 8, 16], [I32]>:$out);
  let assemblyFormat = [{
    $acc `,` $u `,` $s (`signed` $codesSigned^)? (`largest` $largest^)? attr-dict `:` type($acc) `,` type($u)
  }];
  let hasVerifier = 1;
}

def DQ_DotPairsOp : DQ_Op<"dot_pairs", [Pure, AllTypesMatch<["acc", "out"]>, AllTypesMatch<["w", "x"]>]> {
  let summary = "add the products of two bf16 pairs to each lane";
  let description = [{
    `out[i] = fma(w[2i], x[2i], fma(w[2i + 1], x[2i + 1], acc[i]))` in f32, rounded to nearest even: the odd product
    first. A product of two bf16 numbers is exact in f32, so that a multiply and an add give the same. Numbers and
    results below 2^-126 may count as zero. Becomes `vdpbf16ps`, or shifts, masks and two fused multiply-adds.

    ```mlir
    %1 = dq.dot_pairs %0, %w, %x : vector<16xf32>, vector<32xbf16>
    ```
  }];
  let arguments = (ins VectorOfLengthAndType<[16], [F32]>:$acc, VectorOfLengthAndType<[32], [BF16]>:$w,
                       VectorOfLengthAndType<[32], [BF16]>:$x);
  let results = (outs VectorOfLengthAndType<[16], [F32]>:$out);
  let assemblyFormat = "$acc `,` $w `,` $x attr-dict `:` type($acc) `,` type($w)";
}

def DQ_LookupOp : DQ_Op<"lookup", [Pure, AllTypesMatch<["codes", "out"]>]> {
  let summary = "replace each four-bit code by an entry of a table of bytes";
  let description = [{
    `out[i] = table[codes[i]]`; codes are below 16. Constraint (K1): the table has 16 entries.

    ```mlir
    %1 = dq.lookup %codes, [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113] : vector<64xi8>
    ```
  }];
  let arguments = (ins VectorOfLengthAndType<[4, 16, 32, 64], [I8]>:$codes, DenseI8ArrayAttr:$table);
  let results = (outs VectorOfLengthAndType<[4, 16, 32, 64], [I8]>:$out);
  let assemblyFormat = "$codes `,` $table attr-dict `:` type($codes)";
  let hasVerifier = 1;
}

#endif // QUERN_DQ_OPS_TD

#ifndef QUERN_ONNX_OPS_TD
#define QUERN_ONNX_OPS_TD

include "Onnx/Onnx.td"
include "mlir/IR/BuiltinAttributeInterfaces.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Onnx_Value : AnyTypeOf<[AnyTensor, Onnx_ValueType]>;

def Onnx_ConstantOp : Onnx_Op<"constant", [ConstantLike, Pure, AllTypesMatch<["value", "result"]>]> {
  let summary = "an initializer, or the tensor of a Constant node";
  let description = [{
    Its location is the value's name. Constraints: (C1) the type is a tensor of static shape whose elements ONNX has;
    (C2) a resource has as many bytes as the type needs, or none, where a dump left them out.

    ```mlir
    %axes = onnx.constant dense<[0, 2]> : tensor<2xi64>
    %w = onnx.constant dense_resource<model.embed_tokens.weight> : tensor<151936x896xbf16>
    ```
  }];
  let arguments = (ins ElementsAttr:$value);
  let results = (outs AnyTensor:$result);
  let assemblyFormat = "attr-dict $value";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Onnx_NoneOp : Onnx_Op<"none", [Pure]> {
  let summary = "an optional input that is left out";
  let description = [{
    ```mlir
    %none = onnx.none : none
    %y = onnx.node "Clip"(%x, %none, %most) to ["y"] : (tensor<4xf32>, none, tensor<f32>) -> tensor<4xf32>
    ```
  }];
  let results = (outs NoneType:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
}

def Onnx_NodeOp : Onnx_Op<"node", [
    NoMemoryEffect, DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>]> {
  let summary = "a node: an operator by its name, its inputs, attributes and outputs";
  let description = [{
    `of` is the operator's domain; without it the operator is one of the standard's. The dictionary holds the node's
    attributes: integers are i64, floats f32, lists of them `array<i64: ...>` and `array<f32: ...>`, strings strings,
    tensors elements, all else `#onnx.message`. `part of` names the file's operator where `onnx-decompose` made several
    nodes of one.

    Constraints: (N1) the operator has a name; (N2) inputs are tensors, `!onnx.value` or `none`; (N3) there is an
    output; (N4) outputs have as many names as there are, or no names at all, and none twice.

    ```mlir
    %y = onnx.node "Softmax"(%x) {axis = -1 : i64} to ["y"] : (tensor<?x4xf32>) -> tensor<?x4xf32>
    %z = onnx.node "MatMulNBits" of "com.microsoft"(%x, %codes, %scales)
      {K = 64 : i64, N = 32 : i64, bits = 4 : i64, block_size = 32 : i64} to ["z"]
      : (tensor<?x64xf32>, tensor<32x2x16xui8>, tensor<64xf32>) -> !onnx.value
    ```
  }];
  let arguments = (ins StrAttr:$op_type, OptionalAttr<StrAttr>:$domain, Variadic<AnyType>:$inputs,
                       OptionalAttr<DictionaryAttr>:$node_attributes, OptionalAttr<StrArrayAttr>:$outputs,
                       OptionalAttr<StrAttr>:$part);
  let results = (outs Variadic<Onnx_Value>:$results);
  let assemblyFormat = [{
    $op_type (`of` $domain^)? `(` $inputs `)` `` custom<Attributes>($node_attributes) (`to` $outputs^)?
    (`part` `of` $part^)? attr-dict-with-keyword `:` functional-type($inputs, $results)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// The operator's name; of other domains than the standard's "domain.name".
    std::string getOperator();
  }];
}

// The parts of a language model, each in place of the nodes that computed it. Their location is the name of the value
// that they make, with the names of those nodes below it.

def Onnx_EmbeddingOp : Onnx_Op<"embedding", [Pure]> {
  let summary = "rows of a table for token ids";
  let description = [{
    `ids` are whole numbers that the graph takes as an input. The table is a constant matrix, or one that
    `GatherBlockQuantized` reads: then its codes come with scales and perhaps zero points, and the dictionary has that
    operator's attributes.

    ```mlir
    %x = onnx.embedding %table at %ids : (tensor<151936x896xbf16>, tensor<?x?xi64>) -> tensor<?x?x896xbf16>
    %y = onnx.embedding %codes at %ids scales(%scales) {bits = 4 : i64, block_size = 32 : i64}
      : (tensor<270x16xui8>, tensor<?x?xi64>, tensor<270x1xf32>) -> tensor<?x?x32xf32>
    ```
  }];
  let arguments = (ins Onnx_Value:$table, Onnx_Value:$ids, Variadic<AnyType>:$scales,
                       OptionalAttr<DictionaryAttr>:$node_attributes);
  let results = (outs Onnx_Value:$out);
  let assemblyFormat = [{
    $table `at` $ids (`scales` `(` $scales^ `)`)? `` custom<Attributes>($node_attributes) attr-dict-with-keyword `:`
    functional-type(operands, results)
  }];
}

def Onnx_RmsNormOp : Onnx_Op<"rms_norm", [Pure]> {
  let summary = "scale vectors along the last axis to unit root mean square, times a weight";
  let description = [{
    `out[..., i] = x[..., i] / sqrt(mean_i(x[..., i]^2) + epsilon) * weight[i]`. Constraint (R1): epsilon is positive.

    ```mlir
    %h = onnx.rms_norm %x, %weight {epsilon = 1.0e-6 : f32}
      : (tensor<?x?x896xf32>, tensor<896xf32>) -> tensor<?x?x896xf32>
    ```
  }];
  let arguments = (ins Onnx_Value:$x, Onnx_Value:$weight, F32Attr:$epsilon);
  let results = (outs Onnx_Value:$out);
  let assemblyFormat = "$x `,` $weight attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Onnx_SwigluOp : Onnx_Op<"swiglu", [Pure]> {
  let summary = "SiLU of the gate, times up";
  let description = [{
    `out = gate / (1 + exp(-gate)) * up`, element by element, of columns of two products or of one: each operand is a
    product with a constant matrix, from whose last axis `width` columns are taken, beginning with the one after `at`.

    Constraint (S1): width is positive, columns are not negative.

    ```mlir
    %h = onnx.swiglu %gate at 0, %up at 0 width 4864
      : (tensor<?x?x4864xf32>, tensor<?x?x4864xf32>) -> tensor<?x?x4864xf32>
    %k = onnx.swiglu %both at 0, %both at 4864 width 4864
      : (tensor<?x?x9728xf32>, tensor<?x?x9728xf32>) -> tensor<?x?x4864xf32>
    ```
  }];
  let arguments = (ins Onnx_Value:$gate, Onnx_Value:$up, I64Attr:$gate_column, I64Attr:$up_column, I64Attr:$width);
  let results = (outs Onnx_Value:$out);
  let assemblyFormat = [{
    $gate `at` $gate_column `,` $up `at` $up_column `width` $width attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def Onnx_AttentionOp : Onnx_Op<"attention", [Pure, AttrSizedOperandSegments]> {
  let summary = "causal grouped-query attention with rotary embedding, of a sequence behind what caches hold";
  let description = [{
    Queries, keys and values are columns of products with constant matrices: `heads` times `head_size` of the first,
    `kv_heads` times `head_size` of the others, beginning with those of `columns`. Heads are normed, if there are
    norms, and turned by the position in the sequence times `frequencies`, the angle of each pair: elements i and
    i + head_size / 2, or, if `interleaved`, 2i and 2i + 1. Scores are divided by the root of `head_size`; each token
    sees itself and all before it. `caches` are the layer's keys and values of tokens before, as far as the graph takes
    them; what the graph gives as new caches is not told. `coarse`: the angles were read from tables of 16-bit floats.
    `rotary` names the nodes or tables that they come from.

    Constraints: (A1) heads are positive and a multiple of kv_heads; (A2) head_size is even, with a frequency for each
    pair; (A3) there are three columns, none negative; (A4) queries and keys are both normed, or none; (A5) there are
    two caches or none.

    ```mlir
    %a = onnx.attention %q, %k, %v caches(%past_key, %past_value)
      {columns = array<i64: 0, 0, 0>, heads = 14 : i64, kv_heads = 2 : i64, head_size = 4 : i64,
       frequencies = array<f64: 1.0, 1.0e-2>}
      : (tensor<?x?x56xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
      -> tensor<?x?x56xf32>
    ```
  }];
  let arguments = (ins Onnx_Value:$query, Onnx_Value:$key, Onnx_Value:$value, Variadic<Onnx_Value>:$norms,
                       Variadic<Onnx_Value>:$caches, DenseI64ArrayAttr:$columns, I64Attr:$heads, I64Attr:$kv_heads,
                       I64Attr:$head_size, DenseF64ArrayAttr:$frequencies, UnitAttr:$interleaved, UnitAttr:$coarse,
                       OptionalAttr<StrArrayAttr>:$rotary);
  let results = (outs Onnx_Value:$out);
  let assemblyFormat = [{
    $query `,` $key `,` $value (`norms` `(` $norms^ `)`)? (`caches` `(` $caches^ `)`)? attr-dict `:`
    functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

#endif // QUERN_ONNX_OPS_TD

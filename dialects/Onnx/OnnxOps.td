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

def Onnx_NodeOp : Onnx_Op<"node", [NoMemoryEffect, DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>]> {
  let summary = "a node: an operator by its name, its inputs, attributes and outputs";
  let description = [{
    `of` is the operator's domain; without it the operator is one of the standard's. The dictionary holds the node's
    attributes: integers are i64, floats f32, lists of them `array<i64: ...>` and `array<f32: ...>`, strings strings,
    tensors elements, all else `#onnx.message`. `part of` names the file's operator where `onnx-decompose` made several
    nodes of one.

    Constraints: (N1) the operator has a name; (N2) inputs are tensors, `!onnx.value` or `none`; (N3) there is an output;
    (N4) outputs have as many names as there are, or no names at all, and none twice.

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
    $op_type (`of` $domain^)? `(` $inputs `)` `` custom<Attributes>($node_attributes) (`to` $outputs^)? (`part` `of` $part^)?
    attr-dict-with-keyword `:` functional-type($inputs, $results)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// The operator's name; of other domains than the standard's "domain.name".
    std::string getOperator();
  }];
}

#endif // QUERN_ONNX_OPS_TD

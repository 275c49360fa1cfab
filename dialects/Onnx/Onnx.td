// The dialect of imported ONNX graphs: nodes and constants as the file has them, and the parts that were recognised.
#ifndef QUERN_ONNX_TD
#define QUERN_ONNX_TD

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"

def Onnx_Dialect : Dialect {
  let name = "onnx";
  let cppNamespace = "::quern::onnxir";
  let summary = "ONNX graphs as files have them";
  let description = [{
    An ONNX file becomes one `func.func @graph` in a module. The function's arguments are the graph's inputs that have
    no initializer, its results the graph's outputs; initializers and `Constant` nodes are `onnx.constant`, all other
    nodes `onnx.node`. What operators mean is not the dialect's matter. `onnx.none` is an optional input that is left
    out. Raising passes replace nodes by `onnx.embedding`, `onnx.rms_norm`, `onnx.swiglu` and `onnx.attention`.

    **Names.** An op's location is the node's or the initializer's name; a node without a name goes by its first output.
    `outputs` of a node are its values' names. Arguments and results of the function carry `onnx.name` and, where sizes
    have names, `onnx.dims`, which has an empty string for a size without a name. The module has `onnx.opsets`, the
    version of each operator set, and the file's path as its location.

    **Types.** Tensors have ONNX's element types: signed integers are signless here, unsigned ones `ui8`, booleans `i1`,
    strings `!onnx.string`, 8-bit and smaller floats those of upstream. A value is `!onnx.value` where the file does not
    say what it is, or where it is no tensor. Only inputs have to say it.

    **Bytes.** A constant's elements are `dense<...>` if there are few, else `dense_resource<...>`. A resource holds
    them as ONNX's `raw_data` does: row-major and little-endian, a byte for a boolean, elements of fewer than 8 bits
    packed, the first in the lowest bits. It points into the mapped file: nothing is copied, and the file stays open as
    long as the context.

    ```mlir
    module attributes {onnx.opsets = {ai.onnx = 17 : i64}} {
      func.func @graph(%x: tensor<?x4xf32> {onnx.name = "x", onnx.dims = ["rows", ""]})
          -> (tensor<?x2xf32> {onnx.name = "y"}) {
        %w = onnx.constant dense_resource<w> : tensor<4x2xf32>
        %y = onnx.node "MatMul"(%x, %w) to ["y"] : (tensor<?x4xf32>, tensor<4x2xf32>) -> tensor<?x2xf32>
        return %y : tensor<?x2xf32>
      }
    }
    ```
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
  let hasOperationAttrVerify = 1;
  let hasRegionArgAttrVerify = 1;
  let hasRegionResultAttrVerify = 1;
}

class Onnx_Op<string mnemonic, list<Trait> traits = []> : Op<Onnx_Dialect, mnemonic, traits>;

def Onnx_ValueType : TypeDef<Onnx_Dialect, "Value"> {
  let mnemonic = "value";
  let summary = "a value whose type the file does not say, or that is no tensor";
  let description = "Operators tell what it is. Sequences, optional values and maps have this type too.";
}

def Onnx_StringType : TypeDef<Onnx_Dialect, "String"> {
  let mnemonic = "string";
  let summary = "the element type of tensors of strings";
  let description = "Constants of strings are upstream's `dense<[\"a\", \"b\"]> : tensor<2x!onnx.string>`.";
}

def Onnx_MessageAttr : AttrDef<Onnx_Dialect, "Message"> {
  let mnemonic = "message";
  let summary = "an attribute of a kind that the dialect does not read, as its protobuf message";
  let description = [{
    Graphs (the bodies of `If`, `Loop` and `Scan`), sparse tensors and types. The bytes are the `AttributeProto`'s.

    ```mlir
    #onnx.message<"\0A\04body ...">
    ```
  }];
  let parameters = (ins StringRefParameter<"the message's bytes">:$bytes);
  let assemblyFormat = "`<` $bytes `>`";
}

#endif // QUERN_ONNX_TD

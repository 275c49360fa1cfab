// Element types of quantized tensors: weights in a block format, and activations quantized at run time.
#ifndef QUERN_DQ_TYPES_TD
#define QUERN_DQ_TYPES_TD

include "DQ/DQAttrs.td"

def DQ_BlockType : TypeDef<DQ_Dialect, "Block"> {
  let mnemonic = "block";
  let summary = "a weight stored in blocks of a format";
  let description = [{
    The element type of a tensor whose last dimension is stored in blocks of the format. The shape is the logical one;
    the last dimension is a multiple of the format's block. Printed by an alias with the format's name; read with the
    whole format, or with the name of a registered one.

    ```mlir
    !q5_0 = !dq.block<q5_0>
    tensor<896x896x!q5_0>
    ```
  }];
  let parameters = (ins "FormatAttr":$format);
  let assemblyFormat = "`<` custom<Format>($format) `>`";
}

def DQ_Act8Type : TypeDef<DQ_Dialect, "Act8"> {
  let mnemonic = "act8";
  let summary = "an activation quantized at run time: a byte, and an f32 scale for each group or row";
  let description = [{
    With a group: `x[k] = scale[k floordiv group] * q[k]`, q signed, `scale = max|x| / 127` over the group (f32),
    `q = x / scale` rounded half to even, and the group's sums of q over each 16 kept beside it. A group of zeros has
    scale 0.

    With `row`, as ONNX's DynamicQuantizeLinear does with a tensor of one row: `x[k] = scale * (q[k] - zero)`, q and
    zero unsigned, one scale and one zero point for the row. In f32, with `lo = min(0, min x)` and `hi = max(0, max x)`:
    `scale = (hi - lo) / 255`, `zero = -lo / scale` and `q = x / scale`, each rounded half to even, `zero` and then
    `q + zero` clamped to 0 to 255. A row of zeros has scale 0.

    Constraint: group is a positive multiple of 16.

    ```mlir
    tensor<?x1536x!dq.act8<32>>
    tensor<?x1536x!dq.act8<row>>
    ```
  }];
  let parameters = (ins "int64_t":$group);
  let assemblyFormat = "`<` custom<Group>($group) `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// `group` of rows that have one scale and one zero point.
    static constexpr int64_t kRow = -1;
    bool isRow() const { return getGroup() == kRow; }
  }];
}

#endif // QUERN_DQ_TYPES_TD

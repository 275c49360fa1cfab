// The description of a block format, from its planes up to the whole; and the layout of packed weights.
#ifndef QUERN_DQ_ATTRS_TD
#define QUERN_DQ_ATTRS_TD

include "DQ/DQ.td"

class DQ_Attr<string name, string attrMnemonic> : AttrDef<DQ_Dialect, name> {
  let mnemonic = attrMnemonic;
}

def DQ_PlaneAttr : DQ_Attr<"Plane", "plane"> {
  let summary = "where some bits of a small integer lie, for each index i";
  let description = [{
    `4 bits at 2 + i mod 16 shift (i floordiv 16) * 4`: the four bits lie in byte `2 + i mod 16` of the block, the lowest
    of them in bit `(i floordiv 16) * 4`. Both are affine in the index `i`; `shift` is left out where it is 0.
  }];
  let parameters = (ins "int64_t":$bits, "::mlir::AffineMap":$place);
  let assemblyFormat = "$bits `bits` `at` custom<Place>($place)";
}

def DQ_PackedIntsAttr : DQ_Attr<"PackedInts", "ints"> {
  let summary = "small integers, one for each index, put together from planes";
  let description = [{
    `[4 bits at 32 + i, 2 bits at 64 + i] less 32`: the planes' bits, the first plane's lowest, make an integer (two's
    complement if `signed` is written before the list), from which the number after `less` is subtracted.
  }];
  let parameters = (ins DefaultValuedParameter<"bool", "false">:$isSigned, ArrayRefParameter<"PlaneAttr">:$planes,
                        DefaultValuedParameter<"int64_t", "0">:$offset);
  let assemblyFormat = "custom<Planes>($isSigned, $planes) (`less` $offset^)?";
}

def DQ_ScaleAttr : DQ_Attr<"Scale", "scale"> {
  let summary = "one number for each group of a block";
  let description = [{
    `f16 at 0`: the number of a block that is one group. `f16 at 0 step 2`: group `j` has its own at byte `2 * j`.
    `f16 at 0 times [4 bits at 2 + i]`: one number for the block, times a small integer for each group `i`.
    Kinds: `f16`, `bf16`, `f32`, and `e8m0` (a power of two, the byte less 127 its exponent).
  }];
  let parameters = (ins "::quern::formats::ScaleKind":$kind, "int64_t":$byte,
                        DefaultValuedParameter<"int64_t", "0">:$step, OptionalParameter<"PackedIntsAttr">:$factors);
  let assemblyFormat = "custom<ScaleKind>($kind) `at` $byte (`step` $step^)? (`times` $factors^)?";
}

def DQ_FormatAttr : DQ_Attr<"Format", "format"> {
  let summary = "a block format: the decode formula and the place of every bit";
  let description = [{
    ```mlir
    #dq.format<q5_K, gguf = 13, block = 256, bytes = 176, group = 32,
      codes = [4 bits at 48 + (i floordiv 64) * 32 + i mod 32 shift ((i floordiv 32) mod 2) * 4,
               1 bits at 16 + i mod 32 shift i floordiv 32],
      scale = f16 at 0 times [4 bits at 4 + i + (i floordiv 4) * 4, ...],
      minus = f16 at 2 times [...]>
    ```

    Fields, in this order: the name; `gguf`, the tensor type id in GGUF files, if there is one; `block`, weights in a
    block; `bytes` of a block; `group`, weights that share a scale; `codes`, an integer for each weight (`less` gives
    the zero point); `table`, what each code stands for, if it is not the code itself; `unit`, a power of two by which
    every scale is multiplied, if not 1; `scale`; and `minus` or `plus`, if groups have a minimum.

    `#dq.format<q5_K>`, the name alone, means the registered format of that name.

    Constraints:
    (F1) the name is made of letters, digits and `_`, and does not begin with a digit;
    (F2) a block has 1 to 65536 weights in 1 to 65536 bytes, and whole groups;
    (F3) integers have 1 to 8 bits, each plane at least one;
    (F4) every bit lies inside the block, the bits of a plane in one byte;
    (F5) no bit is used twice;
    (F6) a table has one entry for each code, and then codes are unsigned and have no zero point;
    (F7) codes less zero point fit a signed byte;
    (F8) the unit is a power of two;
    (F9) plain scales of several groups have a step;
    (F10) places are affine in `i` with positive divisors;
    (F11) a GGUF type id is not negative;
    (F12) what is subtracted from an integer is at most 256.
  }];
  let parameters = (ins StringRefParameter<>:$name, "int64_t":$ggufType, "int64_t":$block, "int64_t":$bytes,
                        "int64_t":$group, "PackedIntsAttr":$codes, ArrayRefParameter<"int16_t">:$table,
                        "::mlir::FloatAttr":$unit, "ScaleAttr":$scale, OptionalParameter<"ScaleAttr">:$minimum,
                        "bool":$minimumAdded);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// The description evaluated, free of MLIR; made once for each context.
    const ::quern::formats::FormatSpec &getSpec() const;
  }];
}

def DQ_PanelsAttr : DQ_Attr<"Panels", "panels"> {
  let summary = "encoding of a weight packed for kernels: panels of `rows` rows";
  let description = [{
    `rows` rows lie together, four consecutive k of each row side by side; see `docs/numerics.md` and the packer for the
    lines inside a panel.

    Constraint: rows is positive.

    ```mlir
    tensor<896x896x!q5_0, #dq.panels<rows = 16>>
    ```
  }];
  let parameters = (ins "int64_t":$rows);
  let assemblyFormat = "`<` `rows` `=` $rows `>`";
  let genVerifyDecl = 1;
}

#endif // QUERN_DQ_ATTRS_TD

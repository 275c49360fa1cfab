// The model graph dialect: what a transformer language model computes, free of formats, layouts and file idioms.
#ifndef QUERN_LM_TD
#define QUERN_LM_TD

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"

def LM_Dialect : Dialect {
  let name = "lm";
  let cppNamespace = "::quern::lm";
  let summary = "transformer language models on rows of tokens";
  let description = [{
    The `lm` dialect says what a decoder-only transformer computes, at the height where importers meet and where
    formats, targets and memory are still open.

    **Rows.** Activations are tensors `[T, H]`: one row for each token of a step, in any mix of sequences. T is a
    run-time value. A row knows its absolute position in its sequence (`tensor<Txi32>`) and, through `!lm.cache`, the
    key-value cache of that sequence. So one graph serves prompts, generation, and batches of several sequences.

    **Dimension letters.** T rows, O rows whose logits are wanted, H hidden, A query heads, G key-value heads, D head
    size, F feed-forward, V vocabulary, N rows of a weight, K inputs reduced over.

    **Entry function.** Its arguments carry the names by which a driver passes them: `lm.name = "token_ids"`; a dynamic
    leading dimension is named by `lm.size = "tokens"`, and equal names mean equal sizes.

    **Arithmetic.** The ops are defined over real numbers; what rounding a back end may do is fixed once, in
    `docs/numerics.md`, and no op depends on how rows are batched.
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
}

class LM_Op<string mnemonic, list<Trait> traits = []> : Op<LM_Dialect, mnemonic, traits>;

def LM_CacheType : TypeDef<LM_Dialect, "Cache"> {
  let mnemonic = "cache";
  let summary = "key-value caches of the sequences whose rows a step holds";
  let description = [{
    Stands for the caches that the rows of a step belong to: one base pointer and one capacity in positions for each
    row. A cache holds, for each layer and key-value head, the keys (after rotary embedding) and the values of all
    earlier positions. How they are kept, as numbers or as codes, belongs to the back end.

    ```mlir
    !lm.cache<layers = 24, kv_heads = 2, head_dim = 64>
    ```
  }];
  let parameters = (ins "int64_t":$layers, "int64_t":$kvHeads, "int64_t":$headDim);
  let assemblyFormat = "`<` `layers` `=` $layers `,` `kv_heads` `=` $kvHeads `,` `head_dim` `=` $headDim `>`";
  let genVerifyDecl = 1;
}

def LM_RotaryStyle : I32EnumAttr<"RotaryStyle", "which elements of a head form the rotated pairs", [
    I32EnumAttrCase<"Half", 0, "half">,
    I32EnumAttrCase<"Interleaved", 1, "interleaved">]> {
  let cppNamespace = "::quern::lm";
  let genSpecializedAttr = 0;
}
def LM_RotaryStyleAttr : EnumAttr<LM_Dialect, LM_RotaryStyle, "rotary_style"> {
  let assemblyFormat = "$value";
}

#endif // QUERN_LM_TD

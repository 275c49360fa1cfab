// The quantization dialect: block formats as attributes, quantized tensors, and the arithmetic on them.
#ifndef QUERN_DQ_TD
#define QUERN_DQ_TD

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"

def DQ_Dialect : Dialect {
  let name = "dq";
  let cppNamespace = "::quern::dq";
  let summary = "weights in block formats, activations quantized at run time, and the arithmetic on both";
  let description = [{
    **Terms.** A *block* is the unit in which a format stores weights: `block` consecutive weights of one row in `bytes`
    bytes. It is made of *groups* that share a scale. Each weight is a small integer, its *code*.

    **Formula.** Every format says

    ```
    w[k] = scale[g] * unit * t(c[k])  -/+  min[g]        g = k floordiv group
    ```

    where `t` is the identity less a zero point, or a table of integers; `unit` is a power of two; `scale` and `min` are
    numbers stored as they are, or the product of one number per block and a small integer per group.

    **Syntax.** `#dq.format` holds the whole description, with the place of every bit; `!dq.block<format>` is the element
    type of a tensor stored that way. A tensor has its logical shape:

    ```mlir
    !q5_0 = !dq.block<q5_0>
    func.func private @f(tensor<896x896x!q5_0>)
    ```

    The formats that GGUF files use are embedded in the dialect, one file each in `dialects/DQ/formats`; a user's file is
    loaded by a flag. README.md of this folder tells how to write one.
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
  let extraClassDeclaration = [{
    /// The formats known by name or GGUF id, of this context.
    FormatRegistry &getFormats() { return *formats; }

  private:
    void registerAttributes();
    void registerTypes();
    std::unique_ptr<FormatRegistry> formats;

  public:
  }];
}

#endif // QUERN_DQ_TD

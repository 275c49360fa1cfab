// From the nodes of an ONNX file to the model graph.
#ifndef QUERN_ONNX_PASSES_TD
#define QUERN_ONNX_PASSES_TD

include "mlir/Pass/PassBase.td"

class RaisingPass<string argument> : Pass<argument, "::mlir::func::FuncOp"> {
  let statistics = [Statistic<"raised", "raised", "parts that were found">];
  let dependentDialects = ["::quern::onnxir::OnnxDialect"];
}

def OnnxDecompose : Pass<"onnx-decompose", "::mlir::func::FuncOp"> {
  let summary = "split fused operators that are sums of others";
  let description = [{
    ```mlir
    %h, %mean, %deviation, %sum = onnx.node "SkipSimplifiedLayerNormalization" of "com.microsoft"(%x, %skip, %w) ...
    // becomes
    %sum = onnx.node "Add"(%x, %skip) part of "SkipSimplifiedLayerNormalization" ...
    %h = onnx.node "SimplifiedLayerNormalization"(%sum, %w) {epsilon = 1.0e-12 : f32} part of ...
    ```
    Hidden states are then sums everywhere, whichever operators an exporter uses.
  }];
  let dependentDialects = ["::quern::onnxir::OnnxDialect"];
}

def OnnxRaiseEmbedding : RaisingPass<"onnx-raise-embedding"> {
  let summary = "recognise the look-up of token ids";
  let description = [{
    ```mlir
    %x = onnx.node "Gather"(%table, %ids) ...
    // becomes
    %x = onnx.embedding %table at %ids : ...
    ```
    A graph may look up several things. Token ids are those whose table has as many rows as the product has columns that
    gives the graph's output, and rows as wide as that product's input; of several tables of that width the one with
    most rows counts. The table may be quantized (`GatherBlockQuantized`, or behind `DequantizeLinear`).
  }];
}

def OnnxRaiseRmsNorm : RaisingPass<"onnx-raise-rms-norm"> {
  let summary = "recognise RMS norms by what they compute";
  let description = [{
    ```mlir
    %squares = onnx.node "Mul"(%x, %x) ...
    %mean = onnx.node "ReduceMean"(%squares, %axes) ...
    %sum = onnx.node "Add"(%mean, %epsilon) ...
    %root = onnx.node "Sqrt"(%sum) ...
    %scaled = onnx.node "Div"(%x, %root) ...
    %h = onnx.node "Mul"(%weight, %scaled) ...
    // becomes
    %h = onnx.rms_norm %x, %weight {epsilon = 1.0e-6 : f32} : ...
    ```
    The last product with a constant vector says what may be the weight, a sample of two rows whether the whole is a
    norm; one row is so small that epsilon follows from it. So the nodes may be any that compute the same. Beside an
    `onnx.embedding` only weights as wide as its rows count: norms of heads are attention's. Without one, the number of
    dimensions of what is normed must be known.
  }];
}

def OnnxRaiseSwiglu : RaisingPass<"onnx-raise-swiglu"> {
  let summary = "recognise feed-forward parts that are gated by SiLU";
  let description = [{
    ```mlir
    %g = onnx.node "MatMul"(%h, %gate_weight) ...
    %u = onnx.node "MatMul"(%h, %up_weight) ...
    %s = onnx.node "Sigmoid"(%g) ...
    %a = onnx.node "Mul"(%g, %s) ...
    %p = onnx.node "Mul"(%a, %u) ...
    %y = onnx.node "MatMul"(%p, %down_weight) ...
    // becomes
    %p = onnx.swiglu %g at 0, %u at 0 width 4864 : ...
    %y = onnx.node "MatMul"(%p, %down_weight) ...
    ```
    Between a product with a constant matrix and the two products before it, or the halves of one, a sample must give
    `silu(gate) * up`, in either order of the two.
  }];
}

def OnnxRaiseAttention : RaisingPass<"onnx-raise-attention"> {
  let summary = "recognise causal attention with rotary embedding, grouped heads and caches";
  let description = [{
    ```mlir
    %q = onnx.node "MatMul"(%h, %query_weight) ...
    ...                                              // dozens of nodes: heads, rotary embedding, cache, mask, softmax
    %y = onnx.node "MatMul"(%mixed, %output_weight) ...
    // becomes
    %mixed = onnx.attention %q, %k, %v caches(%past_key, %past_value) {heads = 14 : i64, kv_heads = 2 : i64, ...} : ...
    %y = onnx.node "MatMul"(%mixed, %output_weight) ...
    ```
    Goes back along the hidden state, from the last norm to the embedding, which it needs to know. What lies before a
    layer's last product is asked for the values of one token, for the angle by which each pair of elements is turned,
    and for whole steps behind cached tokens; also far on in a context, so that a sliding window is found. All layers
    must have the same heads and angles. The walk ends at the first layer whose attention is something else.
  }];
}

def ConvertOnnxToLM : Pass<"convert-onnx-to-lm", "::mlir::ModuleOp"> {
  let summary = "make the model graph of a raised ONNX graph";
  let description = [{
    ```mlir
    %x = onnx.embedding %table at %ids : ...
    %h = onnx.rms_norm %x, %weight {epsilon = 1.0e-6 : f32} : ...
    ...
    // becomes
    dq.source @token_embd.weight : tensor<151936x896xbf16> in 0 at 0 bytes 272269312
    func.func @step(%token_ids: tensor<?xi32>, %positions: tensor<?xi32>, %caches: !lm.cache<...>, ...) {
      %x = lm.embedding %token_ids, %w : ...
      %h = lm.rms_norm %x, %g {eps = 1.0e-6 : f32} : ...
    ```
    The module becomes the one that a GGUF file of the model would give. Weights stay where they are: each `dq.source`
    says its place in a file that is put together of rows when they are read, which the compiler keeps beside the
    module; as a pass of its own it has no such file, and the module can be looked at only. What config.json or
    genai_config.json say beside the ONNX file counts, as far as they are there.

    An error is a part that is not what a language model has in its place, by the name of its node: the raising passes
    leave it alone, and here is said why.
  }];
  let dependentDialects = ["::quern::onnxir::OnnxDialect", "::quern::dq::DQDialect", "::quern::lm::LMDialect",
                           "::mlir::func::FuncDialect", "::mlir::arith::ArithDialect"];
}

#endif // QUERN_ONNX_PASSES_TD

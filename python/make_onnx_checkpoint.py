"""Makes ONNX models of a checkpoint in forms that no exporter at hand gives, and what onnxruntime gives for prompts:

    make_onnx_checkpoint.py CHECKPOINT OUT FORM PROMPTS

CHECKPOINT: a Hugging Face folder of qwen2 whose head is not tied, F32 in one model.safetensors. FORM: opset23-int8,
opset24-scatter (DequantizeLinear of blocks of 32) or dynamic-int8 (MatMulInteger, a scale for each row; onnxruntime
reads prompts token by token then, else each at once). OUT and PROMPTS are as of export_checkpoint.py. Needs the packages
onnx, onnxruntime, safetensors and tokenizers.
"""
import json
import shutil
import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper
from quern_py import onnx_builder
from safetensors import safe_open
from tokenizers import Tokenizer

BESIDE = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")
STEPS, TOP, ROWS = 8, 400, 64


def set_sizes(config):
    """The builder's parts take their sizes from its constants when they are imported, so this comes first."""
    heads = config["num_attention_heads"]
    sizes = {"HIDDEN": config["hidden_size"], "HEADS": heads, "KV_HEADS": config["num_key_value_heads"],
             "SIZE": config["hidden_size"] // heads, "FFN": config["intermediate_size"],
             "VOCABULARY": config["vocab_size"], "LAYERS": config["num_hidden_layers"],
             "THETA": config["rope_theta"], "EPSILON": config["rms_norm_eps"]}
    for name, value in sizes.items():
        setattr(onnx_builder, name, value)


class CheckpointBuilder(onnx_builder.Builder):
    """Gives the checkpoint's weights in the order in which the model asks for them."""

    def __init__(self, weights):
        super().__init__(0)
        self.weights, self.rng = weights, self  # the table is the only thing that is asked of the generator
        layers = [f"model.layers.{i}." for i in range(onnx_builder.LAYERS)]
        self.matrices = iter([name + part + "_proj.weight" for name in layers for part in
                              ("self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "mlp.gate", "mlp.up",
                               "mlp.down")] + ["lm_head.weight"])
        self.vectors = iter([name + part for name in layers for part in
                             ("input_layernorm.weight", "self_attn.q_proj.bias", "self_attn.k_proj.bias",
                              "self_attn.v_proj.bias", "post_attention_layernorm.weight")] + ["model.norm.weight"])

    def tensor(self, name, shape):
        found = self.weights.get_tensor(name)
        assert found.shape == shape, name
        return found

    def standard_normal(self, shape):
        return self.tensor("model.embed_tokens.weight", shape)

    def matrix(self, rows, columns):
        return self.tensor(next(self.matrices), (rows, columns))

    def vector(self, size, mean, spread):
        return self.tensor(next(self.vectors), (size,))


def round_to_bytes(values, axis):
    scales = np.abs(values).max(axis, keepdims=True) / 127
    scales[scales == 0] = 1
    return np.rint(values / scales).astype(np.int8), scales.astype(np.float32)


def blocks_product(b, x, rows, columns, block=32):
    codes, scales = round_to_bytes(b.matrix(rows, columns).T.reshape(columns // block, block, rows), 1)
    b.count += 1
    name = f"c{b.count}"
    b.initializers.append(helper.make_tensor(name, TensorProto.INT8, (columns, rows), codes.tobytes(), raw=True))
    return b.op("MatMul", x, b.op("DequantizeLinear", name, b.constant(scales[:, 0]), axis=0, block_size=block))


def rounded_rows(b, rows, columns):
    codes, scales = round_to_bytes(b.matrix(rows, columns), 1)
    return codes, scales[:, 0]


def main():
    checkpoint, out, form, prompts = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
    set_sizes(json.loads((checkpoint / "config.json").read_text()))
    import make_onnx_models
    from quern_py import onnx_parts
    parts, product = {"opset23-int8": (onnx_parts.StandardParts(), blocks_product),
                      "opset24-scatter": (onnx_parts.ScatterParts(), blocks_product),
                      "dynamic-int8": (onnx_parts.PlainParts(), onnx_builder.dynamic_product(rounded_rows))}[form]
    model = make_onnx_models.Model(0, parts, product)
    with safe_open(checkpoint / "model.safetensors", "numpy") as weights:
        model.b = CheckpointBuilder(weights)
        made = model.build()
    out.mkdir(parents=True)
    (out / "model.onnx").write_bytes(made.SerializeToString())
    for name in BESIDE:
        shutil.copy(checkpoint / name, out)
    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    cache = (onnx_builder.KV_HEADS, onnx_builder.SIZE)
    texts = [text.replace("\\n", "\n") for text in prompts.read_text().splitlines()]  # as `quern logits` takes them
    lines = [make_onnx_models.logits(out / "model.onnx", tokenizer.encode(text).ids, STEPS, TOP, cache, ROWS,
                                     at_once=form != "dynamic-int8") for text in texts]
    (out / "logits.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


if __name__ == "__main__":
    main()

"""Makes checkpoints of the shape of DeepSeek-R1-Distill-Qwen-1.5B or -7B with random weights, to measure imports with:

    make_large_checkpoint.py OUT FORM [1.5B|7B]

FORM: bf16, awq or gptq (4 bits, groups of 128) make a Hugging Face folder; onnx-bf16 and onnx-f32 one ONNX model whose
constants lie in a file beside it, matrices transposed, as torch exports them (these need the package onnx). Weights
repeat a pattern of 4 MB with an odd period, so nothing large is held in memory.
"""
import json
import math
import struct
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "python"))
from hf_folder import HuggingFaceFolder, checkpoint_name
from quern_py import random_model
from tiny_model import write_model

GROUP, EPSILON = 128, 1e-6
SIZES = {"F32": 4, "I32": 4, "F16": 2, "BF16": 2}
RNG = np.random.default_rng(1)


def values(kind, spread, mean=0.0, count=(1 << 20) + 1):
    """Random elements of a type, as bytes."""
    if kind == "I32":
        return RNG.integers(0, 1 << 32, count, np.uint32).tobytes()
    numbers = (mean + spread * RNG.standard_normal(count)).astype("<f4")
    if kind == "BF16":
        return (numbers.view("<u4") >> 16).astype("<u2").tobytes()
    return numbers.astype("<f2" if kind == "F16" else "<f4").tobytes()


def tile(file, pattern, size):
    while size > 0:
        file.write(pattern[:size])
        size -= len(pattern)


def folder_of(shape, out):
    """Everything of a folder but the tensors; the tokenizer is a tiny one."""
    with tempfile.TemporaryDirectory() as scratch:
        model = write_model(Path(scratch) / "m.gguf", "--type", "F16", "--layers", "1", "--vocab", "270")
        tiny = HuggingFaceFolder(model)
    tiny.config.update(
        hidden_size=shape.hidden, num_hidden_layers=shape.layers, intermediate_size=shape.feed_forward,
        num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads, vocab_size=shape.vocabulary,
        tie_word_embeddings=False, rms_norm_eps=EPSILON)
    tiny.config.pop("head_dim", None)
    tiny.tensors = {}
    tiny.write(out)
    return tiny.config


def packed(stem, rows, columns, awq):
    """The tensors of a quantized layer, with their shapes."""
    codes = (columns, rows // 8) if awq else (columns // 8, rows)
    yield stem + "qweight", "I32", codes
    yield stem + "qzeros", "I32", (columns // GROUP, rows // 8)
    yield stem + "scales", "F16", (columns // GROUP, rows)


def folder_tensors(shape, form):
    for ours, dims in random_model.tensors(shape):
        name = checkpoint_name(ours)
        if form != "bf16" and len(dims) == 2 and name.startswith("model.layers"):
            yield from packed(name.removesuffix("weight"), *dims, form == "awq")
        else:
            yield name, "BF16" if form == "bf16" else "F16", dims


def make_folder(shape, form, out):
    config = folder_of(shape, out)
    if form != "bf16":
        config["quantization_config"] = {"quant_method": form, "bits": 4, "group_size": GROUP, "version": "gemm",
                                         "checkpoint_format": "gptq"}
        (out / "config.json").write_text(json.dumps(config))
    header, at, list_ = {}, 0, sorted(folder_tensors(shape, form), key=lambda one: one[1] != "I32")
    for name, kind, dims in list_:
        size = math.prod(dims) * SIZES[kind]
        header[name] = {"dtype": kind, "shape": dims, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    patterns = {"I32": values("I32", 0), "F16": values("F16", 0.01), "BF16": values("BF16", 0.01)}
    with open(out / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, kind, dims in list_:
            tile(file, patterns[kind], math.prod(dims) * SIZES[kind])


class Shaped:
    """Stands for a random array of that shape; `.T` is another one."""

    def __init__(self, *shape):
        self.shape = shape

    @property
    def T(self):
        return Shaped(*reversed(self.shape))

    def __rmul__(self, factor):
        return self

    def astype(self, kind):
        return self


def external_builder(module, kind, file):
    from onnx import TensorProto
    types = {"F32": TensorProto.FLOAT, "BF16": TensorProto.BFLOAT16}
    pattern = values(kind, 0.01)

    class Builder(module.Builder):
        """Random constants go to the file, others into the model, which computes in f32."""

        def __init__(self, seed):
            super().__init__(seed)
            self.rng = self

        def standard_normal(self, shape):  # the table of tokens
            return Shaped(*shape)

        def matrix(self, rows, columns):
            return Shaped(rows, columns)

        def vector(self, size, mean, spread):
            return Shaped(size)

        def constant(self, array):
            if not isinstance(array, Shaped):
                return super().constant(array)
            self.count += 1
            tensor = TensorProto(name=f"model.constant_{self.count}", data_type=types[kind], dims=array.shape,
                                 data_location=TensorProto.EXTERNAL)
            size = math.prod(array.shape) * SIZES[kind]
            for key, value in (("location", "model.onnx.data"), ("offset", file.tell()), ("length", size)):
                tensor.external_data.add(key=key, value=str(value))
            tile(file, pattern, size)
            self.initializers.append(tensor)
            return tensor.name if kind == "F32" else self.op("Cast", tensor.name, to=TensorProto.FLOAT)
    return Builder


def make_onnx(shape, kind, out):
    from quern_py import onnx_builder
    for name, value in {"HIDDEN": shape.hidden, "HEADS": shape.heads, "KV_HEADS": shape.kv_heads,
                        "SIZE": shape.head_size, "FFN": shape.feed_forward, "VOCABULARY": shape.vocabulary,
                        "LAYERS": shape.layers, "EPSILON": EPSILON}.items():
        setattr(onnx_builder, name, value)
    import make_onnx_models
    from quern_py import onnx_parts
    folder_of(shape, out)
    (out / "model.safetensors").unlink()
    with open(out / "model.onnx.data", "wb") as file:
        make_onnx_models.Builder = external_builder(onnx_builder, kind, file)
        model = make_onnx_models.Model(0, onnx_parts.PlainParts()).build()
    (out / "model.onnx").write_bytes(model.SerializeToString())


def main():
    out, form = Path(sys.argv[1]), sys.argv[2]
    shape = random_model.R1_QWEN_7B if sys.argv[3:] == ["7B"] else random_model.R1_QWEN_1_5B
    if form.startswith("onnx-"):
        make_onnx(shape, form.removeprefix("onnx-").upper(), out)
    else:
        make_folder(shape, form, out)


if __name__ == "__main__":
    main()

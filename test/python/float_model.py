"""A float model of random weights to be quantized, large enough for every block format."""
import json

import numpy as np
from quern_py import gguf_writer as g
from quern_py import random_model, tiny_tokenizer
from quern_py.random_blocks import random_bytes

LAYERS, HIDDEN = 8, 256


def write_float_model(path, kind="BF16", hidden=HIDDEN, layers=LAYERS, bad=None, bad_bits=b"\xff\x7f"):
    """A qwen2 model with random weights; `bad` is a tensor that gets `bad_bits`, a NaN, in its second row."""
    shape = random_model.Shape("qwen2", layers, hidden, 4, 1, hidden // 4, 512, 320)
    rng, writer = np.random.default_rng(3), g.GGUFWriter("qwen2")
    random_model.add_metadata(writer, shape, "to be quantized")
    tiny_tokenizer.add_to(writer, shape.vocabulary, "qwen2")
    for name, dims in random_model.tensors(shape):
        if len(dims) == 1:
            writer.add_array(name, random_model.vector(rng, name, dims[0]))
            continue
        data = bytearray(random_bytes(rng, kind, dims[0] * dims[1], 0.05))
        if name == bad:
            data = data[:2 * (dims[1] + 7)] + bad_bits + data[2 * (dims[1] + 8):]
        writer.add_tensor(name, dims, g.TYPE_IDS[kind], bytes(data))
    writer.write(str(path))
    return path


def write_json(path, content):
    path.write_text(json.dumps(content))
    return path

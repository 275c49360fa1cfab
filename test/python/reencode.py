"""Writes a model of plain floats with its matrices in another format, nearest values (`quern-compiler encode`)."""
import subprocess

import numpy as np
from quern_py import gguf_reader, gguf_writer as g
from quern_py.tiny_tokenizer import ARRAY_KINDS, KINDS

FLOATS = {"F32": lambda x: x, "F16": lambda x: x.astype(np.float16),
          "BF16": lambda x: ((x.view(np.uint32) + 0x8000) >> 16).astype(np.uint16)}


def encode(compiler, name, values):
    """Bytes of float32 `values` in the format; all blocks of a row must be whole."""
    if name in FLOATS:
        return FLOATS[name](values).tobytes()
    name = name.lower().replace("_k", "_K")
    return subprocess.run([compiler, "encode", name], input=values.tobytes(), capture_output=True, check=True).stdout


def reencode(compiler, source, path, name):
    """Matrices whose rows are no whole number of blocks stay as they are."""
    model = gguf_reader.GGUFFile(source)
    writer = g.GGUFWriter(model.metadata.pop("general.architecture"))
    for key, value in model.metadata.items():
        kinds = ARRAY_KINDS if isinstance(value, list) else KINDS
        writer.add(key, kinds[type(value[0] if isinstance(value, list) else value)], value)
    block = g.TENSOR_TYPES[g.TYPE_IDS[name]][1]
    for tensor in model.tensors.values():
        if len(tensor.shape) == 2 and tensor.shape[1] % block == 0:
            data = encode(compiler, name, np.ascontiguousarray(tensor.array()))
            writer.add_tensor(tensor.name, tensor.shape, g.TYPE_IDS[name], data)
        else:
            writer.add_tensor(tensor.name, tensor.shape, tensor.type_id, tensor.data)
    writer.write(str(path))
    return path

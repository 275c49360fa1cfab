"""Writes importance matrices, as llama-imatrix does."""
import struct

import numpy as np
from quern_py import gguf_writer as g
from quern_py.gguf_reader import GGUFFile


def write_importance(path, model, legacy):
    """The same numbers in both kinds of file: sums over 5 calls of squares, greater for even columns."""
    writer, entries = g.GGUFWriter("none"), []
    for name, tensor in GGUFFile(model).tensors.items():
        if len(tensor.shape) != 2:
            continue
        sums = np.where(np.arange(tensor.shape[1]) % 2, 0.5, 4000).astype(np.float32)
        writer.add_array(f"{name}.in_sum2", sums.reshape(1, -1))
        writer.add_array(f"{name}.counts", np.array([[5]], np.float32))
        entries.append(struct.pack("<i", len(name)) + name.encode() + struct.pack("<ii", 5, len(sums)) + sums.tobytes())
    if legacy:
        path.write_bytes(struct.pack("<i", len(entries)) + b"".join(entries))
    else:
        writer.write(str(path))
    return path
